"""Prefixes of rows 0 .. rows-1 as 4-bit codes, all of which every search compares; position in the codes = row.

FAISS's PQ fast scan (Andre, Kermarrec, Le Scouarnec 2015, "Cache locality is not enough") compares 64 bytes a row in
half the time that 64 floats take. Up to 128 dimensions each number has a code of its own, beyond that every two of them
share one: 256 dimensions take 64 bytes, and their order at 2 bits each is far nearer to that of the full vectors than
the order of 64 dimensions at 8 bits (docs/codes.md).
"""

import faiss
import numpy as np

from index.bits import pack
from index.older import Older
from index.options import PACKED

SINGLE = 128  # dimensions up to which each number has a code of its own
TRAINED_ON = 4_096  # rows; a thousand make codes as good as 20,000 do
CENTROIDS = 16  # of a 4-bit code
LEAST = 39 * CENTROIDS  # rows that FAISS wants for a training
ID_BYTES = 8


class Packed(Older):
    """An exhaustive first stage over 4-bit codes: inner product of unit prefixes, rounded."""

    kind = "packed"
    codes = PACKED
    exhaustive = True
    add_slice = 65_536
    _index: faiss.IndexIVFPQFastScan  # of one list: the flat one takes no filter

    @classmethod
    def empty(cls, training: np.ndarray) -> "Packed":
        """Codes of no rows, trained on (n, prefix_dim) float32 prefixes."""
        dim = training.shape[1]
        whole = faiss.IndexFlatIP(dim)
        whole.add(np.zeros((1, dim), dtype=np.float32))
        pieces = dim if dim <= SINGLE or dim % 2 else dim // 2
        index = faiss.IndexIVFPQFastScan(whole, dim, 1, pieces, 4, faiss.METRIC_INNER_PRODUCT)
        whole.this.disown()
        index.own_fields, index.by_residual = True, False
        index.train(_enough(training))
        return cls(index)

    @property
    def row_bytes(self) -> int:
        """Of codes and row number."""
        return int(self._index.code_size) + ID_BYTES

    def _parameters(self, depth: int) -> faiss.SearchParameters:
        return faiss.SearchParametersIVF(nprobe=1)

    def scores(self, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """See `Older`."""
        mask = np.zeros(self.rows, dtype=bool)
        mask[rows] = True
        found, scores = self.search(query, len(rows), 0, pack(mask))
        ordered: np.ndarray = scores[np.argsort(found)]
        return ordered

    def prefixes(self, rows: np.ndarray | slice) -> np.ndarray:
        """See `Older`: some microseconds a row, for checks."""
        wanted = np.arange(self.rows)[rows]
        packer = self._index.get_CodePacker()
        blocks, places = np.unique(wanted // packer.nvec, return_inverse=True)
        lists = faiss.downcast_InvertedLists(self._index.invlists)
        packed = faiss.rev_swig_ptr(lists.get_codes(0), -(-self.rows // packer.nvec) * packer.block_size)
        codes = np.empty((len(blocks), packer.nvec, packer.code_size), dtype=np.uint8)
        for block, into in zip(blocks.tolist(), codes, strict=True):
            packer.unpack_all(faiss.swig_ptr(packed[block * packer.block_size :]), faiss.swig_ptr(into))
        return self._decoded(codes[places, wanted % packer.nvec])

    def rounded(self, prefixes: np.ndarray) -> np.ndarray:
        """See `Older`."""
        return self._decoded(self._index.pq.compute_codes(np.ascontiguousarray(prefixes)))

    def _decoded(self, codes: np.ndarray) -> np.ndarray:
        decoded: np.ndarray = self._index.pq.decode(np.ascontiguousarray(codes))
        return decoded


def _enough(training: np.ndarray) -> np.ndarray:
    """Rows spread over all of them; where there are too few, directions at random are added."""
    chosen = training[:: max(1, len(training) // TRAINED_ON)][:TRAINED_ON]
    if len(chosen) < LEAST:
        others = np.random.default_rng(0).normal(size=(LEAST - len(chosen), training.shape[1]))
        others /= np.linalg.norm(others, axis=1, keepdims=True)
        chosen = np.concatenate([chosen, others])
    return np.ascontiguousarray(chosen, dtype=np.float32)
