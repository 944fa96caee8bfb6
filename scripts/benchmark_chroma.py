"""Chroma in this process: its HNSW at full width, and over prefixes with a rerank in numpy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_system import Rerank, Setting, System, depths, prefixes, shortlists

LOAD = 4_000
GRAPH = {"space": "ip", "ef_construction": 200, "max_neighbors": 16}


class Chroma(System):
    """A collection. `prefix`: it holds prefixes; its own `get` of full vectors takes longer than the whole search."""

    packages = ("chromadb",)

    def __init__(self, prefix: bool = False) -> None:
        self._prefix = prefix
        self._folder = Path()

    def load(self) -> None:
        global chromadb
        import chromadb

    def build(self, vectors: np.ndarray, folder: Path, threads: int) -> None:
        """Add batch after batch."""
        self._folder = folder
        given = prefixes(vectors) if self._prefix else vectors
        collection = self._client().create_collection("rows", configuration={"hnsw": GRAPH | {"num_threads": threads}})
        for start in range(0, len(given), LOAD):
            part = given[start : start + LOAD]
            collection.add(ids=[str(start + place) for place in range(len(part))], embeddings=part)
        if self._prefix:
            Rerank.save(vectors, folder)

    def _client(self) -> Any:
        settings = chromadb.config.Settings(anonymized_telemetry=False)
        return chromadb.PersistentClient(str(self._folder), settings)

    def open(self, folder: Path) -> None:
        self._folder = folder
        self._rerank = Rerank(folder) if self._prefix else None
        self._collection = self._client().get_collection("rows")
        self._ef = 0

    def settings(self, k: int) -> list[Setting]:
        if not self._prefix:
            return [{"ef": ef} for ef in depths(k)]
        return [{"shortlist": length, "ef": ef} for length in shortlists(k, 1_600) for ef in (length, 2 * length)]

    def searcher(self, k: int, setting: Setting) -> Callable[[Any], Any]:
        self._use(setting["ef"])
        query_of = self._collection.query
        if self._rerank is None:
            return lambda query: query_of(query_embeddings=query[None], n_results=k, include=[])["ids"][0]
        best, length = self._rerank.best, setting["shortlist"]

        def search(query: np.ndarray) -> np.ndarray:
            short = prefixes(query)[None]
            found = query_of(query_embeddings=short, n_results=length, include=[])["ids"][0]
            return best(query, np.array(found, dtype=np.int64), k)

        return search

    def _use(self, ef: int) -> None:
        """Set ef_search, which a collection reads when it is loaded: load it again."""
        if ef == self._ef:
            return
        self._collection.modify(configuration={"hnsw": {"ef_search": ef}})
        chromadb.api.client.SharedSystemClient.clear_system_cache()
        self._collection, self._ef = self._client().get_collection("rows"), ef

    def rows(self, found: Any) -> Any:
        return (int(name) for name in found)
