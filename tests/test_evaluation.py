"""Recall against exact search, computed by hand."""

import pytest

from index.evaluation import recall_at_k


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
