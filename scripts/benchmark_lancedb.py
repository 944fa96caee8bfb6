"""LanceDB: HNSW over 8-bit codes, and inverted lists of product codes or RaBitQ with refine_factor."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_system import Setting, System, depths

FRAGMENT = 1 << 20  # rows of a file, its default


class Lance(System):
    """One table, one index; answers are row ids, which need no second look at the table."""

    packages = ("lancedb",)

    def __init__(self, index: str) -> None:
        self._index = index

    def load(self) -> None:
        global lancedb, pa
        import lancedb
        import pyarrow as pa

    def build(self, vectors: np.ndarray, folder: Path, threads: int) -> None:
        """Write the table, make the index."""
        column = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
        table = lancedb.connect(str(folder)).create_table("rows", pa.table({"vector": column}))
        graph = {"m": 16, "ef_construction": 200, "num_partitions": 1} if "HNSW" in self._index else {}
        codes = {"num_sub_vectors": vectors.shape[1] // 8} if self._index == "IVF_PQ" else {}
        table.create_index(metric="dot", index_type=self._index, **graph, **codes)

    def open(self, folder: Path) -> None:
        self._table = lancedb.connect(str(folder)).open_table("rows")

    def settings(self, k: int) -> list[Setting]:
        factors = (1, 2, 5, 10, 20)
        if "HNSW" in self._index:
            wide = [(ef, factor) for ef in depths(k)[::2] for factor in (None, 2, 5) if ef >= k * (factor or 1)]
            return [{"ef": ef, "refine_factor": factor} for ef, factor in wide]
        return [{"probes": probes, "refine_factor": factor} for probes in (4, 8, 16, 32, 64) for factor in factors]

    def searcher(self, k: int, setting: Setting) -> Callable[[Any], Any]:
        def search(query: np.ndarray) -> Any:
            asked = self._table.search(query).limit(k).select([]).with_row_id(True)
            if "ef" in setting:
                asked = asked.ef(setting["ef"])
            if "probes" in setting:
                asked = asked.nprobes(setting["probes"])
            if setting["refine_factor"] is not None:
                asked = asked.refine_factor(setting["refine_factor"])
            return asked.to_arrow()

        return search

    def rows(self, found: Any) -> Any:
        return ((row >> 32) * FRAGMENT + (row & 0xFFFFFFFF) for row in found["_rowid"].to_pylist())
