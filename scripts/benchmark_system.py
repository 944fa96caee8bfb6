"""What the benchmark knows of a system under test: how it is built, opened, and asked. Needs numpy alone.

The classes live in modules named benchmark_<noun>.py; each runs in a process of its own (benchmark_worker.py), in the
environment of the service or in that of the peers.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

PREFIX = 64
FULL = "full.npy"
Setting = dict[str, Any]  # what may differ from query to query: {} is the system's own default


class System(ABC):
    """One system in one mode. Rows are numbered as the vectors were given; scores are inner products of unit vectors.

    `build` runs in a process that ends after it, `open` in a new one: what is measured was read from the disk.
    """

    packages: Sequence[str] = ()  # distributions whose versions belong to the result

    @abstractmethod
    def load(self) -> None:
        """Import the libraries; what they hold in memory is not counted."""

    @abstractmethod
    def build(self, vectors: np.ndarray, folder: Path, threads: int) -> None:
        """Make everything that `open` needs of (n, dim) float32 unit vectors."""

    def tune(self, calibration: np.ndarray, folder: Path) -> None:  # noqa: B027  # most learn nothing from queries
        """What a user may leave out: learn from (m, dim) queries that no measurement asks."""

    @abstractmethod
    def open(self, folder: Path) -> None:
        """Be ready for searches."""

    @abstractmethod
    def settings(self, k: int) -> list[Setting]:
        """The grid of settings for the best k."""

    def prepare(self, query: np.ndarray) -> Any:
        """The form in which a (dim,) query is given to what `searcher` returned last; not timed."""
        return query

    @abstractmethod
    def searcher(self, k: int, setting: Setting) -> Callable[[Any], Any]:
        """A function from a prepared query to whatever the system answers; only its calls are timed."""

    def rows(self, found: Any) -> Iterable[int]:
        """Row numbers of an answer; not timed."""
        return found

    def stages(self, found: Any) -> dict[str, float]:
        """Milliseconds of the stages of a search, where its answer tells them; not timed."""
        return {}

    def processes(self) -> list[int]:
        """Other processes that do its work, as a server is."""
        return []

    def close(self) -> None:  # noqa: B027  # most have nothing to give back
        """Give back what outlives the process."""


def prefixes(vectors: np.ndarray, width: int = PREFIX) -> np.ndarray:
    """(n, width) float32: the first numbers of (n, dim) vectors, of norm 1 again."""
    short = np.ascontiguousarray(vectors[..., :width], dtype=np.float32)
    return short / np.maximum(np.linalg.norm(short, axis=-1, keepdims=True), 1e-12)


class Rerank:
    """Full vectors in a file, mapped into memory: the second stage of peers that have none of their own."""

    def __init__(self, folder: Path) -> None:
        self._full = np.asarray(np.load(folder / FULL, mmap_mode="r", allow_pickle=False))

    @staticmethod
    def save(vectors: np.ndarray, folder: Path) -> None:
        """Write (n, dim) vectors for `__init__` to read."""
        np.save(folder / FULL, vectors)

    def best(self, query: np.ndarray, candidates: np.ndarray, k: int) -> np.ndarray:
        """The k of these rows with the highest inner products, best first."""
        scores = self._full[candidates] @ query
        return candidates[top(scores, k)]


def top(scores: np.ndarray, k: int) -> np.ndarray:
    """Positions of the k highest scores, best first."""
    if k >= len(scores):
        return np.argsort(-scores)
    best = np.argpartition(scores, -k)[-k:]
    return best[np.argsort(-scores[best])]


def shortlists(k: int, most: int = 3_200) -> list[int]:
    """Lengths from about 2.5 times k on, doubling."""
    first = 25 if k <= 10 else 200
    return [first * 2**step for step in range(round(math.log2(most / first)) + 1)]


def depths(k: int) -> list[int]:
    """Widths of the beam of a graph search."""
    return [size for size in (10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024) if size >= k]
