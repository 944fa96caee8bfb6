"""The live answers that were last compared with exact search, and whether they keep what was promised."""

from collections import deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from index.interval import interval

WINDOW = 200  # answers
ENOUGH = 50  # of them, before there is a warning
SHORT = 0.02  # of recall below the promise that is worth one


@dataclass(frozen=True)
class Observed:
    """Recall@k of one answer, and what was said of it before: estimate and lower bound, and the target; None where
    nothing was."""

    recall: float
    estimate: float | None
    lower: float | None
    target: float | None


class Window:
    """The newest WINDOW of them. Used under the lock of its owner."""

    def __init__(self) -> None:
        self._kept: deque[Observed] = deque(maxlen=WINDOW)

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, one: Observed) -> None:
        """Take the next; the oldest leaves a full window."""
        self._kept.append(one)

    def clear(self) -> None:
        """Begin anew."""
        self._kept.clear()

    def means(self) -> dict[str, float | None]:
        """What a graph shows: `recall`, `estimate_error` (mean estimate - recall), `coverage` (the share whose recall
        reached the lower bound), `target`; None where there is nothing to average."""
        told = [one for one in self._kept if one.estimate is not None]
        return {
            "recall": _mean([one.recall for one in self._kept]),
            "estimate_error": _mean([one.estimate - one.recall for one in told if one.estimate is not None]),
            "coverage": _mean([float(one.recall >= one.lower) for one in told if one.lower is not None]),
            "target": _mean([one.target for one in self._kept if one.target is not None]),
        }

    def describe(self) -> dict[str, Any]:
        """The same to four digits, with the number of answers and the 95 % interval of their mean recall."""
        means = {name: None if mean is None else round(mean, 4) for name, mean in self.means().items()}
        ends = interval(np.array([one.recall for one in self._kept]))
        low, high = (round(float(ends.low), 4), round(float(ends.high), 4)) if self._kept else (None, None)
        return {"queries": len(self), **means, "recall_low": low, "recall_high": high}

    def shortfall(self) -> str | None:
        """What was promised and is not kept; None while it is, or while that cannot be told from chance."""
        for what, promised in ("asked for", "target"), ("estimated", "estimate"):
            pairs = [(one.recall, wanted) for one in self._kept if (wanted := getattr(one, promised)) is not None]
            if said := _broken(np.array(pairs).reshape(-1, 2), what):
                return said
        return None


def _broken(pairs: np.ndarray, what: str) -> str | None:
    """(n, 2) recall and promise of the same answers."""
    if len(pairs) < ENOUGH:
        return None
    recall, promised = pairs.mean(axis=0)
    if promised - recall <= SHORT or promised <= interval(pairs[:, 0]).high:
        return None
    compared = f"the last {len(pairs)} answers that were compared with exact search have a recall of {recall:.1%}"
    return f"{compared} on average, {promised:.1%} was {what}"


def _mean(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None
