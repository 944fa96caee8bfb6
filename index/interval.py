"""How sure a mean of shares is, also near 1, where a bootstrap of queries that all found everything claims certainty.

The interval of Waudby-Smith and Ramdas (2024), "Estimating means of bounded random variables by betting", Theorem 3
with the predictable plug-in bets of its equation 26: a value m of the mean is ruled out when a gambler who bets
against it would have multiplied a stake by 1/alpha. It holds for every distribution on [0, 1] and every number of
values, and is about as wide as the normal one where that is right.
"""

import math
from dataclasses import dataclass

import numpy as np

ALPHA = 0.05
TRUNCATION = 0.75  # of the largest bet that cannot lose everything
GRID = 2_000  # values of the mean that are tried
AT_ONCE = 250  # of them, so that memory stays small


@dataclass(frozen=True)
class Interval:
    """A mean and the ends of its 95 % interval."""

    mean: float
    low: float
    high: float


def interval(values: np.ndarray) -> Interval:
    """The mean of (n,) values in [0, 1] in random order, with its interval; [0, 1] for no values."""
    values = np.asarray(values, dtype=np.float64)
    if not len(values):
        return Interval(math.nan, 0.0, 1.0)
    bets, mean = _bets(values), float(values.mean())
    grid = np.linspace(0.0, 1.0, GRID + 1)
    kept = [
        m for start in range(0, len(grid), AT_ONCE) for m in _believable(values, bets, grid[start : start + AT_ONCE])
    ]
    low, high = (kept[0], kept[-1]) if kept else (mean, mean)
    step = 1.0 / GRID  # what lies between two values of the grid is not ruled out
    return Interval(mean, max(0.0, min(mean, low - step)), min(1.0, max(mean, high + step)))


def _bets(values: np.ndarray) -> np.ndarray:
    """(n,) bets, each from the values before it: sqrt(2 log(2/alpha) / (n variance))."""
    count = len(values)
    seen = np.arange(1, count + 1)
    means = (0.5 + np.cumsum(values)) / (seen + 1)
    variances = (0.25 + np.cumsum((values - means) ** 2)) / (seen + 1)
    before = np.concatenate([[0.25], variances[:-1]])
    return np.sqrt(2 * math.log(2 / ALPHA) / (count * before))


def _believable(values: np.ndarray, bets: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Those of (m,) means against which neither gambler wins 2/alpha."""
    with np.errstate(divide="ignore"):
        above = np.minimum(bets, TRUNCATION / means[:, None])  # (m, n)
        below = np.minimum(bets, TRUNCATION / (1.0 - means[:, None]))
    off = values - means[:, None]
    wins = np.maximum(np.log1p(above * off).sum(axis=1), np.log1p(-below * off).sum(axis=1))
    return means[wins < math.log(2 / ALPHA)]
