"""The rows a search may find: what is live and passes the filter."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from index import bits
from index.bits import unpack


@dataclass(frozen=True)
class Allowed:
    """A packed bitmap of `rows` rows (uint8) and how many it holds."""

    packed: np.ndarray
    count: int
    rows: int

    def mask(self) -> np.ndarray:
        """(rows,) bool."""
        return unpack(self.packed, self.rows)

    def without(self, rows: Sequence[int]) -> "Allowed":
        """The same less these rows."""
        packed = bits.changed(self.packed, self.rows, self.rows, rows)
        return Allowed(packed, bits.count(packed), self.rows)

    @cached_property
    def positions(self) -> np.ndarray:
        """Ascending rows, int64; found once for all queries of a request."""
        return np.flatnonzero(self.mask())
