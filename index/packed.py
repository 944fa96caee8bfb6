"""Prefixes of rows 0 .. rows-1 as 4-bit codes: few are compared one and all, many lie in lists.

FAISS's PQ fast scan (Andre, Kermarrec, Le Scouarnec 2015, "Cache locality is not enough") compares 64 bytes a row in
half the time that 64 floats take. Up to 128 dimensions each number has a code of its own, beyond that every two of them
share one: 256 dimensions take 64 bytes, and their order at 2 bits each is far nearer to that of the full vectors than
the order of 64 dimensions at 8 bits (docs/codes.md). A row's codes, and its score, do not depend on its lists, of which
it is in two (`index.lists`).
"""

import math
from collections.abc import Callable
from functools import cached_property, lru_cache
from typing import Self

import faiss
import numpy as np

from index import lists
from index.bits import pack
from index.inverted import Inverted, grouped
from index.older import Older, masked
from index.options import PACKED

SINGLE = 128  # dimensions up to which each number has a code of its own
TRAINED_ON = 4_096  # rows; a thousand make codes as good as 20,000 do
CENTROIDS = 16  # of a 4-bit code
LEAST = 39 * CENTROIDS  # rows that FAISS wants for a training
ID_BYTES, HOME_BYTES = 8, 2
COPIES = 2  # of a row that is in lists
OUTGROWN = 2  # times the lists are wanted when there are four times the rows: then they are made again


