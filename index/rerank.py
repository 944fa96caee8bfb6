"""The second stage: exact inner products of the query with the full vectors of the shortlist's rows."""

import time
from collections.abc import Iterable, Iterator

import numpy as np

from index.integrity import check_scores
from index.paging import prefetch_rows
from index.view import View

CHUNK = 256  # rows between two looks at the clock
BLOCK = 1_024  # rows of a middle stage decoded at a time, and between two looks at the clock


def rerank(view: View, query: np.ndarray, rows: np.ndarray, least: int, deadline: float | None) -> np.ndarray:
    """Full scores (m,) float32 of the first m rows, in the order given.

    m is all of them unless the deadline (seconds of time.monotonic) passes; never fewer than `least`.
    """
    prefetch_rows(view.matrix, rows)
    chunks = _in_time(rows, CHUNK, least, deadline)
    scores = _joined(view.codec.scores(view.matrix, chunk, query) for chunk in chunks)
    check_scores(rows[: len(scores)], scores)
    return scores


def rerank_prefix(
    view: View, query: np.ndarray, rows: np.ndarray, dims: int, least: int, deadline: float | None
) -> np.ndarray:
    """Scores (m,) float32 of a middle stage: cosine of query and rows in their prefixes of `dims`; m as in `rerank`."""
    wanted = view.stage_prefixes(query[None], dims)[0]
    blocks = _in_time(rows, BLOCK, least, deadline)
    return _joined(_prefixes(view, block, dims) @ wanted for block in blocks)


def _prefixes(view: View, rows: np.ndarray, dims: int) -> np.ndarray:
    prefetch_rows(view.matrix, rows)
    return view.stage_prefixes(view.codec.decode(np.take(view.matrix, rows, axis=0)), dims)


def _in_time(rows: np.ndarray, size: int, least: int, deadline: float | None) -> Iterator[np.ndarray]:
    """Slices of about `size` rows: all of them, or once `least` rows are done those that begin before the deadline."""
    done = 0
    while done < len(rows):
        if deadline is not None and done >= least and time.monotonic() > deadline:
            return
        chunk = rows[done : done + max(size, least - done)]
        yield chunk
        done += len(chunk)


def _joined(parts: Iterable[np.ndarray]) -> np.ndarray:
    made = list(parts)
    return made[0] if len(made) == 1 else np.concatenate([np.empty(0, dtype=np.float32), *made])
