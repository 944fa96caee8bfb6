"""How good an answer is: recall@k against exact search, nDCG@k and MRR@k against judgements."""

import math
from collections.abc import Hashable, Mapping, Sequence


def recall_at_k(found: Sequence[Hashable], exact: Sequence[Hashable], k: int) -> float:
    """Share of the exact top k that is among the first k found; 1.0 when exact search finds nothing."""
    truth = set(exact[:k])
    return len(truth.intersection(found[:k])) / len(truth) if truth else 1.0


def ndcg_at_k(found: Sequence[Hashable], judged: Mapping[Hashable, float], k: int) -> float:
    """Normalised discounted cumulative gain with linear gains (Jarvelin and Kekalainen 2002, as trec_eval).

    `judged` maps ids to grades; 0.0 when nothing is judged relevant.
    """
    ideal = sum(grade / math.log2(rank + 1) for rank, grade in enumerate(_best_grades(judged, k), 1))
    gain = sum(judged.get(doc_id, 0) / math.log2(rank + 1) for rank, doc_id in enumerate(found[:k], 1))
    return gain / ideal if ideal else 0.0


def mrr_at_k(found: Sequence[Hashable], judged: Mapping[Hashable, float], k: int) -> float:
    """One over the rank of the first relevant id among the first k, 0.0 when there is none."""
    return next((1 / rank for rank, doc_id in enumerate(found[:k], 1) if judged.get(doc_id, 0) > 0), 0.0)


def _best_grades(judged: Mapping[Hashable, float], k: int) -> list[float]:
    return sorted((grade for grade in judged.values() if grade > 0), reverse=True)[:k]