class Packed(Older):
    """A first stage over 4-bit codes: inner product of unit prefixes, rounded. Exhaustive while there is one list."""

    kind = "packed"
    codes = PACKED
    add_slice = 65_536
    depths = 1.0, 1.5, 2.0
    _index: faiss.IndexIVFPQFastScan  # of one list, too: the flat one takes no filter

    def __init__(self, index: faiss.IndexIVFPQFastScan, homes: np.ndarray | None = None) -> None:
        """`homes` are one list of each row, (rows,) uint16; they are read from the index when they are not given."""
        super().__init__(index)
        self._inverted = Inverted(index)
        self._centres = index.quantizer.reconstruct_n(0, index.nlist)
        self._homes = self._inverted.homes(0 if self.exhaustive else self.rows) if homes is None else homes

    @classmethod
    def empty(cls, training: np.ndarray, rows: int = 0) -> "Packed":
        """Codes of no rows, trained on (n, prefix_dim) float32 prefixes, in lists for as many rows as will come."""
        number = min(lists.number_of_lists(rows), len(training))
        none = np.zeros((1, training.shape[1]), dtype=np.float32)
        centres = lists.centroids(training, number) if number > 1 else none
        index = _unfilled(centres)
        index.train(_enough(training))
        return cls(index)

    @property
    def lists(self) -> int:
        """How many there are; with one, a search compares every row."""
        return int(self._index.nlist)

    @property
    def exhaustive(self) -> bool:
        """See `Older`."""
        return self.lists == 1

    @property
    def order(self) -> str:
        """See `Older`."""
        return self.codes if self.exhaustive else f"{self.codes} in lists"

    @property
    def rows(self) -> int:
        """See `Older`."""
        return int(self._index.ntotal) // self._copies

    @property
    def _copies(self) -> int:
        return 1 if self.exhaustive else COPIES

    @property
    def row_bytes(self) -> int:
        """Of codes and row numbers; lists round up to 32 rows."""
        home = 0 if self.exhaustive else HOME_BYTES
        return self._copies * (int(self._index.code_size) + ID_BYTES) + home

    @property
    def memory_bytes(self) -> int:
        """See `Older`."""
        return self.rows * self.row_bytes + (0 if self.exhaustive else 2 * self._centres.nbytes)

    def depth(self, keep: int, depth: float, matching: int, rows: int) -> float:
        """See `Older`."""
        return depth if matching == rows else lists.deeper(depth, matching, rows)

    def better_scanned(self, keep: int, matching: int, rows: int) -> bool:
        """See `Older`: rows of a filter lie in as many lists, of which a search would look into a fourth."""
        return 4 * matching < self.lists

    def add(self, prefixes: np.ndarray) -> None:
        """See `Older`."""
        if self.exhaustive:
            self._index.add(prefixes)
            return
        codes = self._index.pq.compute_codes(np.ascontiguousarray(prefixes))
        rows = np.arange(self.rows, self.rows + len(prefixes))
        self._put(codes, rows, lists.assigned(prefixes, self._finder, self._centres))

    def extended(self, prefixes: np.ndarray, stop: Callable[[], bool] = lambda: False) -> Self | None:
        """See `Older`; the lists are made again when the rows have outgrown them, the codes stay what they are."""
        total = self.rows + len(prefixes)
        if lists.number_of_lists(total) < OUTGROWN * self.lists:
            return super().extended(prefixes, stop)
        made = self._relisted(prefixes)
        for start in range(0, self.rows, self.add_slice):
            if stop():
                return None
            made.add(self.prefixes(slice(start, start + self.add_slice)))
        return made if made._added(prefixes, stop) else None

    def search(
        self, query: np.ndarray, keep: int, depth: float, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """See `Older`; where too few rows are found, all lists are looked into."""
        if self.exhaustive:
            return super().search(query, keep, depth, allowed)
        found = self._probed(query, lists.near(query, self._centres, depth), keep, allowed)
        if len(found[0]) == min(keep, self.rows) or math.isinf(depth):
            return found
        return self._probed(query, lists.near(query, self._centres, math.inf), keep, allowed)

    def scores(self, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """See `Older`."""
        mask = np.zeros(self.rows, dtype=bool)
        mask[rows] = True
        if self.exhaustive:
            found, scores = self.search(query, len(rows), 0, pack(mask))
        else:
            found, scores = self._probed(query, np.unique(self._homes[rows]), len(rows), pack(mask))
        ordered: np.ndarray = scores[np.argsort(found)]
        return ordered

    def prefixes(self, rows: np.ndarray | slice) -> np.ndarray:
        """See `Older`: some microseconds a row, for checks and new lists."""
        wanted = np.arange(self.rows)[rows]
        codes = np.empty((len(wanted), self._index.code_size), dtype=np.uint8)
        homes = self._homes[wanted] if len(self._homes) else np.zeros(len(wanted), dtype=np.uint16)
        for number, places in grouped(homes):
            codes[places] = self._inverted.codes(number, wanted[places])
        return self._decoded(codes)

    def rounded(self, prefixes: np.ndarray) -> np.ndarray:
        """See `Older`."""
        return self._decoded(self._index.pq.compute_codes(np.ascontiguousarray(prefixes)))

    @cached_property
    def _finder(self) -> faiss.Index:
        return lists.finder(self._centres, faiss.downcast_index(self._index.quantizer), self._index.pq)

    def _parameters(self, depth: float) -> faiss.SearchParameters:
        return faiss.SearchParametersIVF(nprobe=1)

    def _cloned(self) -> Self:
        return type(self)(faiss.clone_index(self._index), self._homes)

    def _relisted(self, more: np.ndarray) -> Self:
        """No rows, with the same codes, in lists for its own rows and more (n, prefix_dim) ones."""
        total = self.rows + len(more)
        step = max(1, total // lists.sampled(total))
        sample = np.concatenate([self.prefixes(slice(None, None, step)), more[::step]])
        norms = np.maximum(np.linalg.norm(sample, axis=1, keepdims=True), 1e-12)
        index = _unfilled(lists.centroids(sample / norms, lists.number_of_lists(total)))
        index.pq, index.is_trained = self._index.pq, True
        return type(self)(index)

    def _probed(
        self, query: np.ndarray, probed: np.ndarray, keep: int, allowed: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best `keep` of the allowed rows in some lists, best first."""
        if not len(probed) or not keep:
            return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float32)
        most = min(keep, self.rows) * COPIES
        scores, rows = np.empty(most, dtype=np.float32), np.empty(most, dtype=np.int64)
        plain = _probing(len(probed)) if allowed is None else faiss.SearchParametersIVF(nprobe=len(probed))
        parameters = masked(plain, allowed)
        asked = np.ascontiguousarray(query, dtype=np.float32)
        probed, unused = probed.astype(np.int64), np.zeros(len(probed), dtype=np.float32)
        pointers = [faiss.swig_ptr(array) for array in (asked, probed, unused, scores, rows)]
        self._index.search_preassigned_c(1, pointers[0], most, *pointers[1:], False, parameters)
        first = np.sort(np.unique(rows, return_index=True)[1])
        first = first[rows[first] >= 0][:keep]
        return rows[first], scores[first]

    def _put(self, codes: np.ndarray, rows: np.ndarray, into: np.ndarray) -> None:
        """(n, size) codes of (n,) rows into (n, 2) lists."""
        which = np.tile(np.arange(len(rows)), COPIES)
        for number, places in grouped(into.T.ravel()):
            self._inverted.append(number, codes[which[places]], rows[which[places]])
        self._homes = np.concatenate([self._homes, into[:, 0].astype(np.uint16)])
        self._index.ntotal += COPIES * len(rows)

    def _decoded(self, codes: np.ndarray) -> np.ndarray:
        decoded: np.ndarray = self._index.pq.decode(np.ascontiguousarray(codes))
        return decoded


@lru_cache(65_536)
def _probing(number: int) -> faiss.SearchParametersIVF:
    """Those of a search of so many lists: they take 15 us to make."""
    return faiss.SearchParametersIVF(nprobe=number)


def _unfilled(centres: np.ndarray) -> faiss.IndexIVFPQFastScan:
    """An index of no rows, with a list for each of (lists, dim) float32 `centres`, not trained."""
    dim = centres.shape[1]
    quantizer = faiss.IndexFlatIP(dim)
    quantizer.add(centres)
    pieces = dim if dim <= SINGLE or dim % 2 else dim // 2
    index = faiss.IndexIVFPQFastScan(quantizer, dim, len(centres), pieces, 4, faiss.METRIC_INNER_PRODUCT)
    quantizer.this.disown()
    index.own_fields, index.by_residual = True, False
    return index


def _enough(training: np.ndarray) -> np.ndarray:
    """Rows spread over all of them; where there are too few, directions at random are added."""
    chosen = training[:: max(1, len(training) // TRAINED_ON)][:TRAINED_ON]
    if len(chosen) < LEAST:
        others = np.random.default_rng(0).normal(size=(LEAST - len(chosen), training.shape[1]))
        others /= np.linalg.norm(others, axis=1, keepdims=True)
        chosen = np.concatenate([chosen, others])
    return np.ascontiguousarray(chosen, dtype=np.float32)
