"""Measures of ir-measures, against values computed by hand."""

import math

import numpy as np
import pytest

from app.extras import ExtraMissing, extra_module
from app.relevance import best, by_width, judged

GRADES = {0: 3.0, 1: 2.0, 2: 1.0, 3: 0.0}
IDEAL = 3 + 2 / math.log2(3) + 1 / 2


@pytest.mark.parametrize(
    ("found", "ndcg", "mrr", "recall"),
    [
        ([0, 1, 2], 1.0, 1.0, 1.0),
        ([0, 1, 2, 3], 1.0, 1.0, 1.0),
        ([1, 0, 2], (2 + 3 / math.log2(3) + 1 / 2) / IDEAL, 1.0, 1.0),
        ([7, 8, 0], (3 / 2) / IDEAL, 1 / 3, 1 / 3),
        ([3, 2], (1 / math.log2(3)) / IDEAL, 1 / 2, 1 / 3),
        ([7, 8, 9], 0.0, 0.0, 0.0),
        ([*range(7, 17), 0], 0.0, 0.0, 0.0),
        ([], 0.0, 0.0, 0.0),
    ],
)
def test_gains_are_linear_and_ranks_end_at_ten(found: list[int], ndcg: float, mrr: float, recall: float) -> None:
    """As trec_eval: a grade is a gain, a grade of zero is not relevant, the eleventh rank does not count."""
    values = judged([found], [GRADES])
    assert [values[name][0] for name in ("ndcg@10", "mrr@10", "judged_recall@10")] == pytest.approx([ndcg, mrr, recall])


def test_values_belong_to_their_queries() -> None:
    """One value a query in the order of the queries, whatever order the library answers in."""
    relevant = [{row: 1.0} for row in range(30)]
    found = [[100 + place for place in range(row % 10)] + [row] for row in range(30)]
    assert judged(found, relevant)["mrr@10"] == pytest.approx([1 / (1 + row % 10) for row in range(30)])


def test_equal_scores_cannot_reorder_a_ranking() -> None:
    """The order given is the order measured, also where ids sort the other way."""
    assert judged([[9, 10], [10, 9]], [{9: 1}, {9: 1}])["mrr@10"].tolist() == [1.0, 0.5]


def test_quality_by_width() -> None:
    """Where the first two numbers carry the ranking it is perfect at 2 and at 4, and wrong at 1."""
    documents = np.array([[0.6, 0.8, 0, 0], [0.8, 0.6, 0, 0], [0.6, -0.8, 0, 0]], dtype=np.float32)
    queries = documents[[0, 2]]
    scores = by_width(queries, documents, [{0: 1.0}, {2: 2.0}], (4, 2, 1))
    assert scores[4] == scores[2] == {"ndcg@10": 1.0, "mrr@10": 1.0}
    assert scores[1]["mrr@10"] < 1.0


def test_the_best_documents_come_first() -> None:
    """Ten of them, block by block, as a full sort has them."""
    rng = np.random.default_rng(0)
    queries, documents = rng.standard_normal((7, 5)), rng.standard_normal((40, 5))
    assert np.array_equal(best(queries, documents, block=3), np.argsort(-queries @ documents.T, axis=1)[:, :10])


def test_a_missing_package_is_named_with_its_extra() -> None:
    """In one line, as pip wants it."""
    with pytest.raises(ExtraMissing, match=r"needs not-there.*pip install 'funnel-search\[evaluate\]'"):
        extra_module("not_there.inside", "evaluate")
