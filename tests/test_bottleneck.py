"""Where quality breaks, on shares written down by hand."""

import pytest

from app.bottleneck import Bottleneck, bottleneck, losses
from app.intervals import Estimate


def share(value: float, half: float = 0.01) -> Estimate:
    """A share whose interval reaches `half` to both sides."""
    return Estimate(value, value - half, value + half)


def test_the_bottleneck_is_the_last_width_before_quality_breaks() -> None:
    """At 128 all of the interval is below 0.95."""
    found = {768: share(1, 0), 256: share(0.97), 128: share(0.93), 64: share(0.85)}
    assert bottleneck(found) == Bottleneck(256, 128)


def test_a_width_is_blamed_on_evidence_only() -> None:
    """An interval that reaches 0.95 does not count as broken."""
    assert bottleneck({768: share(1, 0), 64: share(0.9, 0.06)}) == Bottleneck(64, None)


def test_what_comes_after_the_break_does_not_count() -> None:
    """A narrower width that happens to hold again is no bottleneck."""
    assert bottleneck({768: share(1, 0), 256: share(0.9), 128: share(0.99)}).width == 768


def test_another_share_may_be_wanted() -> None:
    """0.8 instead of 0.95."""
    assert bottleneck({768: share(1, 0), 64: share(0.85), 32: share(0.7)}, wanted=0.8) == Bottleneck(64, 32, 0.8)


def test_losses_are_counted_by_halving() -> None:
    """From 768 to 192 is two halvings."""
    assert losses({768: share(1, 0), 192: share(0.9), 96: share(0.7)}) == pytest.approx({192: 0.05, 96: 0.2})
