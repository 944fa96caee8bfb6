"""How well vectors rank, by width: nDCG@10 and MRR@10 of an exact search against judgements."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from index.evaluation import mrr_at_k, ndcg_at_k
from index.matryoshka import prefixes

CUT = 10


def by_width(
    queries: np.ndarray, documents: np.ndarray, relevant: Sequence[Mapping[Any, float]], widths: Sequence[int]
) -> dict[int, dict[str, float]]:
    """width -> {"ndcg@10", "mrr@10"} for (q, dim) and (n, dim) unit rows; means over queries."""
    scores = {}
    for width in widths:
        top = best(prefixes(queries, width), prefixes(documents, width))
        judged = zip(top.tolist(), relevant, strict=True)
        mean = np.mean([(ndcg_at_k(row, known, CUT), mrr_at_k(row, known, CUT)) for row, known in judged], axis=0)
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
