"""The first stage: prefixes of every row in RAM, the older rows in a graph or packed, and a flat tail of the rest.

A small collection is all tail, and its shortlist is exact. A Shortlist never changes; appending gives a new
one that shares the tail's buffer, whose rows past the old end the old one never looks at.
"""

from dataclasses import dataclass

import numpy as np

from index.bits import between, unpack
from index.graph import SCAN_RATIO, Graph
from index.older import Older
from index.packed import Packed
from index.scan import best, products, top

MIN_TAIL = 1_024
SCANNED_FROM = 50_000  # rows of a graph; a smaller one answers soon enough either way


@dataclass(frozen=True)
class Shortlist:
    """Prefixes of rows 0 .. rows-1: `older` holds the first of them, `buffer` the (rows - older rows) others."""

    dim: int
    rows: int
    buffer: np.ndarray  # (capacity, dim) float32
    older: Older | None = None

    @classmethod
    def empty(cls, dim: int, room: int = MIN_TAIL) -> "Shortlist":
        """A shortlist of no rows, with room for so many before its buffer has to grow."""
        return cls(dim, 0, np.empty((max(room, MIN_TAIL), dim), dtype=np.float32))

    @property
    def older_rows(self) -> int:
        """Rows that are not in the tail."""
        return self.older.rows if self.older else 0

    @property
    def packed(self) -> bool:
        """Whether older rows are compared by rounded codes."""
        return self.older is not None and self.older.kind == Packed.kind

    @property
    def exhaustive(self) -> bool:
        """Whether a search compares every row, if only rounded."""
        return self.older is None or self.older.exhaustive

    @property
    def tail(self) -> np.ndarray:
        """Prefixes (n, dim) float32 of the newest rows."""
        return self.buffer[: self.rows - self.older_rows]

    @property
    def memory_bytes(self) -> int:
        """Bytes of RAM."""
        return self.buffer.nbytes + (self.older.memory_bytes if self.older else 0)

    def appended(self, prefixes: np.ndarray) -> "Shortlist":
        """A shortlist with more rows; only the newest shortlist may be appended to."""
        used, wanted = len(self.tail), len(self.tail) + len(prefixes)
        buffer = self.buffer
        if wanted > len(buffer):
            buffer = np.empty((max(wanted, len(buffer) * 3 // 2), self.dim), dtype=np.float32)
            buffer[:used] = self.tail
        buffer[used:wanted] = prefixes
        return Shortlist(self.dim, self.rows + len(prefixes), buffer, self.older)

    def with_older(self, older: Older) -> "Shortlist":
        """The same rows, and those only `older` has, with one that covers more of them."""
        rest = self.tail[older.rows - self.older_rows :]
        buffer = np.empty((max(MIN_TAIL, len(rest) * 3 // 2), self.dim), dtype=np.float32)
        buffer[: len(rest)] = rest
        return Shortlist(self.dim, max(self.rows, older.rows), buffer, older)

    def search(
        self, query: np.ndarray, keep: int, depth: float, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows (int64) and prefix scores (float32) of the `keep` best rows, best first.

        `query` is a (dim,) unit prefix, `allowed` a packed bitmap of the rows that may be found (None: all),
        `depth` that of `Older.depth`. Exact over the tail; approximate over a graph, which is scanned instead where
        it is large and so much of it would be looked at that a scan is quicker; by rounded scores over packed codes.
        """
        scores = self._graph_scores(query, depth)
        if scores is not None:
            return self._scan_all(query, scores, keep, allowed)
        if self.older is None:
            return best(*self._search_tail(query, keep, allowed), keep)
        found, found_scores = self.older.search(query, keep, depth, allowed)
        bar = found_scores[-1] if len(found) == keep else None
        rows, scores = self._search_tail(query, keep, allowed, bar)
        rows, scores = np.concatenate([found, rows]), np.concatenate([found_scores, scores])
        order = np.lexsort((rows, -scores))[:keep]
        return rows[order], scores[order]

    def scan(self, query: np.ndarray, keep: int, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The same over an ascending array of rows, exactly."""
        return best(rows, self.scores(query, rows), keep)

    def scores(self, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Prefix scores (n,) float32 of ascending rows."""
        split = int(np.searchsorted(rows, self.older_rows))
        newer = products(np.take(self.buffer, rows[split:] - self.older_rows, axis=0), query)
        return np.concatenate([self.older.scores(query, rows[:split]), newer]) if self.older and split else newer

    def prefixes(self, rows: np.ndarray) -> np.ndarray:
        """Stored prefixes (n, dim) float32 of ascending rows."""
        split = int(np.searchsorted(rows, self.older_rows))
        parts = [np.take(self.buffer, rows[split:] - self.older_rows, axis=0)]
        if self.older and split:
            parts.insert(0, self.older.prefixes(rows[:split]))
        return np.concatenate(parts)

    def _graph_scores(self, query: np.ndarray, depth: float) -> np.ndarray | None:
        """Of every row of a graph that had better be scanned."""
        deep = self.older_rows >= SCANNED_FROM and SCAN_RATIO * depth > self.older_rows
        return self.older.all_scores(query) if deep and isinstance(self.older, Graph) else None

    def _scan_all(
        self, query: np.ndarray, older: np.ndarray, keep: int, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        scores = np.concatenate([older, products(self.tail, query)])
        if allowed is None:
            rows = top(scores, keep)
            return best(rows, scores[rows], keep)
        inside = np.flatnonzero(unpack(allowed, self.rows))
        return best(inside, scores[inside], keep)

    def _search_tail(
        self, query: np.ndarray, keep: int, allowed: np.ndarray | None, bar: float | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best of the tail, ascending; `bar` is the score of the last of enough others."""
        scores = products(self.tail, query)
        if allowed is None:
            places = top(scores, keep) if bar is None else np.flatnonzero(scores >= bar)
        else:
            positions = np.flatnonzero(between(allowed, self.older_rows, self.rows))
            places = positions[top(scores[positions], keep)]
        return self.older_rows + places, scores[places]
