"""Whether a rotation still fits: how much of the newer documents falls into the first prefix_dim numbers."""

import threading
from typing import Any

import numpy as np

from index.matrices import map_record, rotation_record
from index.matryoshka import turned
from index.rotation import Rotation
from index.sampling import sample
from index.view import View

SAMPLE = 1_000  # newer rows that are read
GROWTH = 0.05  # rows since the last look, as a share, before another one
FALL = 0.1  # of the energy, that is too much
HIDDEN = ("file", "crc32", "through")  # members of a record that only the directory needs


class Drift:
    """Watches one index; reads at most 1,000 rows, and only after the rows grew by a twentieth."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._of: Rotation | None = None
        self._rows = 0  # of the view, at the last look
        self._energy: float | None = None

    def describe(self, view: View) -> dict[str, Any]:
        """`rotation` and `query_map` as `/stats` shows them, None where there is none."""
        rotation, query_map = rotation_record(view.rotation), map_record(view.query_map)
        if view.rotation is not None and rotation is not None:
            now = self._energy_now(view, view.rotation)
            advice = _advice(view, view.rotation, now)
            rotation |= {"energy_now": now, "drifted": advice is not None, "advice": advice}
        return {"rotation": _shown(rotation), "query_map": _shown(query_map)}

    def _energy_now(self, view: View, rotation: Rotation) -> float | None:
        with self._lock:
            if self._of is not rotation:
                self._of, self._rows, self._energy = rotation, rotation.through, None
            if view.rows > self._rows * (1 + GROWTH):
                self._rows, self._energy = view.rows, energy_of(view, rotation, rotation.through, view.rows)
            return self._energy


def energy_of(view: View, rotation: Rotation, first: int, stop: int) -> float | None:
    """Mean share of the squared norm in the prefix, over a sample of the rows in [first, stop); None for none."""
    full = sample(view, SAMPLE, first=first, stop=stop)
    if not len(full):
        return None
    inside = np.square(turned(full, view.space.prefix_dim, rotation.matrix), dtype=np.float64).sum()
    return float(inside / np.square(full, dtype=np.float64).sum())


def _advice(view: View, rotation: Rotation, now: float | None) -> str | None:
    learn = "a new rotation may pay: run `funnel adapt`"
    if now is not None and now < (1 - FALL) * rotation.energy:
        numbers = f"the first {view.space.prefix_dim} numbers hold {now:.1%} of the documents since"
        return f"{numbers}, {rotation.energy:.1%} of those before; {learn}"
    if view.count >= 2 * max(rotation.rows, 1):
        return f"there are {view.count} documents, {rotation.rows} when the rotation was applied; {learn}"
    return None


def _shown(record: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if record is None else {name: value for name, value in record.items() if name not in HIDDEN}
