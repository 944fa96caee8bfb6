"""docs/recall.md and its plots, from docs/results/recall-*.json."""


def write() -> None:
    """Write the page."""
