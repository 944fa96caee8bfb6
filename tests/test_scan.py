"""Scans: inner products of every row, and the best of them whatever their order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from index.scan import SAMPLE, best, products, top
from index_cases import unit_vectors


@pytest.mark.parametrize("dim", [1, 3, 64, 256])
@pytest.mark.parametrize("rows", [0, 1, 33, 700])
def test_products_are_inner_products(dim: int, rows: int) -> None:
    """Of float64 queries, too, and each row by itself: the same bits whatever stands beside it."""
    matrix, query = unit_vectors(max(rows, 1), dim)[:rows], unit_vectors(1, dim, seed=1)[0]
    found = products(matrix, query.astype(np.float64))
    assert found.dtype == np.float32
    assert np.allclose(found, matrix.astype(np.float64) @ query, atol=1e-6)
    for start in range(0, rows, 101):
        assert np.array_equal(products(matrix[start:], query), found[start:])


@settings(max_examples=200)
@given(st.lists(st.integers(0, 4), max_size=40), st.integers(1, 45))
def test_best_is_a_sort_by_score_and_row(scores: list[int], keep: int) -> None:
    """Ties at the border go to the lowest rows, so that longer lists begin with shorter ones."""
    rows = 3 * np.arange(len(scores)) + 1
    found, kept = best(rows, np.array(scores, dtype=np.float32), keep)
    expected = sorted(zip(rows.tolist(), scores, strict=True), key=lambda pair: (-pair[1], pair[0]))[:keep]
    assert list(zip(found.tolist(), kept.tolist(), strict=True)) == expected
    places = top(np.array(scores, dtype=np.float32), keep)
    assert set(places.tolist()) >= {rows.tolist().index(row) for row, _ in expected}


@pytest.mark.parametrize("order", ["random", "ascending", "best unseen", "best sampled", "many ties"])
@pytest.mark.parametrize("keep", [1, 15, 200, 3_000, 19_999, 20_000, 30_000])
def test_a_sample_only_saves_work(order: str, keep: int) -> None:
    """The highest and what equals the last of them, in an order that the sample knows nothing of, too."""
    scores = np.random.default_rng(3).standard_normal(20_000).astype(np.float32)
    places = np.arange(len(scores))
    if order == "ascending":
        scores.sort()
    if order == "best unseen":
        scores[places % SAMPLE == 0] -= 100
    if order == "best sampled":
        scores[places % SAMPLE == 0] += 100
    if order == "many ties":
        scores = np.round(scores)
    wanted = min(keep, len(scores))
    expected = np.flatnonzero(scores >= np.sort(scores)[-wanted])
    assert top(scores, keep).tolist() == expected.tolist()
