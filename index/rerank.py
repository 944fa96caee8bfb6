"""The second stage: exact inner products of the query with the full vectors of the shortlist's rows."""

import time

import numpy as np

from index.matryoshka import prefixes
from index.paging import prefetch_rows
from index.view import View

CHUNK = 1_024  # rows between two looks at the clock


def rerank(view: View, query: np.ndarray, rows: np.ndarray, least: int, deadline: float | None) -> np.ndarray:
    """Full scores (m,) float32 of the first m rows, in the order given.

    m is all of them unless the deadline (seconds of time.monotonic) passes; never fewer than `least`.
    """
    prefetch_rows(view.matrix, rows)
    parts, done = [], 0
    while done < len(rows):
        if deadline is not None and done >= least and time.monotonic() > deadline:
            break
        chunk = rows[done : done + max(CHUNK, least)]
        parts.append(view.codec.scores(view.matrix, chunk, query))
        done += len(chunk)
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.float32)


def rerank_prefix(view: View, query: np.ndarray, rows: np.ndarray, dims: int) -> np.ndarray:
    """Scores (n,) float32 of a middle stage: cosine of the first `dims` numbers of query and rows."""
    prefetch_rows(view.matrix, rows)
    stored = view.codec.decode(np.take(view.matrix, rows, axis=0))
    return prefixes(stored, dims, view.rotation) @ prefixes(query[None], dims, view.rotation)[0]
