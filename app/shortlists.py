"""How long a shortlist must be: the places of the true best documents in the order of the prefix.

    place(q, d)  = number of documents whose prefix scores at least as high as that of d, d itself included
    recall@10(s) = share of the ten best documents of full-width search whose place is at most s

That is the recall of the funnel with an exact first stage, for every shortlist s at once. A document that ties with
others stands last among them, so that a shortlist of its place holds it however ties are broken.
"""

from collections.abc import Sequence

import numpy as np

from app.extras import extra_module
from app.intervals import AT_ONCE, RESAMPLES, SEED, Estimate
from index.matryoshka import prefixes, turned

K = 10
BLOCK = 128  # queries scored at a time
PROBES, AMONG = 200, 5_000  # rows by which two rotations are told apart quickly
LADDER = (10, 20, 50, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 51200)


def ladder(documents: int) -> tuple[int, ...]:
    """The shortlists that are measured: those of LADDER that leave something out of `documents`."""
    return tuple(length for length in LADDER if length < documents)


def nearest(queries: np.ndarray, documents: np.ndarray, k: int = K) -> np.ndarray:
    """(q, k) int64 positions of the documents with the largest inner products, in no order; k < n is required."""
    found = []
    for start in range(0, len(queries), BLOCK):
        scores = queries[start : start + BLOCK] @ documents.T  # (b, n)
        found.append(np.argpartition(-scores, k, axis=1)[:, :k])
    return np.concatenate(found)


def places(
    queries: np.ndarray,
    documents: np.ndarray,
    truth: np.ndarray,
    prefix_dim: int,
    rotation: np.ndarray | None = None,
) -> np.ndarray:
    """(q, k) int64 places, ascending, of the (q, k) true documents by the prefixes of (q, dim) and (n, dim) rows."""
    asked, stored = (prefixes(rows, prefix_dim, rotation) for rows in (queries, documents))
    found = []
    for start in range(0, len(queries), BLOCK):
        scores = asked[start : start + BLOCK] @ stored.T  # (b, n)
        own = np.take_along_axis(scores, truth[start : start + BLOCK], axis=1)
        found.append(np.stack([(scores >= column[:, None]).sum(axis=1) for column in own.T], axis=1))
    return np.sort(np.concatenate(found), axis=1)


def recalls(found: np.ndarray, shortlists: Sequence[int]) -> np.ndarray:
    """(s, q) float64: the recall@k of each query in each shortlist, of (q, k) places."""
    return np.stack([(found <= length).mean(axis=1) for length in shortlists])


def needed(found: np.ndarray, wanted: float) -> int:
    """The shortest shortlist whose mean recall is at least `wanted`, of (q, k) places."""
    return int(np.quantile(found, wanted, method="inverted_cdf"))


def needed_estimate(found: np.ndarray, wanted: float) -> Estimate:
    """`needed` with its 95 % interval by bootstrap over queries (percentile method)."""
    drawn = extra_module("scipy.stats", "evaluate").bootstrap(
        (np.arange(len(found)),),
        lambda rows, axis: np.quantile(found[rows].astype(np.float64), wanted, axis=(-2, -1), method="inverted_cdf"),
        vectorized=True,
        batch=max(1, AT_ONCE // found.size),
        n_resamples=RESAMPLES,
        method="percentile",
        rng=np.random.default_rng(SEED),
    )
    ends = drawn.confidence_interval
    return Estimate(float(needed(found, wanted)), float(ends.low), float(ends.high))


def energy(vectors: np.ndarray, widths: Sequence[int], rotation: np.ndarray | None = None) -> dict[int, float]:
    """width -> mean share of the squared norm of (n, dim) unit rows in their first `width` numbers."""
    sums = np.square(turned(vectors, max(widths), rotation), dtype=np.float64).mean(axis=0).cumsum()
    return {width: float(sums[width - 1]) for width in widths}


def mean_log_place(vectors: np.ndarray, widths: Sequence[int], rotation: np.ndarray, seed: int = 0) -> float:
    """Mean over `widths` of the logarithm of a true document's place, for 200 of (n, dim) rows among 5,000 others."""
    rows = vectors[np.random.default_rng(seed).permutation(len(vectors))[: PROBES + AMONG]]
    queries, documents = np.split(rows, [min(PROBES, len(rows) // 5)])
    truth = nearest(queries, documents)
    return float(np.mean([np.log(places(queries, documents, truth, width, rotation)).mean() for width in widths]))
