"""What a search still misses, estimated from the signs of its descent: a Poisson regression with a log link.

missing = exp(min(0, w . x + b)), x the standardised signs and a few squares of them, is the expected share of the
exact top k that is not among the rows scored. Divided by the rows scored it is the rate at which a deeper search
would pay, and a search stops where that falls to a threshold: for a given mean recall the mean depth is least when
every query is stopped at the same marginal gain (Lagrange). The threshold is the one number that is calibrated.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from index.descent import SIGNS

BEND = 3.0  # margins beyond so many spreads are another matter than those below
_MARGIN, _ROWS, _HALF = SIGNS.index("margin"), SIGNS.index("log_rows"), SIGNS.index("half_margin")


@dataclass(frozen=True, eq=False)
class MissModel:
    """One k's regression: (14,) float64 `centre`, `scale` and `weights` of the terms, and `bias`."""

    centre: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: float

    def log_missing(self, signs: np.ndarray) -> Any:
        """log of the expected share that is missing, at most 0, for (..., 10) signs."""
        return np.minimum(terms(signs) @ self._folded + self._offset, 0.0)

    def log_rate(self, signs: np.ndarray) -> Any:
        """log of that share over the rows scored."""
        return self.log_missing(signs) - signs[..., _ROWS]

    @cached_property
    def _folded(self) -> np.ndarray:
        return self.weights / self.scale

    @cached_property
    def _offset(self) -> float:
        return self.bias - float(self.centre @ self._folded)

    def to_json(self) -> dict[str, Any]:
        """Lists and a number."""
        parts = {"centre": self.centre, "scale": self.scale, "weights": self.weights}
        return {name: [float(value) for value in part] for name, part in parts.items()} | {"bias": self.bias}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "MissModel":
        """The reverse."""
        centre, scale, weights = (np.array(record[name]) for name in ("centre", "scale", "weights"))
        return cls(centre, scale, weights, float(record["bias"]))


def terms(signs: np.ndarray) -> np.ndarray:
    """(..., 14): the signs, and what makes their effect bend."""
    made = np.empty((*signs.shape[:-1], len(SIGNS) + 4))
    made[..., : len(SIGNS)] = signs
    margin, half = signs[..., _MARGIN], signs[..., _HALF]
    made[..., -4] = np.minimum(margin, BEND) ** 2
    made[..., -3] = np.maximum(margin - BEND, 0.0) ** 2
    made[..., -2] = signs[..., _ROWS] ** 2
    made[..., -1] = np.minimum(half, BEND) ** 2
    return made
