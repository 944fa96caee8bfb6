"""What a compaction makes of row numbers: live rows close up in their order, rows added meanwhile follow."""

from collections.abc import Sequence

import numpy as np

from index import bits
from index.view import View


class Renumbering:
    """Of the rows of a view; rows committed after it keep their distance from its end, dead ones too."""

    def __init__(self, view: View) -> None:
        self.base = view
        self._alive = bits.unpack(view.live, view.rows)
        self._ranks = np.concatenate([[0], np.cumsum(self._alive, dtype=np.int64)])  # live rows before each row

    def of(self, rows: Sequence[int] | np.ndarray) -> np.ndarray:
        """The (n,) int64 new numbers of live rows, or where the live ones before any row end."""
        old = np.asarray(rows, dtype=np.int64)
        return self._ranks[np.minimum(old, self.base.rows)] + np.maximum(old - self.base.rows, 0)

    def one(self, row: int) -> int:
        """The same of one row."""
        return int(self.of([row])[0])

    def live(self, view: View) -> np.ndarray:
        """The packed bitmap of a later view under the new numbers."""
        now = bits.unpack(view.live, view.rows)
        return bits.pack(np.concatenate([now[: self.base.rows][self._alive], now[self.base.rows :]]))

    def alive(self, start: int, stop: int) -> np.ndarray:
        """(stop - start,) bool: which of these rows get a number; of rows after the view all do."""
        inside = self._alive[start:stop]
        return np.concatenate([inside, np.ones(stop - start - len(inside), dtype=bool)])
