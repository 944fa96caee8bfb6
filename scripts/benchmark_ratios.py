"""From points (recall, seconds by round) to seconds at equal recall, and ratios with intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

DRAWS, SEED = 10_000, 0
LEAST_ROUNDS = 3  # for an interval
NEAR = 1.15  # settings at most so many times slower than the best at their recall are measured again
SMALLEST = 1e-4  # a loss of recall below it counts as this one


@dataclass(frozen=True)
class Point:
    """A setting: its recall, and what was measured of it in each round, less is better (seconds)."""

    setting: dict[str, Any]
    recall: float
    seconds: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Geometric mean over the rounds."""
        return float(np.exp(np.mean(np.log(self.seconds))))


def frontier(points: Sequence[Point]) -> list[Point]:
    """Those that no other one beats in recall and time, by recall."""
    best: list[Point] = []
    for point in sorted(points, key=lambda one: (-one.recall, one.mean)):
        if not best or point.mean < best[-1].mean:
            best.append(point)
    return best[::-1]


def worth_repeating(points: Sequence[Point], least: float) -> list[Point]:
    """Those near the frontier with at least this recall, and the last one below it; settings of {} always."""
    best = frontier(points)
    below = [point for point in best if point.recall < least][-1:]
    lines = [point for point in best if point.recall >= least]

    def near(point: Point) -> bool:
        rivals = [one.mean for one in best if one.recall >= point.recall]
        return point.recall >= least and point.mean <= NEAR * min(rivals)

    return [point for point in points if not point.setting or point in below or point in lines or near(point)]


def at_recall(points: Sequence[Point], recall: float) -> np.ndarray | None:
    """(rounds,) seconds at this recall, between the two neighbours on the frontier; None where it is not reached.

    Logarithms of the seconds are interpolated along that of the recall missed. Where the fastest setting has more
    recall than asked for, its seconds are the answer.
    """
    best = frontier(points)
    if not best or best[-1].recall < recall:
        return None
    above = next(place for place, point in enumerate(best) if point.recall >= recall)
    upper = best[above]
    if above == 0:
        return np.array(upper.seconds)
    lower = best[above - 1]
    missed = [np.log(max(1 - value, SMALLEST)) for value in (lower.recall, upper.recall, recall)]
    share = 1.0 if missed[0] == missed[1] else (missed[0] - missed[2]) / (missed[0] - missed[1])
    return np.exp((1 - share) * np.log(lower.seconds) + share * np.log(upper.seconds))


def ratio(theirs: np.ndarray, ours: np.ndarray) -> dict[str, float | None]:
    """How many times theirs is ours, over paired rounds, with a 95 % bootstrap interval of the mean (in logarithms)."""
    logs = np.log(theirs) - np.log(ours)
    found: dict[str, float | None] = {"value": _rounded(np.exp(logs.mean())), "low": None, "high": None}
    if len(logs) >= LEAST_ROUNDS:
        draws = np.random.default_rng(SEED).choice(logs, (DRAWS, len(logs))).mean(axis=1)
        found["low"], found["high"] = (_rounded(np.exp(np.quantile(draws, end))) for end in (0.025, 0.975))
    return found


def _rounded(value: Any) -> float:
    return float(f"{float(value):.4g}")
