"""Comparing every row with a query, and keeping the best of them."""

import faiss
import numpy as np

SAMPLE = 16  # one score in so many tells about where the best begin
SPARE = 8  # more of the sample than there should be


def products(rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Inner products (n,) float32 of a (dim,) query with (n, dim) contiguous float32 rows.

    FAISS's loop holds no lock and takes 0.7 of the time of BLAS at 64 dimensions, 0.4 at 256 (63,435 rows, one core).
    """
    scores = np.empty(len(rows), dtype=np.float32)
    if len(rows):
        asked = np.ascontiguousarray(query, dtype=np.float32)
        arrays = (faiss.swig_ptr(array) for array in (scores, asked, rows))
        faiss.fvec_inner_products_ny(*arrays, rows.shape[1], len(rows))
    return scores


def best(rows: np.ndarray, scores: np.ndarray, keep: int) -> tuple[np.ndarray, np.ndarray]:
    """Of ascending rows the `keep` of highest score, best first, equal scores by row: a longer list begins with a
    shorter one."""
    places = top(scores, keep)
    rows, scores = rows[places], scores[places]
    order = np.argsort(-scores, kind="stable")[:keep]
    return rows[order], scores[order]


def top(scores: np.ndarray, keep: int) -> np.ndarray:
    """Ascending places of the `keep` highest scores and of those that equal the last of them."""
    if keep >= len(scores):
        return np.arange(len(scores))
    places = _likely(scores, keep)
    if len(places) < keep:  # the sample was not like the rest
        return np.flatnonzero(scores >= _last(scores, keep))
    scores = scores[places]
    return places[scores >= _last(scores, keep)]


def _likely(scores: np.ndarray, keep: int) -> np.ndarray:
    """Places of about twice as many of the highest: a partition of all takes seven times as long."""
    sample = scores[::SAMPLE]
    wanted = 2 * (keep // SAMPLE + SPARE)
    if 2 * wanted > len(sample):
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(scores >= _last(sample, wanted))


def _last(scores: np.ndarray, keep: int) -> float:
    """The score of the last of the `keep` highest."""
    return float(np.partition(scores, len(scores) - keep)[len(scores) - keep])
