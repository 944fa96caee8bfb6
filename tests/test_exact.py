"""The exact scan: the oracle of every other test, itself tested against float64 arithmetic."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from index import exact as module
from index.errors import SearchTimeout
from index.exact import exact, with_ties
from index.options import StoreOptions
from index.view import View
from index_cases import FLAT, fill, opened, unit_vectors

COUNT = 700
V = unit_vectors(COUNT)
V[100:140] = V[100]  # forty documents that tie
QUERIES = np.concatenate([unit_vectors(3, seed=1), V[100:101]])


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> Iterator[View]:
    """700 float32 rows, 40 of them equal."""
    with opened(tmp_path_factory.mktemp("exact") / "data", FLAT) as store:
        fill(store, V)
        yield store.view


def check(rows: np.ndarray, scores: np.ndarray, query: np.ndarray, keep: int, mask: np.ndarray) -> None:
    """The best `keep` allowed rows and everything that ties with the last, in order."""
    truth = np.where(mask, V.astype(np.float64) @ query.astype(np.float64), -np.inf)
    assert len(set(rows.tolist())) == len(rows) >= min(keep, mask.sum())
    assert np.abs(scores - truth[rows]).max(initial=0) < 1e-6
    assert (np.diff(scores) <= 0).all()
    left_out = np.delete(truth, rows)
    if len(rows) and len(left_out):
        assert left_out.max() < scores[min(keep, len(rows)) - 1] - 1e-7


@pytest.mark.parametrize("block", [1, 64, 250, 8_192])
@pytest.mark.parametrize("keep", [1, 10, 39, 2_000])
@pytest.mark.parametrize("share", [None, 0.5, 0.02, 0.0])
def test_the_scan_finds_the_best(
    view: View, monkeypatch: pytest.MonkeyPatch, block: int, keep: int, share: float | None
) -> None:
    """Over any block size, wherever the allowed rows lie, with all that tie with the last one."""
    monkeypatch.setattr(module, "BLOCK", block)
    mask = np.ones(COUNT, dtype=bool) if share is None else np.random.default_rng(3).random(COUNT) < share
    found = exact(view, QUERIES, keep, None if share is None else mask)
    assert len(found) == len(QUERIES)
    for query, (rows, scores) in zip(QUERIES, found, strict=True):
        check(rows, scores, query, keep, mask)
    if share is None:
        assert set(range(100, 140)) <= set(found[3][0].tolist())


def test_one_query_is_scored_as_in_company(view: View) -> None:
    """The score of a row does not depend on what else is asked, nor on the filter."""
    alone, together = exact(view, QUERIES[:1], 50)[0], exact(view, QUERIES, 50)[0]
    assert alone[0].tolist() == together[0].tolist()
    assert alone[1].tolist() == together[1].tolist()


def test_an_empty_index_and_no_queries_have_no_rows(tmp_path: Path, view: View) -> None:
    """Nothing is found, and nothing fails."""
    with opened(tmp_path / "data") as store:
        assert [len(rows) for rows, _ in exact(store.view, QUERIES, 10)] == [0] * 4
    assert exact(view, QUERIES[:0], 10) == []


@pytest.mark.parametrize("storage", ["int16", "bfloat16", "int8"])
def test_scores_are_those_of_the_stored_type(tmp_path: Path, storage: str) -> None:
    """Equal to the inner products of the decoded rows, and near those of the vectors given."""
    with opened(tmp_path / "data", StoreOptions(storage=storage)) as store:
        fill(store, V)
        stored = store.view.codec.decode(store.view.matrix).astype(np.float64)
        for query, (rows, scores) in zip(QUERIES, exact(store.view, QUERIES, 20), strict=True):
            assert np.abs(scores - stored[rows] @ query).max() < 1e-6
            assert np.abs(scores - V[rows] @ query).max() < 2e-2


def test_a_deadline_is_kept_and_progress_told(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between blocks."""
    monkeypatch.setattr(module, "BLOCK", 300)
    seen: list[tuple[int, int]] = []
    exact(view, QUERIES, 5, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(300, 700), (600, 700), (700, 700)]
    with pytest.raises(SearchTimeout, match="0 of 700 rows"):
        exact(view, QUERIES, 5, deadline=time.monotonic() - 1)


def test_ties_with_the_last_are_kept() -> None:
    """And ordered by row."""
    rows, scores = with_ties(np.array([5, 3, 9, 1]), np.array([0.5, 0.9, 0.5, 0.1], dtype=np.float32), 2)
    assert (rows.tolist(), scores.tolist()) == ([3, 5, 9], [pytest.approx(0.9), 0.5, 0.5])
    rows, _ = with_ties(np.array([5, 3]), np.array([0.5, 0.9], dtype=np.float32), 5)
    assert rows.tolist() == [3, 5]
