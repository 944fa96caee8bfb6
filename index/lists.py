"""Which of the lists of packed codes a row is in, and which of them a query looks into.

Centroids come from spherical k-means. Each row is in two lists (SOAR: Sun, Simcha, Dopson, Guo and Kumar 2023, "SOAR:
Improved Indexing for Approximate Nearest Neighbor Search"): that of the nearest centroid c, and the one for which
|x - c2|^2 + ORTHOGONAL ((x - c2) . r)^2 is least, r the direction of x - c: where the first centroid is off,
the second one has to be off in another direction. That halves the rows compared at equal recall; the plain second
nearest centroid gains nothing.

A query looks into all lists whose centroid scores at least a share of what the best one scores: queries near many
rows look at few of them, others at many. On 37,000 to 370,000 rows the same share brought the same recall.
"""

import math

import faiss
import numpy as np

from index.scan import products

LISTED_FROM = 200_000  # rows; fewer are compared one and all: as quick, at recall 0.99, and exact
LISTS = 4  # times the square root of the rows
MOST_LISTS = 65_535  # of 16-bit numbers
SAMPLE, MOST_SAMPLED = 32, 160_000  # rows that a list is trained on; all of them together
ITERATIONS = 6
ORTHOGONAL = 2.0
CANDIDATES = 16  # nearest centroids among which the second one is looked for
NEAR = 0.66  # of the best centroid's score is what a list may lack at depth 1: half a point of recall@10
BLOCK = 512  # rows assigned at a time, in cache
LOOKED_AT = 4  # times the candidates, by codes of the centroids


def number_of_lists(rows: int) -> int:
    """1 where all rows are compared."""
    return 1 if rows < LISTED_FROM else min(round(LISTS * math.sqrt(rows)), MOST_LISTS)


def sampled(rows: int) -> int:
    """How many of so many rows the lists, and the codes, are trained on."""
    return min(rows, max(4_096, min(SAMPLE * number_of_lists(rows), MOST_SAMPLED)))


def centroids(sample: np.ndarray, lists: int) -> np.ndarray:
    """(lists, dim) float32 of norm 1, from (n, dim) float32 unit rows."""
    means = faiss.Clustering(sample.shape[1], lists)
    means.niter, means.spherical, means.seed = ITERATIONS, True, 0
    means.min_points_per_centroid, means.max_points_per_centroid = 1, SAMPLE
    means.train(np.ascontiguousarray(sample), faiss.IndexFlatIP(sample.shape[1]))
    found: np.ndarray = faiss.vector_to_array(means.centroids).reshape(lists, -1)
    return found


def finder(centres: np.ndarray, quantizer: faiss.IndexFlat, codes: faiss.ProductQuantizer) -> faiss.IndexRefine:
    """Finds the nearest of (lists, dim) centroids by their codes, then exactly, in a fraction of a scan's time."""
    dim = centres.shape[1]
    coarse = faiss.IndexPQFastScan(dim, codes.M, codes.nbits, faiss.METRIC_INNER_PRODUCT)
    coarse.pq, coarse.is_trained = codes, True
    coarse.add(centres)
    found = faiss.IndexRefine(coarse, quantizer)
    found.k_factor, found.referenced_objects = LOOKED_AT, [coarse, quantizer]
    return found


def assigned(rows: np.ndarray, quantizer: faiss.Index, centres: np.ndarray) -> np.ndarray:
    """(n, 2) int64: the two lists of (n, dim) float32 unit rows; `quantizer` finds the (lists, dim) `centres`."""
    starts = range(0, len(rows), BLOCK)
    parts = [_assigned(rows[start : start + BLOCK], quantizer, centres) for start in starts]
    return np.concatenate(parts) if parts else np.empty((0, 2), dtype=np.int64)


def _assigned(rows: np.ndarray, quantizer: faiss.Index, centres: np.ndarray) -> np.ndarray:
    products, lists = quantizer.search(np.ascontiguousarray(rows), min(CANDIDATES, len(centres)))
    residual = rows - centres[lists[:, 0]]
    residual /= np.maximum(np.linalg.norm(residual, axis=1, keepdims=True), 1e-12)
    own = np.einsum("ij,ij->i", residual, rows)
    others = centres[lists[:, 1:]]
    along = own[:, None] - np.matmul(others, residual[:, :, None])[:, :, 0]
    second = (ORTHOGONAL * np.square(along) - 2 * products[:, 1:]).argmin(axis=1)
    return np.stack([lists[:, 0], lists[np.arange(len(rows)), 1 + second]], axis=1)


def near(query: np.ndarray, centres: np.ndarray, depth: float) -> np.ndarray:
    """(n,) int64 numbers of the lists that a (dim,) query looks into, all of them at an infinite `depth`."""
    if math.isinf(depth):
        return np.arange(len(centres))
    scores = products(centres, query)
    best = float(scores.max())
    return np.flatnonzero(scores >= best - NEAR * depth * abs(best))


def deeper(depth: float, matching: int, rows: int) -> float:
    """The depth for a filter: the best of fewer rows score less, and may lie elsewhere.

    With the square, a tenth or a hundredth of 370,000 rows lost no more recall than all of them do.
    """
    share = math.log(max(matching, 2)) / math.log(max(rows, 2))
    return (1 - (1 - NEAR * depth) * share**2) / NEAR
