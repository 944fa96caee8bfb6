"""Search from the query vector to the hits."""

import time
import tracemalloc
from collections.abc import Iterator
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index import rerank as rerank_module
from index.document import Document
from index.errors import InvalidVector, SearchTimeout
from index.matryoshka import prefixes
from index.query import Hit, Query
from index.space import Space
from index.store import Store
from index_cases import FLAT, GRAPH, assert_exact, best_ids, fill, numbered, opened, unit_vectors, until

COUNT = 2_500
V = unit_vectors(COUNT)
IDS = numbered(COUNT)
BY_ID = dict(zip(IDS, V, strict=True))
Q = unit_vectors(5, seed=1)


@pytest.fixture(scope="module", params=["flat", "hnsw"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """2,500 documents; in the second case 2,000 of them in a graph and the rest in the tail."""
    options = GRAPH if request.param == "hnsw" else FLAT
    with opened(tmp_path_factory.mktemp("funnel") / "data", options) as store:
        fill(store, V[:2_000], lambda i: {"n": i, "third": i % 3 == 0})
        if request.param == "hnsw":
            until(lambda: store.view.shortlist.older_rows == 2_000)
        fill(store, V[2_000:], lambda i: {"n": i + 2_000}, start=2_000)
        yield store


def ids(store: Store, vector: np.ndarray, **query: Any) -> list[str]:
    """Ids of the hits of one search."""
    return [hit.doc_id for hit in store.search(vector, Query(**query))[0].hits]


def prefix_order(query: np.ndarray, keep: int) -> list[str]:
    """The best ids by prefix score."""
    return best_ids(dict(zip(IDS, prefixes(V, 8), strict=True)), prefixes(query[None], 8)[0], keep)


def test_the_shortlist_is_reranked_with_full_vectors(store: Store) -> None:
    """The hits are the best of the first stage's rows by their exact cosine."""
    for query in Q:
        answer = store.search(query, Query(limit=10, shortlist=50))[0]
        assert answer.stages == [(8, 50), (32, 10)]
        assert (answer.score_kind, answer.exact, answer.degraded) == ("cosine", False, None)
        narrowed = {doc_id: BY_ID[doc_id] for doc_id in prefix_order(query, 50)}
        if store.view.shortlist.older is None:
            assert_exact(answer.hits, narrowed, query, 10)
        else:
            assert len({hit.doc_id for hit in answer.hits} & set(best_ids(narrowed, query, 10))) >= 9


def test_several_queries_are_answered_as_one_by_one(store: Store) -> None:
    """Each row has an answer of its own; longer vectors mean the same."""
    together = store.search(Q * 1e3, Query(shortlist=60))
    alone = [store.search(query, Query(shortlist=60))[0] for query in Q]
    assert [[h.doc_id for h in a.hits] for a in together] == [[h.doc_id for h in a.hits] for a in alone]
    assert store.search(Q[:0], Query()) == []


def test_exact_is_a_request(store: Store) -> None:
    """It scans everything."""
    for query in Q:
        answer = store.search(query, Query(exact=True))[0]
        assert (answer.exact, answer.stages, answer.shortlist_source) == (True, [(32, 10)], "request")
        assert_exact(answer.hits, BY_ID, query, 10)


def test_without_rescore_the_prefix_order_is_the_answer(store: Store) -> None:
    """Scores are cosines of prefixes, and called so; covering shortlists of any size are scanned."""
    for shortlist in (COUNT, 10**12):
        answer = store.search(Q[0], Query(rescore=False, shortlist=shortlist))[0]
        assert [hit.doc_id for hit in answer.hits] == prefix_order(Q[0], 10)
        assert (answer.score_kind, answer.exact) == ("cosine_prefix", False)
    best = answer.hits[0]
    assert best.score == pytest.approx(
        float(prefixes(BY_ID[best.doc_id][None], 8)[0] @ prefixes(Q[:1], 8)[0]), abs=1e-6
    )
    assert len(ids(store, Q[0], rescore=False, shortlist=20)) == 10


def test_a_cascade_narrows_by_wider_prefixes(store: Store) -> None:
    """A middle stage that keeps everything changes nothing; one that covers all is exact."""
    assert ids(store, Q[0], stages=((8, 80), (16, 80))) == ids(store, Q[0], shortlist=80)
    answer = store.search(Q[0], Query(stages=((8, 400), (16, 50))))[0]
    assert answer.stages == [(8, 400), (16, 50), (32, 10)]
    wide = dict(zip(IDS, prefixes(V, 16), strict=True))
    first = {i: wide[i] for i in prefix_order(Q[0], 400)}
    kept = {i: BY_ID[i] for i in best_ids(first, prefixes(Q[:1], 16)[0], 50)}
    assert len(set(best_ids(kept, Q[0], 10)) & {hit.doc_id for hit in answer.hits}) >= 9
    assert_exact(store.search(Q[0], Query(stages=((8, 3_000), (16, 2_500))))[0].hits, BY_ID, Q[0], 10)


@pytest.mark.parametrize(
    "how", [{"exact": True}, {"shortlist": 300}, {"shortlist": 300, "filter": {"n": {"$gte": 500}}}]
)
def test_pages_join_without_gap_or_repetition(store: Store, how: dict[str, Any]) -> None:
    """With the same plan, offset and limit cut one list."""
    whole = ids(store, Q[0], limit=60, **how)
    assert [i for offset in range(0, 60, 7) for i in ids(store, Q[0], limit=7, offset=offset, **how)][:60] == whole
    assert len(whole) == 60


def test_a_threshold_cuts_the_list(store: Store) -> None:
    """Hits below it are left out, equal ones are kept."""
    scores = [hit.score for hit in store.search(Q[0], Query(exact=True, limit=20))[0].hits]
    kept = store.search(Q[0], Query(exact=True, limit=20, score_threshold=scores[4]))[0].hits
    assert [hit.score for hit in kept] == scores[:5]
    assert ids(store, Q[0], score_threshold=1.1) == ids(store, Q[0], score_threshold=1e300) == []
    assert ids(store, Q[0], score_threshold=-1e300) == ids(store, Q[0])


def test_more_like_this_leaves_itself_out(store: Store) -> None:
    """In a funnel, an exact search and a filtered one; unknown ids and impossible ones leave nothing out."""
    for how in ({}, {"exact": True}, {"filter": {"n": {"$lt": 2_400}}}, {"shortlist": 10}):
        found = ids(store, BY_ID["d00300"], exclude="d00300", **how)
        assert "d00300" not in found
        assert len(found) == 10
        for unknown in ("x", "\ud800"):
            assert ids(store, BY_ID["d00300"], exclude=unknown, **how)[0] == "d00300"


@pytest.mark.parametrize("how", [{}, {"exact": True}, {"shortlist": 2_500}, {"filter": {"third": True}}])
def test_explanations_rank_each_hit(store: Store, how: dict[str, Any]) -> None:
    """The prefix rank and score of the first stage, and the rank by full score, the offset included."""
    hits = store.search(Q[1], Query(explain=True, limit=5, offset=2, **how))[0].hits
    assert [hit.full_rank for hit in hits] == [3, 4, 5, 6, 7]
    among = {i: v for i, v in BY_ID.items() if "filter" not in how or (int(i[1:]) % 3 == 0 and int(i[1:]) < 2_000)}
    order = best_ids(
        dict(zip(among, prefixes(np.stack(list(among.values())), 8), strict=True)), prefixes(Q[1:2], 8)[0], COUNT
    )
    for hit in hits:
        assert hit.prefix_rank is not None
        assert hit.prefix_score is not None
        assert abs(hit.prefix_rank - (order.index(hit.doc_id) + 1)) <= (2 if store.view.shortlist.older else 0)
        expected = prefixes(BY_ID[hit.doc_id][None], 8)[0] @ prefixes(Q[1:2], 8)[0]
        assert hit.prefix_score == pytest.approx(float(expected), abs=1e-6)
    plain = store.search(Q[1], Query(limit=1))[0].hits[0]
    assert (plain.prefix_rank, plain.prefix_score, plain.full_rank) == (None, None, None)


def test_a_hit_carries_what_was_asked_for(store: Store) -> None:
    """Text, metadata and vector, each only on request."""
    full = store.search(Q[0], Query(limit=1, with_vector=True))[0].hits[0]
    assert full.text == f"text of {full.doc_id}"
    assert full.metadata is not None
    assert full.metadata["n"] == int(full.doc_id[1:])
    assert full.vector is not None
    assert np.allclose(full.vector, BY_ID[full.doc_id], atol=1e-6)
    bare = store.search(Q[0], Query(limit=1, with_text=False, with_metadata=False))[0].hits[0]
    assert (bare.text, bare.metadata, bare.vector) == (None, None, None)
    assert bare.doc_id == full.doc_id


def late_after(monkeypatch: pytest.MonkeyPatch, looks: int) -> float:
    """A deadline that has passed from the look at the clock after so many; one more is the search's own."""
    clock, real = chain(repeat(False, 1 + looks), repeat(True)), time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: real() + (1e6 if next(clock) else 0))
    return real() + 1e3


def test_a_late_search_is_a_timeout_and_a_slow_rerank_is_cut(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was reranked in time is the answer, at least as many as were wanted, and it says so."""
    with pytest.raises(SearchTimeout):
        store.search(Q[0], Query(deadline=time.monotonic() - 1))
    monkeypatch.setattr(rerank_module, "CHUNK", 20)
    deadline = late_after(monkeypatch, 2)
    answer = store.search(Q[0], Query(limit=10, shortlist=400, deadline=deadline))[0]
    monkeypatch.undo()
    assert answer.degraded == {"reason": "timeout", "stage": "rerank", "reranked": 40}
    assert (len(answer.hits), answer.exact) == (10, False)
    assert store.search(Q[0], Query(deadline=time.monotonic() + 60))[0].degraded is None


def test_a_slow_middle_stage_is_cut(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """What it scored in time is narrowed and reranked; the answer says that it is not what was asked for."""
    monkeypatch.setattr(rerank_module, "BLOCK", 20)
    deadline = late_after(monkeypatch, 2)
    answer = store.search(Q[0], Query(limit=10, stages=((8, 400), (16, 30)), deadline=deadline))[0]
    monkeypatch.undo()
    assert answer.degraded == {"reason": "timeout", "stage": "rerank", "reranked": 30}
    assert (len(answer.hits), answer.exact) == (10, False)
    assert {hit.doc_id for hit in answer.hits} <= {hit.doc_id for hit in first_stage(store, 40)}


def first_stage(store: Store, keep: int) -> list[Hit]:
    """The best rows of the first stage of the widest cascade of these tests."""
    return store.search(Q[0], Query(limit=keep, rescore=False, shortlist=400))[0].hits


def test_a_wide_middle_stage_needs_little_memory(tmp_path: Path) -> None:
    """It reads its rows in blocks, however many there are of them."""
    wide = Space(512, 8, {"model": "wide"})
    vectors = unit_vectors(8_000, 512)
    with opened(tmp_path / "data", FLAT, wide) as store:
        fill(store, vectors)
        query = Query(stages=((8, 8_000), (16, 20)))
        store.search(vectors[0], query)
        tracemalloc.start()
        try:
            store.search(vectors[0], query)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert peak < vectors.nbytes / 3


@pytest.mark.parametrize(
    "bad", [np.ones(31), np.ones(33), np.zeros(32), np.full(32, np.nan), np.full(32, 1e300), np.ones((2, 2, 32))]
)
def test_a_bad_query_vector_is_refused(store: Store, bad: np.ndarray) -> None:
    """Of another length, without a direction, or not finite."""
    with pytest.raises(InvalidVector):
        store.search(bad, Query())


def test_ties_are_ordered_by_id_on_every_page(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever the order they were stored in."""
    with opened(tmp_path_factory.mktemp("ties") / "data") as store:
        names = [f"{i}" for i in np.random.default_rng(0).permutation(60)]
        store.write([Document(i, "same", vector=V[0]) for i in names], {})
        for how in ({"exact": True}, {"shortlist": 60}, {"shortlist": 60, "filter": {"x": {"$exists": False}}}):
            pages = [i for offset in range(0, 60, 10) for i in ids(store, V[0], offset=offset, **how)]
            assert pages == sorted(names)
