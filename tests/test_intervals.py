"""Intervals by bootstrap: they hold the truth, shrink with more queries, and compare what belongs together."""

import numpy as np
import pytest
from scipy.stats import spearmanr

from app.intervals import correlation_shares, correlations, means, shares, spearman
from index.errors import InvalidInput

RNG = np.random.default_rng(1)


def test_an_interval_holds_the_mean_and_is_as_wide_as_theory_says() -> None:
    """Of 400 uniform values: the mean plus or minus 1.96 standard errors, 0.0283."""
    (found,) = means(RNG.random((1, 400)))
    assert found.low < found.value < found.high
    assert found.high - found.low == pytest.approx(2 * 1.96 * 0.2887 / 20, rel=0.15)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    """Of 300 samples of 100 values whose true mean is known, 95 % within three standard errors of that share."""
    found = means(RNG.standard_normal((300, 100)))
    held = sum(one.low <= 0 <= one.high for one in found) / 300
    assert held == pytest.approx(0.95, abs=0.045)


def test_an_interval_shrinks_with_the_root_of_the_queries() -> None:
    """Sixteen times as many queries make it a quarter as wide."""
    few, many = (means(RNG.random((1, size)))[0] for size in (100, 1600))
    assert (many.high - many.low) / (few.high - few.low) == pytest.approx(0.25, rel=0.25)


def test_a_share_is_judged_query_by_query() -> None:
    """Nine tenths of every query is nine tenths for sure, however much queries differ."""
    full = RNG.random(50)
    (found,) = shares(0.9 * full[None], full)
    assert [found.value, found.low, found.high] == pytest.approx([0.9, 0.9, 0.9])


def test_a_share_of_nothing_is_no_number() -> None:
    """Where the full vectors find nothing there is nothing to keep."""
    assert np.isnan(shares(np.zeros((1, 5)), np.zeros(5))[0].value)


def test_rows_are_estimated_as_if_they_were_alone() -> None:
    """The draws are shared: a row's interval does not depend on its neighbours."""
    rows = RNG.random((3, 40))
    assert means(rows)[1].to_json() == means(rows[1:2])[0].to_json()


def test_the_rank_correlation_is_scipys() -> None:
    """With ties as well."""
    one, other = RNG.integers(0, 9, 60), RNG.integers(0, 9, 60)
    assert spearman(one, other) == pytest.approx(spearmanr(one, other).statistic)
    (found,) = correlations(one[None].astype(float), other.astype(float))
    assert found.value == pytest.approx(spearmanr(one, other).statistic)
    assert found.low < found.value < found.high


def test_the_share_of_a_correlation() -> None:
    """The same ranking keeps all of it; one with noise keeps less, and the interval says so."""
    truth = np.arange(80.0)
    full = truth + RNG.normal(0, 10, 80)
    same, noisy = correlation_shares(np.stack([np.exp(full / 50), full + RNG.normal(0, 40, 80)]), full, truth)
    assert [same.value, same.low, same.high] == pytest.approx([1, 1, 1])
    assert noisy.high < 1


def test_what_ranks_nothing_correlates_with_nothing() -> None:
    """Equal values on a side, as in a draw of few pairs, count as no correlation, without a warning."""
    assert spearman(np.ones(4), np.arange(4)) == 0
    (found,) = correlations(np.array([[1.0, 2.0, 3.0]]), np.array([0.1, 0.2, 0.3]))
    assert [found.value, found.low, found.high] == pytest.approx([1, 0, 1])


def test_one_query_is_refused() -> None:
    """With both numbers."""
    with pytest.raises(InvalidInput, match="at least 2 queries, got 1"):
        means(np.ones((2, 1)))
