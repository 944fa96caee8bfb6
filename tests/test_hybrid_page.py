"""docs/hybrid.md is what the stored results say."""

import json

import hybrid_page


def test_the_tables_are_those_of_the_results() -> None:
    """Nobody has changed a figure by hand."""
    page = (hybrid_page.DOCS / "hybrid.md").read_text("utf-8")
    results = json.loads((hybrid_page.DOCS / "results/hybrid.json").read_text("utf-8"))
    assert hybrid_page.written(page, results) == page
    assert set(results["collections"]) == {"adi", "cranfield", "squad-dev", "debian-packages"}
