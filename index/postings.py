"""Bitmaps of filter conditions, cached within a byte budget and extended as rows are added.

A condition's bitmap stays right when rows are appended (the new rows are looked up) and when rows die (dead
rows are masked by the view). It is thrown away when metadata changed in place.
"""

import sqlite3
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from index.filters import Condition

CACHE_BYTES = 64 << 20
ENTRY_BYTES = 512  # of an entry's objects beside its bitmap and the condition's texts and numbers


@dataclass(frozen=True)
class Cached:
    """The rows below `rows` that satisfied a condition while the metadata epoch was `epoch`."""

    epoch: int
    rows: int
    packed: np.ndarray  # (ceil(rows / 8),) uint8


class Postings:
    """Answers conditions from the inverted table; `budget` bounds the bytes of everything it keeps."""

    def __init__(self, budget: int = CACHE_BYTES) -> None:
        self._budget = budget
        self._cache: OrderedDict[Condition, Cached] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def cached_bytes(self) -> int:
        """Bytes held by the cache."""
        return self._bytes

    def bitmap(self, db: sqlite3.Connection, condition: Condition, rows: int, epoch: int) -> np.ndarray:
        """Packed bitmap (ceil(rows / 8),) uint8 of the rows below `rows` that satisfy the condition."""
        with self._lock:
            known = self._cache.get(condition)
        if known is None or known.epoch != epoch or known.rows > rows:
            known = Cached(epoch, 0, np.empty(0, dtype=np.uint8))
        if known.rows < rows:
            found = _look_up(db, condition, known.rows, rows)
            known = Cached(epoch, rows, _extended(known.packed, found, rows))
            self._remember(condition, known)
        return known.packed

    def _remember(self, condition: Condition, cached: Cached) -> None:
        with self._lock:
            if previous := self._cache.pop(condition, None):
                self._bytes -= _cost(condition, previous)
            self._cache[condition] = cached
            self._bytes += _cost(condition, cached)
            while self._bytes > self._budget:
                self._bytes -= _cost(*self._cache.popitem(last=False))


def _cost(condition: Condition, cached: Cached) -> int:
    """Bytes of an entry: a distinct condition on few rows weighs more than its bitmap."""
    values = sys.getsizeof(condition.values) + sum(map(sys.getsizeof, condition.values))
    return ENTRY_BYTES + cached.packed.nbytes + sys.getsizeof(condition.key) + values


def _look_up(db: sqlite3.Connection, condition: Condition, start: int, stop: int) -> np.ndarray:
    where, values = "key = ?", [condition.key]
    if condition.comparison is not None:
        marks = ", ".join("?" * len(condition.values))
        where += f" AND type = ? AND value {condition.comparison} ({marks})"
        values += [condition.type, *condition.values]  # type: ignore[list-item]
    sql = f"SELECT row FROM metadata WHERE {where} AND row >= ? AND row < ?"
    return np.array(db.execute(sql, [*values, start, stop]).fetchall(), dtype=np.int64).reshape(-1)


def _extended(packed: np.ndarray, found: np.ndarray, rows: int) -> np.ndarray:
    start = len(packed) * 8 - 8 if len(packed) else 0  # the last byte may have been half full
    fresh = np.zeros(rows - start, dtype=bool)
    fresh[found - start] = True
    longer = np.packbits(fresh, bitorder="little")
    if len(packed):
        longer[0] |= packed[-1]
    return np.concatenate([packed[:-1], longer])
