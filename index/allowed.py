"""The rows a search may find: what is live and passes the filter."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

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

    @cached_property
    def positions(self) -> np.ndarray:
        """Ascending rows, int64; found once for all queries of a request."""
        return np.flatnonzero(self.mask())
