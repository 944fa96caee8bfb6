"""docs/durability.md is what the stored results say."""

import durability_page


def test_the_page_is_up_to_date() -> None:
    """Run ./scripts/durability_page.py when results were stored."""
    assert (durability_page.DOCS / "durability.md").read_text("utf-8") == durability_page.page()


def test_every_campaign_has_a_section() -> None:
    """Of those whose results are stored."""
    text = durability_page.page()
    assert "200 means fsynced and searchable" in text
    for name, title in (("power-loss", "### Power failures"), ("faults", "### Faults"), ("hostile", "### Hostile")):
        assert (durability_page.load(name) is None) == (title not in text)
