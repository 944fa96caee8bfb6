"""hnswlib and usearch: graphs at full width, over 8-bit and 16-bit codes, and over prefixes with a rerank in numpy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_system import Rerank, Setting, System, depths, prefixes, shortlists

LINKS, CONSTRUCTION = 16, 200  # hnswlib and usearch have 16 by default, too


class Reranked(System):
    """A graph that may find a shortlist only, by prefixes (`funnel`) or codes (`rerank`)."""

    def __init__(self, funnel: bool = False, rerank: bool = False) -> None:
        self._funnel, self._two_stage = funnel, funnel or rerank
        self._rerank: Rerank | None = None

    def build(self, vectors: np.ndarray, folder: Path, threads: int) -> None:
        """Make and save the graph, and the full vectors for a second stage."""
        if self._two_stage:
            Rerank.save(vectors, folder)
        self.make(prefixes(vectors) if self._funnel else vectors, folder / "graph", threads)

    def open(self, folder: Path) -> None:
        self._rerank = Rerank(folder) if self._two_stage else None
        self.read(folder / "graph")

    def settings(self, k: int) -> list[Setting]:
        if not self._two_stage:
            return [{"ef": ef} for ef in depths(k)]
        return [{"shortlist": length, "ef": ef} for length in shortlists(k, 1_600) for ef in (length, 2 * length)]

    def searcher(self, k: int, setting: Setting) -> Callable[[Any], Any]:
        near = self.nearest(setting.get("shortlist", k), setting["ef"])
        if self._rerank is None:
            return near
        best, short = self._rerank.best, prefixes if self._funnel else (lambda query: query)
        return lambda query: best(query, near(short(query)), k)

    def make(self, vectors: np.ndarray, path: Path, threads: int) -> None:
        """Make the graph and write it."""
        raise NotImplementedError

    def read(self, path: Path) -> None:
        """Read it."""
        raise NotImplementedError

    def nearest(self, number: int, ef: int) -> Callable[[np.ndarray], np.ndarray]:
        """A function from a vector to the rows nearest to it."""
        raise NotImplementedError


class Hnswlib(Reranked):
    """hnswlib, float32."""

    packages = ("hnswlib",)

    def __init__(self, links: int = LINKS, **modes: bool) -> None:
        super().__init__(**modes)
        self._links = links

    def load(self) -> None:
        global hnswlib
        import hnswlib

    def make(self, vectors: np.ndarray, path: Path, threads: int) -> None:
        graph = hnswlib.Index(space="ip", dim=vectors.shape[1])
        graph.init_index(max_elements=len(vectors), M=self._links, ef_construction=CONSTRUCTION)
        graph.add_items(vectors, num_threads=threads)
        graph.save_index(str(path))
        path.with_suffix(".dim").write_text(str(vectors.shape[1]))

    def read(self, path: Path) -> None:
        self._graph = hnswlib.Index(space="ip", dim=int(path.with_suffix(".dim").read_text()))
        self._graph.load_index(str(path))
        self._graph.set_num_threads(1)

    def nearest(self, number: int, ef: int) -> Callable[[np.ndarray], np.ndarray]:
        self._graph.set_ef(ef)
        return lambda vector: self._graph.knn_query(vector, k=number)[0][0]


class Usearch(Reranked):
    """usearch, over codes of a type, read into memory or `mapped`."""

    packages = ("usearch",)

    def __init__(self, codes: str, mapped: bool = False, **modes: bool) -> None:
        super().__init__(**modes)
        self._codes, self._mapped = codes, mapped

    def load(self) -> None:
        global Index
        from usearch.index import Index

    def make(self, vectors: np.ndarray, path: Path, threads: int) -> None:
        graph = Index(
            ndim=vectors.shape[1],
            metric="ip",
            dtype=self._codes,
            connectivity=LINKS,
            expansion_add=CONSTRUCTION,
        )
        graph.add(np.arange(len(vectors)), vectors, threads=threads)
        graph.save(str(path))

    def read(self, path: Path) -> None:
        self._graph = Index.restore(str(path), view=self._mapped)

    def nearest(self, number: int, ef: int) -> Callable[[np.ndarray], np.ndarray]:
        self._graph.expansion_search = ef
        return lambda vector: self._graph.search(vector, number, threads=1).keys.astype(np.int64)
