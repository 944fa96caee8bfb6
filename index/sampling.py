"""Stored vectors of documents drawn at random."""

from collections.abc import Iterator

import numpy as np

from index import bits
from index.codec import Codec
from index.errors import InvalidInput
from index.paging import prefetch_rows
from index.view import View


def sample(view: View, size: int, seed: int = 0, first: int = 0, stop: int | None = None) -> np.ndarray:
    """(n, dim) float32 stored vectors of n <= size live rows in [first, stop), without replacement, by row."""
    rows = drawn(view, size, seed, first, stop)
    return next(blocks(view, rows, max(1, len(rows))), np.empty((0, view.space.dim), dtype=np.float32))


def drawn(view: View, size: int, seed: int = 0, first: int = 0, stop: int | None = None) -> np.ndarray:
    """(n,) int64 row numbers of such a sample, ascending."""
    if size < 1:
        raise InvalidInput(f"size must be at least 1, got {size}")
    live = first + np.flatnonzero(bits.unpack(view.live, view.rows)[first:stop])
    return np.sort(np.random.default_rng(seed).choice(live, min(size, len(live)), replace=False))


def blocks(view: View, rows: np.ndarray, length: int) -> Iterator[np.ndarray]:
    """The stored vectors of (n,) rows, at most `length` of them at a time, (., dim) float32, read when asked for."""
    codec, matrix = view.codec, view.matrix  # not the view: it would keep its shortlist alive
    return (_read(codec, matrix, rows[start : start + length]) for start in range(0, len(rows), length))


def _read(codec: Codec, matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
    prefetch_rows(matrix, rows)
    return codec.decode(np.take(matrix, rows, axis=0))
