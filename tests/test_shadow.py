"""Recall of answers given before, against an independent computation."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.evaluation import recall_at_k
from index.options import StoreOptions
from index.query import Answer, Query
from index.rotation import QueryMap
from index.shadow import Shadow, recalls
from index.store import Store
from index_cases import FLAT, GRAPH, best_ids, fill, numbered, opened, random_rotation, unit_vectors

COUNT = 600
V = unit_vectors(COUNT)
Q = unit_vectors(40, seed=1)


def asked(store: Store, query: Query, queries: np.ndarray = Q) -> tuple[list[Answer], list[Shadow]]:
    """Answers and their shadows, of the same moment."""
    answers, view = store.search(queries, query), store.view
    return answers, [store.shadow(view, *pair, answer) for pair, answer in _pairs(queries, query, answers)]


def _pairs(queries: np.ndarray, query: Query, answers: list[Answer]) -> list[tuple[tuple[np.ndarray, Query], Answer]]:
    return [((vector, query), answer) for vector, answer in zip(queries, answers, strict=True)]


def expected(answers: list[Answer], vectors: dict[str, np.ndarray], k: int, queries: np.ndarray = Q) -> list[float]:
    """recall@k by ids and float64 cosines."""
    return [
        recall_at_k([hit.doc_id for hit in answer.hits], best_ids(vectors, query, k), k)
        for answer, query in zip(answers, queries, strict=True)
    ]


@pytest.mark.parametrize("options", [FLAT, GRAPH])
def test_recall_is_the_overlap_with_the_exact_ids(tmp_path: Path, options: StoreOptions) -> None:
    """Of short shortlists, which miss some and find some."""
    with opened(tmp_path, options) as store:
        ids = fill(store, V)
        answers, shadows = asked(store, Query(limit=10, shortlist=20))
        found = recalls(shadows)
    assert found == pytest.approx(expected(answers, dict(zip(ids, V, strict=True)), 10))
    assert 0.3 < np.mean(found) < 0.95


def test_filters_and_dead_rows_do_not_count_as_missed(tmp_path: Path) -> None:
    """Only what could have been found is the truth; a document left out is not."""
    with opened(tmp_path) as store:
        fill(store, V, lambda i: {"odd": i % 2})
        store.delete(numbered(100))
        live = {f"d{i:05}": V[i] for i in range(100, COUNT)}
        answers, shadows = asked(store, Query(limit=5, shortlist=10))
        odd_answers, odd = asked(store, Query(limit=5, shortlist=10, filter={"odd": 1}))
        less_answers, less = asked(store, Query(limit=5, shortlist=10, exclude="d00101"))
        found = recalls([*shadows, *odd, *less])
    odds = {name: vector for name, vector in live.items() if int(name[1:]) % 2}
    without = {name: vector for name, vector in live.items() if name != "d00101"}
    told = expected(answers, live, 5) + expected(odd_answers, odds, 5) + expected(less_answers, without, 5)
    assert found == pytest.approx(told)


def test_the_truth_is_that_of_the_moment_of_the_answer(tmp_path: Path) -> None:
    """Documents that came, went or changed since change nothing."""
    with opened(tmp_path) as store:
        ids = fill(store, V)
        answers, shadows = asked(store, Query(limit=10, shortlist=20, filter={}))
        store.delete(ids[:300])
        fill(store, Q, start=300)  # overwrites, with the queries themselves
        found = recalls(shadows)
        assert recalls(asked(store, Query(limit=10, exact=True))[1]) == [1.0] * len(Q)
    assert found == pytest.approx(expected(answers, dict(zip(ids, V, strict=True)), 10))


def test_a_query_map_is_part_of_the_question(tmp_path: Path) -> None:
    """The truth is that of mapped queries, unless the search was not mapped."""
    mapped = QueryMap(random_rotation(seed=5), {})
    with opened(tmp_path) as store:
        fill(store, V)
        store.set_query_map(mapped)
        for query in (Query(limit=10, exact=True), Query(limit=10, exact=True, mapped=False)):
            assert recalls(asked(store, query)[1]) == [1.0] * len(Q)
        _, shadows = asked(store, Query(limit=10))
    assert np.allclose(np.stack([one.vector for one in shadows]), mapped.of(Q), atol=1e-6)


def test_equal_documents_stand_for_each_other(tmp_path: Path) -> None:
    """Of ten equal rows any five are the best five."""
    with opened(tmp_path) as store:
        fill(store, np.vstack([np.repeat(V[:1], 10, axis=0), V[1:50]]))
        _, shadows = asked(store, Query(limit=5, shortlist=5), V[:1])
    assert recalls(shadows) == [1.0]


def test_fewer_matches_than_wanted_are_all_that_can_be_found(tmp_path: Path) -> None:
    """k is then their number; nothing to find is nothing missed."""
    view: Any = None
    vector = Q[0]
    assert Shadow(view, vector, None, 10, np.array([0.9, 0.8])).recall(np.array([0.9, 0.8])) == 1.0
    assert Shadow(view, vector, None, 10, np.array([0.9])).recall(np.array([0.9, 0.8])) == 0.5
    assert Shadow(view, vector, None, 10, np.array([])).recall(np.array([])) == 1.0


def test_a_scan_can_be_given_up(tmp_path: Path) -> None:
    """What the progress raises comes out."""

    class GivenUp(Exception):
        pass

    def stop(done: int, total: int) -> None:
        assert (done, total) == (COUNT, COUNT)
        raise GivenUp

    with opened(tmp_path) as store:
        fill(store, V)
        _, shadows = asked(store, Query(limit=10))
        with pytest.raises(GivenUp):
            recalls(shadows, stop)
