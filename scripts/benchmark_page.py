"""docs/performance.md from docs/results/benchmark-*.json."""


def write() -> None:
    """Write the page."""
    raise SystemExit("there are no results yet")
