"""Qdrant Edge, Qdrant's engine in this process: HNSW, with 8-bit codes and rescoring, with a prefetch by prefixes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_system import Setting, System, depths, prefixes, shortlists

LINKS, CONSTRUCTION, LOAD = 16, 200, 1_000


class Edge(System):
    """`mode` is plain, int8 or prefix. Everything is indexed, however small the collection."""

    packages = ("qdrant-edge-py",)

    def __init__(self, mode: str) -> None:
        self._mode = mode

    def load(self) -> None:
        global q
        import qdrant_edge as q

    def build(self, vectors: np.ndarray, folder: Path, threads: int) -> None:
        """Upsert, then optimise until there is nothing left to do."""
        shard = q.EdgeShard.create(str(folder), self._config(vectors.shape[1], threads))
        for start in range(0, len(vectors), LOAD):
            part = vectors[start : start + LOAD]
            short = prefixes(part)
            points = [
                q.Point(start + place, {"full": row.tolist()} | self._prefix(short[place]), None)
                for place, row in enumerate(part)
            ]
            shard.update(q.UpdateOperation.upsert_points(points))
        while shard.optimize():
            pass
        shard.flush()
        shard.close()

    def _prefix(self, short: np.ndarray) -> dict[str, list[float]]:
        return {"prefix": short.tolist()} if self._mode == "prefix" else {}

    def _config(self, dim: int, threads: int) -> Any:
        graph = q.HnswIndexConfig(LINKS, CONSTRUCTION, 1, max_indexing_threads=threads)
        none = q.HnswIndexConfig(0, CONSTRUCTION, 1)  # the full vectors of the funnel need no graph
        codes = q.ScalarQuantizationConfig(q.ScalarType.Int8, always_ram=True) if self._mode == "int8" else None
        full = q.EdgeVectorParams(dim, q.Distance.Dot, quantization_config=codes, hnsw_config=graph)
        vectors = {"full": full}
        if self._mode == "prefix":
            vectors = {
                "full": q.EdgeVectorParams(dim, q.Distance.Dot, hnsw_config=none),
                "prefix": q.EdgeVectorParams(64, q.Distance.Dot, hnsw_config=graph),
            }
        optimizers = q.EdgeOptimizersConfig(indexing_threshold=1, default_segment_number=1)
        return q.EdgeConfig(vectors, hnsw_config=graph, optimizers=optimizers)

    def open(self, folder: Path) -> None:
        self._shard = q.EdgeShard.load(str(folder))

    def settings(self, k: int) -> list[Setting]:
        if self._mode == "prefix":
            return [{"shortlist": length, "ef": ef} for length in shortlists(k, 1_600) for ef in (length, 2 * length)]
        if self._mode == "int8":
            return [{"ef": ef, "oversampling": factor} for ef in depths(k) for factor in (1.0, 2.0, 4.0)]
        return [{"ef": ef} for ef in depths(k)]

    def prepare(self, query: np.ndarray) -> Any:
        return query.tolist(), prefixes(query).tolist()

    def searcher(self, k: int, setting: Setting) -> Callable[[Any], Any]:
        ask, near = self._shard.query, q.Query.Nearest
        quantization = None
        if self._mode == "int8":
            quantization = q.QuantizationSearchParams(rescore=True, oversampling=setting["oversampling"])
        parameters = q.SearchParams(hnsw_ef=setting["ef"], quantization=quantization)
        if self._mode != "prefix":
            return lambda query: ask(q.QueryRequest(k, query=near(query[0], using="full"), params=parameters))
        length = setting["shortlist"]

        def search(query: Any) -> Any:
            first = q.Prefetch(length, query=near(query[1], using="prefix"), params=parameters)
            return ask(q.QueryRequest(k, query=near(query[0], using="full"), prefetches=[first]))

        return search

    def rows(self, found: Any) -> Any:
        return (point.id for point in found)

    def close(self) -> None:
        if hasattr(self, "_shard"):
            self._shard.close()
