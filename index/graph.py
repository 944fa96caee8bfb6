"""The HNSW graph over the prefixes of rows 0 .. rows-1; position in the graph = row.

FAISS reallocates while adding and allocates a lock per node on every call, so that adding in small slices under a
lock would stall searches.
"""

import math

import faiss
import numpy as np

from index.older import Older
from index.scan import products

LINKS = 16  # M: 64-dimension vectors gain nothing from more (PERFORMANCE: section 6)
BUILD_DEPTH = 100  # efConstruction
ADD_SLICE = 8_192  # rows added between two looks at `stop`
# A graph looks at a row in about 1.8 us, a scan in 30 ns: what looks at one row in 60 had better scan all of them. A
# graph that may return a share s of its rows has to look at keep / s of them.
SCAN_RATIO = 60
CODES = ("float32", "int8")


class Graph(Older):
    """Approximate first stage: inner product of unit prefixes, stored as float32 or int8."""

    kind = "hnsw"
    add_slice = ADD_SLICE
    exhaustive = False
    depths = 1.0, 2.0, 4.0  # efSearch over the rows kept
    _index: faiss.IndexHNSW

    @classmethod
    def empty(cls, training: np.ndarray, codes: str) -> "Graph":
        """A graph of no rows; (n, prefix_dim) float32 `training` rows set the ranges of int8 codes."""
        dim = training.shape[1]
        if codes == "int8":
            kind = faiss.ScalarQuantizer.QT_8bit
            index = faiss.IndexHNSWSQ(dim, kind, LINKS, faiss.METRIC_INNER_PRODUCT)
            index.train(training)
        else:
            index = faiss.IndexHNSWFlat(dim, LINKS, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = BUILD_DEPTH
        return cls(index)

    @property
    def codes(self) -> str:
        """How the prefixes are stored."""
        return "int8" if isinstance(self._storage, faiss.IndexScalarQuantizer) else "float32"

    @property
    def _storage(self) -> faiss.IndexFlatCodes:
        return faiss.downcast_index(self._index.storage)

    @property
    def row_bytes(self) -> int:
        """See `Older`; about."""
        return int(self._storage.code_size) + 4 * (2 * LINKS + 4)

    @property
    def memory_bytes(self) -> int:
        """Bytes of codes, links and levels in RAM."""
        hnsw = self._index.hnsw
        return int(
            self._storage.codes.size() + 4 * hnsw.neighbors.size() + 8 * hnsw.offsets.size() + 4 * hnsw.levels.size()
        )

    def depth(self, keep: int, depth: float, matching: int, rows: int) -> int:
        """See `Older`: rows looked at, at least (efSearch)."""
        return math.ceil(depth * keep * rows / matching)

    def better_scanned(self, keep: int, matching: int, rows: int) -> bool:
        """See `Older`: while m^2 < 60 keep rows; both costs were measured."""
        return matching**2 <= SCAN_RATIO * keep * rows

    def _parameters(self, depth: float) -> faiss.SearchParameters:
        return faiss.SearchParametersHNSW(efSearch=int(depth))

    def scores(self, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """See `Older`."""
        return self.prefixes(rows) @ query

    def prefixes(self, rows: np.ndarray | slice) -> np.ndarray:
        """See `Older`."""
        codes = self._storage.codes
        stored = faiss.rev_swig_ptr(codes.data(), codes.size()).reshape(self.rows, -1)
        picked = np.take(stored, rows, axis=0) if isinstance(rows, np.ndarray) else stored[rows].copy()
        if self.codes == "float32":
            return picked.view(np.float32)
        return self._storage.sa_decode(np.ascontiguousarray(picked))

    def all_scores(self, query: np.ndarray) -> np.ndarray | None:
        """(rows,) float32 inner products of a (prefix_dim,) query with every float prefix; None for int8 codes."""
        if self.codes != "float32":
            return None
        codes = self._storage.codes
        stored = faiss.rev_swig_ptr(codes.data(), codes.size()).view(np.float32).reshape(self.rows, -1)
        return products(stored, query)

    def rounded(self, prefixes: np.ndarray) -> np.ndarray:
        """See `Older`."""
        return prefixes if self.codes == "float32" else self._storage.sa_decode(self._storage.sa_encode(prefixes))
