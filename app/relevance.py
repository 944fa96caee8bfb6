"""How well rankings meet judgements: nDCG@10, MRR@10 and recall@10, as trec_eval computes them (ir-measures).

nDCG has linear gains (Jarvelin and Kekalainen 2002): sum of grade / log2(rank + 1), divided by that of the ideal order.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from app.extras import extra_module
from index.matryoshka import prefixes

CUT = 10
AT_ONCE = 1 << 24  # scores held at a time: 64 MiB, and 128 more for their order
# What we call a measure -> what ir-measures calls it. The recall here is of judged documents, never of exact search.
MEASURES = {"ndcg@10": "nDCG@10", "mrr@10": "RR@10", "judged_recall@10": "R@10"}


def by_width(
    queries: np.ndarray, documents: np.ndarray, relevant: Sequence[Mapping[Any, float]], widths: Sequence[int]
) -> dict[int, dict[str, float]]:
    """width -> {"ndcg@10", "mrr@10"} for (q, dim) and (n, dim) unit rows; means over queries."""
    scores = {}
    for width in widths:
        values = judged(best(prefixes(queries, width), prefixes(documents, width)).tolist(), relevant)
        scores[width] = {name: float(values[name].mean()) for name in ("ndcg@10", "mrr@10")}
    return scores


def judged(found: Sequence[Sequence[Any]], relevant: Sequence[Mapping[Any, float]]) -> dict[str, np.ndarray]:
    """measure -> (q,) float64 values, for the documents found for each query, best first, and its grades.

    Documents are the keys of the grades; grades are whole numbers, those of 0 and below count as not relevant.
    Raises ExtraMissing without ir-measures.
    """
    library = extra_module("ir_measures", "evaluate")
    names = {library.parse_measure(spelled): name for name, spelled in MEASURES.items()}
    evaluator = library.evaluator(list(names), _named(relevant, lambda grades: _as_texts(grades.items())))
    values = {name: np.zeros(len(relevant)) for name in MEASURES}
    # trec_eval orders by score and, where scores are equal, by id: ranks as scores keep our order.
    ranked = _named(found, lambda one: {str(document): -float(rank) for rank, document in enumerate(one[:CUT])})
    for metric in evaluator.iter_calc(ranked):
        values[names[metric.measure]][int(metric.query_id)] = metric.value
    return values


def best(queries: np.ndarray, documents: np.ndarray, block: int | None = None) -> np.ndarray:
    """(q, 10) positions of the documents with the largest inner products, best first, `block` queries at a time."""
    cut = min(CUT, len(documents))
    block = block or max(1, AT_ONCE // len(documents))
    found = []
    for start in range(0, len(queries), block):
        scores = queries[start : start + block] @ documents.T
        top = np.argpartition(-scores, cut - 1, axis=1)[:, :cut]
        order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1, kind="stable")
        found.append(np.take_along_axis(top, order, axis=1))
    return np.concatenate(found)


def _named(rows: Iterable[Any], change: Any) -> dict[str, Any]:
    """Queries are named by their position."""
    return {str(query): change(row) for query, row in enumerate(rows)}


def _as_texts(grades: Iterable[tuple[Any, float]]) -> dict[str, int]:
    return {str(document): int(grade) for document, grade in grades}
