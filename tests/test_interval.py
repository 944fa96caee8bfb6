"""Intervals of means of shares: they hold, also near 1, and they are not much too wide."""

import numpy as np
import pytest

from index.interval import interval


def test_all_found_does_not_mean_certainty() -> None:
    """A thousand queries without a loss leave room for about log(2/0.05) losses in a thousand; a million more not."""
    few, many = interval(np.ones(100)), interval(np.ones(1_000))
    assert few.mean == many.mean == many.high == 1.0
    assert 0.9 < few.low < many.low
    assert 0.99 < many.low < 0.9975


def test_no_values_say_nothing() -> None:
    """The widest interval there is."""
    assert (interval(np.empty(0)).low, interval(np.empty(0)).high) == (0.0, 1.0)


@pytest.mark.parametrize("misses", [0.002, 0.05, 0.5])
def test_the_mean_is_inside_at_least_as_often_as_promised(misses: float) -> None:
    """Of 200 samples of recalls whose mean is known; 95 % are promised, 3 standard errors are allowed for chance."""
    rng, inside, widths = np.random.default_rng(0), 0, []
    for _ in range(200):
        recalls = 1 - rng.binomial(10, misses, 300) / 10
        found = interval(recalls)
        inside += found.low <= 1 - misses <= found.high
        widths.append(found.high - found.low)
    normal = 2 * 1.96 * np.sqrt(misses * (1 - misses) / 10 / 300)
    assert inside >= 200 * 0.95 - 3 * np.sqrt(200 * 0.95 * 0.05)
    assert np.mean(widths) < 2 * normal + 0.02


def test_the_mean_lies_between_the_ends() -> None:
    """For any values, constant ones too."""
    for value in (0.0, 0.3, 1.0):
        found = interval(np.full(50, value))
        assert found.mean == pytest.approx(value)
        assert found.low <= found.mean <= found.high
