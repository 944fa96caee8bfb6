"""The HNSW graph over the prefixes of rows 0 .. rows-1; position in the graph = row.

A graph in use is never changed: `extended` copies it and adds to the copy. FAISS reallocates while adding and
allocates a lock per node on every call, so that adding in small slices under a lock would stall searches.
"""

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np

from index.errors import StoreCorrupt

LINKS = 16  # M: 64-dimension vectors gain nothing from more (PERFORMANCE: section 6)
BUILD_DEPTH = 100  # efConstruction
ADD_SLICE = 8_192  # rows added between two looks at `stop`
CODES = ("float32", "int8")


class Graph:
    """Approximate first stage: inner product of unit prefixes, stored as float32 or int8."""

    def __init__(self, index: faiss.IndexHNSW) -> None:
        self._index = index

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

    def extended(self, prefixes: np.ndarray, stop: Callable[[], bool] = lambda: False) -> "Graph | None":
        """A copy of this graph with more rows at its end, or None when `stop` says so in between."""
        index = faiss.clone_index(self._index)
        step = max(ADD_SLICE, len(prefixes) // 64)
        for start in range(0, len(prefixes), step):
            if stop():
                return None
            index.add(prefixes[start : start + step])
        return Graph(index)

    @property
    def rows(self) -> int:
        """Number of rows in the graph, dead ones included."""
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        """Width of the prefixes."""
        return int(self._index.d)

    @property
    def codes(self) -> str:
        """How the prefixes are stored."""
        return "int8" if isinstance(self._storage, faiss.IndexScalarQuantizer) else "float32"

    @property
    def _storage(self) -> faiss.IndexFlatCodes:
        return faiss.downcast_index(self._index.storage)

    @property
    def memory_bytes(self) -> int:
        """Bytes of codes, links and levels in RAM."""
        hnsw = self._index.hnsw
        return int(
            self._storage.codes.size() + 4 * hnsw.neighbors.size() + 8 * hnsw.offsets.size() + 4 * hnsw.levels.size()
        )

    def search(
        self, query: np.ndarray, keep: int, depth: int, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows (int64) and scores (float32) of up to `keep` best prefixes, best first.

        `depth` is efSearch; `allowed` is a packed bitmap of rows, None when every row may be found.
        """
        parameters = faiss.SearchParametersHNSW(efSearch=max(depth, keep))
        if allowed is not None:
            parameters.sel = selector = faiss.IDSelectorBitmap(allowed)
            parameters.referenced_objects = [selector, allowed]
        scores, rows = self._index.search(query[None], min(keep, self.rows), params=parameters)
        found = rows[0] >= 0
        return rows[0][found], scores[0][found]

    def prefixes(self, rows: np.ndarray | slice) -> np.ndarray:
        """The stored prefixes (n, prefix_dim) float32 of these rows."""
        codes = self._storage.codes
        stored = faiss.rev_swig_ptr(codes.data(), codes.size()).reshape(self.rows, -1)
        picked = np.take(stored, rows, axis=0) if isinstance(rows, np.ndarray) else stored[rows].copy()
        if self.codes == "float32":
            return picked.view(np.float32)
        return self._storage.sa_decode(np.ascontiguousarray(picked))

    def scores(self, query: np.ndarray) -> np.ndarray | None:
        """(rows,) float32 inner products of a (prefix_dim,) query with every float prefix; None for int8 codes."""
        if self.codes != "float32":
            return None
        codes = self._storage.codes
        stored = faiss.rev_swig_ptr(codes.data(), codes.size()).view(np.float32).reshape(self.rows, -1)
        return stored @ query.astype(np.float32, copy=False)

    def rounded(self, prefixes: np.ndarray) -> np.ndarray:
        """What the graph's codes make of (n, prefix_dim) float32 prefixes."""
        return prefixes if self.codes == "float32" else self._storage.sa_decode(self._storage.sa_encode(prefixes))

    def save(self, path: Path) -> int:
        """Write the graph to a file and sync it; returns the CRC-32 of its bytes."""
        faiss.write_index(self._index, str(path))
        with path.open("rb") as file:
            os.fsync(file.fileno())
        return checksum(path)

    @classmethod
    def load(cls, path: Path, expected: int) -> "Graph":
        """Read a saved graph; StoreCorrupt. The checksum is compared first: crafted index files can exhaust memory."""
        try:
            actual = checksum(path)
        except OSError as error:
            raise StoreCorrupt(f"cannot read {path}: {error.strerror}") from None
        if actual != expected:
            raise StoreCorrupt(f"{path} does not match its checksum: expected {expected}, found {actual}")
        faiss.set_deserialization_vector_byte_limit(path.stat().st_size)  # no vector in it is longer than the whole
        try:
            index = faiss.read_index(str(path))
        except (RuntimeError, MemoryError) as error:
            raise StoreCorrupt(f"{path} cannot be read: {error}") from None
        if not isinstance(index, faiss.IndexHNSW):
            raise StoreCorrupt(f"{path} holds no HNSW graph but {type(index).__name__}")
        return cls(index)


def checksum(path: Path) -> int:
    """CRC-32 of a file's bytes."""
    value = 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            value = zlib.crc32(block, value)
    return value
