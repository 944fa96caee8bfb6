"""Packed bitmaps of rows: bit r & 7 of byte r >> 3, as FAISS's IDSelectorBitmap reads them."""

from collections.abc import Sequence

import numpy as np


def pack(mask: np.ndarray) -> np.ndarray:
    """(rows,) bool to (ceil(rows / 8),) uint8."""
    return np.packbits(mask, bitorder="little")


def unpack(packed: np.ndarray, rows: int) -> np.ndarray:
    """(ceil(rows / 8),) uint8 to (rows,) bool."""
    return np.unpackbits(packed, count=rows, bitorder="little").view(bool)


def between(packed: np.ndarray, start: int, stop: int) -> np.ndarray:
    """(stop - start,) bool of rows [start, stop)."""
    first = start & ~7  # the byte that the rows begin in
    return unpack(packed[first >> 3 :], stop - first)[start - first :]


def count(packed: np.ndarray) -> int:
    """Number of rows set."""
    return int(np.bitwise_count(packed).sum())


def changed(packed: np.ndarray, old_rows: int, rows: int, cleared: Sequence[int]) -> np.ndarray:
    """A copy with rows old_rows .. rows-1 set and then those of `cleared` unset."""
    bits = np.zeros((rows + 7) // 8, dtype=np.uint8)
    bits[: len(packed)] = packed
    start = old_rows & ~7  # the byte that the new rows begin in
    bits[start >> 3 :] |= pack(np.arange(start, rows) >= old_rows)
    dead = np.asarray(cleared, dtype=np.int64)
    np.bitwise_and.at(bits, dead >> 3, ~(1 << (dead & 7)).astype(np.uint8))
    return bits
