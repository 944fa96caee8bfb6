"""The older rows of a first stage, held by FAISS: what a graph and packed codes have in common.

One in use is never changed: `extended` copies it and adds to the copy.
"""

import os
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, Self

import faiss
import numpy as np


class Older(ABC):
    """Prefixes of rows 0 .. rows-1; position = row."""

    kind: ClassVar[str]  # the word of StoreOptions.shortlist_index
    add_slice: ClassVar[int]  # rows added between two looks at `stop`
    depths: ClassVar[tuple[float, ...]]  # that a calibration chooses from; the first one is the least

    def __init__(self, index: faiss.Index) -> None:
        self._index = index

    @property
    @abstractmethod
    def codes(self) -> str:
        """How the prefixes are stored."""

    @property
    @abstractmethod
    def exhaustive(self) -> bool:
        """Whether a search compares every row."""

    @property
    def order(self) -> str:
        """Recall that was measured with another order of the same rows means nothing."""
        return self.codes

    @property
    @abstractmethod
    def row_bytes(self) -> int:
        """Bytes of RAM of one row."""

    @property
    def rows(self) -> int:
        """Number of rows, dead ones included."""
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        """Width of the prefixes."""
        return int(self._index.d)

    @property
    def memory_bytes(self) -> int:
        """Bytes of RAM of all rows."""
        return self.rows * self.row_bytes

    @abstractmethod
    def depth(self, keep: int, depth: float, matching: int, rows: int) -> float:
        """What `search` takes to keep so many of `matching` of so many rows, `depth` times as deep as it would."""

    @abstractmethod
    def better_scanned(self, keep: int, matching: int, rows: int) -> bool:
        """Whether the rows that match a filter had better be compared by themselves."""

    def add(self, prefixes: np.ndarray) -> None:
        """Take in more rows: for its maker, before anybody searches it."""
        self._index.add(prefixes)

    def extended(self, prefixes: np.ndarray, stop: Callable[[], bool] = lambda: False) -> Self | None:
        """A copy with more rows at its end, or None when `stop` says so in between."""
        copy = self._cloned()
        return copy if copy._added(prefixes, stop) else None

    def _cloned(self) -> Self:
        return type(self)(faiss.clone_index(self._index))

    def _added(self, prefixes: np.ndarray, stop: Callable[[], bool]) -> bool:
        step = max(self.add_slice, len(prefixes) // 64)
        for start in range(0, len(prefixes), step):
            if stop():
                return False
            self.add(prefixes[start : start + step])
        return True

    def search(
        self, query: np.ndarray, keep: int, depth: float, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows (int64) and scores (float32) of up to `keep` best prefixes, best first.

        `depth` is that of `depth()`, which one that compares all rows has no use for; `allowed` is a packed bitmap of
        rows, None when every row may be found.
        """
        if not self.rows:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        plain = self.exhaustive and allowed is None  # it needs no parameters, which take 15 us to make
        parameters = None if plain else masked(self._parameters(max(depth, keep)), allowed)
        asked = np.ascontiguousarray(query[None], dtype=np.float32)
        (scores,), (rows,) = self._index.search(asked, min(keep, self.rows), params=parameters)
        found = rows >= 0
        return rows[found], scores[found]

    @abstractmethod
    def _parameters(self, depth: float) -> faiss.SearchParameters:
        """Those of a search of this depth."""

    @abstractmethod
    def scores(self, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Inner products (n,) float32 of a (prefix_dim,) query with ascending rows, as a search gives them."""

    @abstractmethod
    def prefixes(self, rows: np.ndarray | slice) -> np.ndarray:
        """The stored prefixes (n, prefix_dim) float32 of these rows, decoded."""

    @abstractmethod
    def rounded(self, prefixes: np.ndarray) -> np.ndarray:
        """What the codes make of (n, prefix_dim) float32 prefixes."""

    def save(self, path: Path) -> int:
        """Write to a file and sync it; returns the CRC-32 of its bytes."""
        faiss.write_index(self._index, str(path))
        with path.open("rb") as file:
            os.fsync(file.fileno())
        return checksum(path)


def masked(parameters: faiss.SearchParameters, allowed: np.ndarray | None) -> faiss.SearchParameters:
    """The same, of a search that may find the rows of a packed bitmap only."""
    if allowed is not None:
        parameters.sel = selector = faiss.IDSelectorBitmap(allowed)
        parameters.referenced_objects = [selector, allowed]
    return parameters


def checksum(path: Path) -> int:
    """CRC-32 of a file's bytes."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            value = zlib.crc32(block, value)
    return value
