"""Lists of packed codes as FAISS searches them: reading and appending, which FAISS does for rows of one list only."""

from collections.abc import Iterator

import faiss
import numpy as np

from index.blocks import BLOCK, packed_blocks, unpacked_blocks


class Inverted:
    """The lists of an index: row numbers, and codes in blocks. With one list, a row's place is its number."""

    def __init__(self, index: faiss.IndexIVFPQFastScan) -> None:
        self._lists = faiss.downcast_InvertedLists(index.invlists)
        self._block = BLOCK * int(index.code_size)

    def append(self, number: int, codes: np.ndarray, rows: np.ndarray) -> None:
        """(n, size) codes of (n,) rows to the end of a list."""
        size = self._lists.list_size(number)
        whole = size // BLOCK
        if size % BLOCK:
            codes = np.concatenate([unpacked_blocks(self._blocks(number)[whole:])[: size % BLOCK], codes])
        self._lists.resize(number, size + len(rows))
        self._ids(number)[size:] = rows
        self._blocks(number)[whole:] = packed_blocks(codes)

    def codes(self, number: int, rows: np.ndarray) -> np.ndarray:
        """(n, size) codes of (n,) rows that are in a list."""
        places = self._places(number, rows)
        blocks, inverse = np.unique(places // BLOCK, return_inverse=True)
        unpacked = unpacked_blocks(self._blocks(number)[blocks])
        return unpacked[inverse * BLOCK + places % BLOCK]

    def homes(self, rows: int) -> np.ndarray:
        """(rows,) uint16: one of the lists of each row."""
        homes = np.empty(rows, dtype=np.uint16)
        for number in range(self._lists.nlist if rows else 0):
            homes[self._ids(number)] = number
        return homes

    def _places(self, number: int, rows: np.ndarray) -> np.ndarray:
        if self._lists.nlist == 1:
            return rows
        ids = self._ids(number)
        order = np.argsort(ids)
        places: np.ndarray = order[np.searchsorted(ids, rows, sorter=order)]
        return places

    def _ids(self, number: int) -> np.ndarray:
        ids: np.ndarray = faiss.rev_swig_ptr(self._lists.get_ids(number), self._lists.list_size(number))
        return ids

    def _blocks(self, number: int) -> np.ndarray:
        count = -(-self._lists.list_size(number) // BLOCK)
        blocks: np.ndarray = faiss.rev_swig_ptr(self._lists.get_codes(number), count * self._block)
        return blocks.reshape(count, self._block)


def grouped(numbers: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Each number that occurs, with its places in ascending order."""
    order = np.argsort(numbers, kind="stable")
    found, starts = np.unique(numbers[order], return_index=True)
    return zip(found.tolist(), np.split(order, starts[1:]), strict=True) if len(found) else iter(())
