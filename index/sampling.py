"""Stored vectors of documents drawn at random."""

import numpy as np

from index import bits
from index.errors import InvalidInput
from index.paging import prefetch_rows
from index.view import View


def sample(view: View, size: int, seed: int = 0, first: int = 0) -> np.ndarray:
    """(n, dim) float32 stored vectors of n <= size live rows from row `first` on, without replacement, by row."""
    if size < 1:
        raise InvalidInput(f"size must be at least 1, got {size}")
    live = first + np.flatnonzero(bits.unpack(view.live, view.rows)[first:])
    rows = np.sort(np.random.default_rng(seed).choice(live, min(size, len(live)), replace=False))
    prefetch_rows(view.matrix, rows)
    return view.codec.decode(np.take(view.matrix, rows, axis=0))
