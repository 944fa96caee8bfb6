"""numpy alone: the exact scan, and the floor, a scan of all prefixes followed by a rerank from a memory map."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_system import FULL, Rerank, Setting, System, prefixes, shortlists, top

PREFIXES = "prefixes.npy"


class Exact(System):
    """All inner products, in memory."""

    packages = ("numpy",)

    def load(self) -> None:
        """It is there already."""

    def build(self, vectors: np.ndarray, folder: Path, threads: int) -> None:
        """Nothing but the file."""
        np.save(folder / FULL, vectors)

    def open(self, folder: Path) -> None:
        self._full = np.load(folder / FULL, allow_pickle=False)

    def settings(self, k: int) -> list[Setting]:
        return [{}]

    def searcher(self, k: int, setting: Setting) -> Callable[[Any], Any]:
        return lambda query: top(self._full @ query, k)


class Scan(System):
    """Prefixes in memory, all of them compared; full vectors in a memory map."""

    packages = ("numpy",)

    def load(self) -> None:
        """It is there already."""

    def build(self, vectors: np.ndarray, folder: Path, threads: int) -> None:
        """Two files."""
        Rerank.save(vectors, folder)
        np.save(folder / PREFIXES, prefixes(vectors))

    def open(self, folder: Path) -> None:
        self._rerank, self._prefixes = Rerank(folder), np.load(folder / PREFIXES, allow_pickle=False)

    def settings(self, k: int) -> list[Setting]:
        return [{"shortlist": length} for length in shortlists(k)]

    def searcher(self, k: int, setting: Setting) -> Callable[[Any], Any]:
        length = setting["shortlist"]

        def search(query: np.ndarray) -> np.ndarray:
            scores = self._prefixes @ prefixes(query)
            candidates = np.argpartition(scores, -length)[-length:] if length < len(scores) else np.arange(len(scores))
            return self._rerank.best(query, candidates, k)

        return search
