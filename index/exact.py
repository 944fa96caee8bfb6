"""The oracle: a scan of the full vectors of everything that passes the filter, block by block."""

import time

import numpy as np

from index.errors import SearchTimeout
from index.integrity import check_scores
from index.paging import prefetch_range, prefetch_rows
from index.progress import Progress
from index.view import View

BLOCK = 8_192  # rows decoded at a time: 25 MB of float32 at 768 dimensions
SPARSE = 8  # of so many rows less than one is wanted: read the rows, not the range
TIE = 1e-6  # scores closer than this are equal


def exact(
    view: View,
    queries: np.ndarray,
    keep: int,
    allowed: np.ndarray | None = None,
    deadline: float | None = None,
    progress: Progress | None = None,
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Rows (int64) and scores (float32) of the best `keep` rows for each of the (q, dim) unit queries.

    `allowed` is a (rows,) bool mask, None for all. Rows that tie with the last one are returned as well, so a
    list may be longer than `keep`. Best first, equal scores by row. `progress` gets (rows done, rows).
    Raises SearchTimeout when `deadline` (seconds of time.monotonic) passes.
    """
    tops = [_Top(keep) for _ in queries]
    for start in range(0, view.rows, BLOCK):
        if deadline is not None and time.monotonic() > deadline:
            raise SearchTimeout(f"the exact scan read {start} of {view.rows} rows before the deadline")
        stop = min(start + BLOCK, view.rows)
        rows = np.arange(start, stop) if allowed is None else start + np.flatnonzero(allowed[start:stop])
        if len(rows):
            scores = queries @ _block(view, rows).T  # (q, b)
            check_scores(rows, scores)
            for top, row_scores in zip(tops, scores, strict=True):
                top.add(rows, row_scores)
        if progress:
            progress(stop, view.rows)
    return [_final(view, query, top.rows, keep) for query, top in zip(queries, tops, strict=True)]


def _block(view: View, rows: np.ndarray) -> np.ndarray:
    """Full vectors (n, dim) float32 of ascending rows, read in one go when they are many of their range."""
    start, stop = int(rows[0]), int(rows[-1]) + 1
    if len(rows) * SPARSE < stop - start:
        prefetch_rows(view.matrix, rows)
    else:
        prefetch_range(view.matrix, start, stop)
    dense = len(rows) == stop - start
    return view.codec.decode(view.matrix[start:stop] if dense else np.take(view.matrix, rows, axis=0))


def with_ties(rows: np.ndarray, scores: np.ndarray, keep: int) -> tuple[np.ndarray, np.ndarray]:
    """The best `keep` rows and those that tie with the last of them, best first, equal scores by row."""
    if keep < len(rows):
        last = np.partition(scores, len(scores) - keep)[len(scores) - keep]
        enough = scores >= last - TIE
        rows, scores = rows[enough], scores[enough]
    order = np.lexsort((rows, -scores))
    return rows[order], scores[order]


class _Top:
    """The best rows so far; `bar` is the score of the worst of them."""

    def __init__(self, keep: int) -> None:
        self.keep, self.bar = keep, -np.inf
        self.rows = np.empty(0, dtype=np.int64)
        self.scores = np.empty(0, dtype=np.float32)

    def add(self, rows: np.ndarray, scores: np.ndarray) -> None:
        better = scores >= self.bar - TIE
        self.rows = np.concatenate([self.rows, rows[better]])
        self.scores = np.concatenate([self.scores, scores[better]])
        if len(self.rows) > self.keep:
            self.rows, self.scores = with_ties(self.rows, self.scores, self.keep)
            self.bar = float(self.scores[self.keep - 1])


def _final(view: View, query: np.ndarray, rows: np.ndarray, keep: int) -> tuple[np.ndarray, np.ndarray]:
    # BLAS rounds a row's score by its place in the block; the rerank's kernel does not.
    return with_ties(rows, view.codec.scores(view.matrix, rows, query), keep)
