"""Measures, against values computed by hand."""

import math

import pytest

from index.evaluation import mrr_at_k, ndcg_at_k, recall_at_k


@pytest.mark.parametrize(
    ("found", "exact", "k", "expected"),
    [
        ("abc", "abc", 3, 1.0),
        ("cba", "abc", 3, 1.0),
        ("abx", "abc", 3, 2 / 3),
        ("xabc", "abc", 3, 2 / 3),
        ("", "abc", 3, 0.0),
        ("ab", "abc", 10, 2 / 3),
        ("abc", "", 3, 1.0),
        ("abc", "xyz", 3, 0.0),
    ],
)
def test_recall_is_the_share_of_the_exact_top_k(found: str, exact: str, k: int, expected: float) -> None:
    """In any order, of what exact search has."""
    assert recall_at_k(found, exact, k) == pytest.approx(expected)


JUDGED = {"a": 3, "b": 2, "c": 1, "d": 0}


@pytest.mark.parametrize(
    ("found", "k", "expected"),
    [
        ("abc", 3, 1.0),
        ("abcd", 10, 1.0),
        ("bac", 3, (2 + 3 / math.log2(3) + 1 / 2) / (3 + 2 / math.log2(3) + 1 / 2)),
        ("xxa", 3, (3 / 2) / (3 + 2 / math.log2(3) + 1 / 2)),
        ("b", 1, 2 / 3),
        ("xyz", 3, 0.0),
        ("", 3, 0.0),
    ],
)
def test_ndcg_has_linear_gains(found: str, k: int, expected: float) -> None:
    """As trec_eval computes it."""
    assert ndcg_at_k(found, JUDGED, k) == pytest.approx(expected)


def test_ndcg_of_nothing_relevant_is_zero() -> None:
    """No judgement, or only zeros."""
    assert ndcg_at_k("abc", {}, 3) == ndcg_at_k("abc", {"a": 0}, 3) == 0.0


@pytest.mark.parametrize(("found", "k", "expected"), [("a", 1, 1.0), ("xb", 2, 0.5), ("xxc", 2, 0.0), ("d", 1, 0.0)])
def test_mrr_is_one_over_the_first_relevant_rank(found: str, k: int, expected: float) -> None:
    """Within the first k; a grade of zero is not relevant."""
    assert mrr_at_k(found, JUDGED, k) == expected
