"""How well vectors rank, by width: nDCG@10 and MRR@10 of an exact search against judgements."""

from collections.abc import Mapping, Sequence

import numpy as np

from index.matryoshka import prefixes

CUT = 10


def by_width(
    queries: np.ndarray, documents: np.ndarray, relevant: Sequence[Mapping[int, float]], widths: Sequence[int]
) -> dict[int, dict[str, float]]:
    """width -> {"ndcg@10", "mrr@10"} for (q, dim) and (n, dim) unit rows; means over queries."""
    scores = {}
    for width in widths:
        top = best(prefixes(queries, width), prefixes(documents, width))
        judged = zip(top, relevant, strict=True)
        mean = np.mean([(ndcg(row, grades), reciprocal_rank(row, grades)) for row, grades in judged], axis=0)
        scores[width] = {"ndcg@10": float(mean[0]), "mrr@10": float(mean[1])}
    return scores


def best(queries: np.ndarray, documents: np.ndarray, block: int = 1024) -> np.ndarray:
    """(q, 10) positions of the documents with the largest inner products, best first."""
    cut = min(CUT, len(documents))
    found = []
    for start in range(0, len(queries), block):
        scores = queries[start : start + block] @ documents.T
        top = np.argpartition(-scores, cut - 1, axis=1)[:, :cut]
        order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(top, order, axis=1))
    return np.concatenate(found)


def ndcg(ranked: np.ndarray, grades: Mapping[int, float]) -> float:
    """Discounted gain of a ranking over that of the best possible one."""
    gained = _discounted([grades.get(int(row), 0.0) for row in ranked])
    return gained / _discounted(sorted(grades.values(), reverse=True)[:CUT])


def reciprocal_rank(ranked: np.ndarray, grades: Mapping[int, float]) -> float:
    """1 / rank of the first relevant document, 0 if there is none."""
    return next((1.0 / rank for rank, row in enumerate(ranked, start=1) if int(row) in grades), 0.0)


def _discounted(gains: Sequence[float]) -> float:
    return float(sum(gain / np.log2(rank + 1) for rank, gain in enumerate(gains, start=1)))
