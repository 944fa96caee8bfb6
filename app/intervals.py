"""How sure a mean is: 95 % intervals by bootstrap over queries or pairs (scipy.stats.bootstrap, percentile method).

Queries are drawn with replacement 1,000 times and the measure is computed anew each time; the interval holds the
middle 95 % of what came out (Efron 1979). A share compares two values of the same draw, so that what is hard about
a query hits both: its interval is narrower than those of the two values suggest.
"""

import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from math import isnan, nan
from typing import Any

import numpy as np

from app.extras import extra_module
from index.errors import InvalidInput

RESAMPLES = 1_000
SEED = 0
AT_ONCE = 1 << 22  # numbers drawn at a time: 32 MiB


@dataclass(frozen=True)
class Estimate:
    """A value and the ends of its 95 % interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        """Rounded to six digits; what is no number is null."""
        return {name: None if isnan(value) else round(value, 6) for name, value in asdict(self).items()}


def means(values: np.ndarray) -> list[Estimate]:
    """The mean of each row of (m, q) values over q queries; InvalidInput for fewer than two queries."""
    return _bootstrap(lambda rows, axis: rows.mean(axis=axis), values)


def shares(values: np.ndarray, full: np.ndarray) -> list[Estimate]:
    """mean(row) / mean(full) of (m, q) values and (q,) values of the same queries; NaN where nothing is ever found."""
    if not full.any():
        return [Estimate(nan, nan, nan)] * len(values)

    def ratio(rows: np.ndarray, whole: np.ndarray, axis: int) -> np.ndarray:
        return _divided(rows.mean(axis=axis), whole.mean(axis=axis))

    return _bootstrap(ratio, values, np.broadcast_to(full, values.shape))


def correlations(values: np.ndarray, truth: np.ndarray) -> list[Estimate]:
    """Spearman's rank correlation of each row of (m, n) values with the (n,) truth."""
    return _bootstrap(spearman, values, np.broadcast_to(truth, values.shape))


def correlation_shares(values: np.ndarray, full: np.ndarray, truth: np.ndarray) -> list[Estimate]:
    """spearman(row, truth) / spearman(full, truth) for (m, n), (n,) and (n,) values."""

    def ratio(rows: np.ndarray, whole: np.ndarray, wanted: np.ndarray, axis: int) -> np.ndarray:
        return _divided(spearman(rows, wanted, axis), spearman(whole, wanted, axis))

    return _bootstrap(ratio, values, np.broadcast_to(full, values.shape), np.broadcast_to(truth, values.shape))


def spearman(one: np.ndarray, other: np.ndarray, axis: int = -1) -> Any:
    """Spearman's rank correlation along an axis: Pearson's, of the ranks (as scipy.stats.spearmanr, vectorised).

    0 where all values of a side are equal, as in a draw of few pairs: nothing is ranked.
    """
    stats = extra_module("scipy.stats", "evaluate")
    ranks = stats.rankdata(one, axis=axis), stats.rankdata(other, axis=axis)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.ConstantInputWarning)
        return np.nan_to_num(stats.pearsonr(*ranks, axis=axis).statistic)


def _bootstrap(statistic: Callable[..., Any], *samples: np.ndarray) -> list[Estimate]:
    """One Estimate for each row; all rows and samples share the draws."""
    rows, size = samples[0].shape
    if size < 2:
        raise InvalidInput(f"an interval needs at least 2 queries, got {size}")
    found = extra_module("scipy.stats", "evaluate").bootstrap(
        samples,
        statistic,
        paired=len(samples) > 1,
        axis=-1,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, AT_ONCE // (rows * size)),
        method="percentile",
        rng=np.random.default_rng(SEED),
    )
    ends = found.confidence_interval
    return [Estimate(*map(float, row)) for row in zip(statistic(*samples, axis=-1), ends.low, ends.high, strict=True)]


def _divided(value: Any, whole: Any) -> Any:
    """A draw of queries for which nothing is found at any width has lost nothing: 1."""
    return np.where(whole == 0, 1.0, value / np.where(whole == 0, 1.0, whole))
