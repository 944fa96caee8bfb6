"""The laws of the store that need no crash and no second implementation: 1, 2, 3, 5, 6 and 8."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index import lists
from index.document import Document
from index.errors import FingerprintMismatch, InvalidVector
from index.evaluation import recall_at_k
from index.matryoshka import prefixes
from index.options import StoreOptions
from index.query import Query
from index.rotation import Rotation
from index.space import Space
from index.store import Store
from index_cases import SPACE, assert_exact, fill, numbered, opened, principal, unit_vectors, until

COUNT, GRAPH_ROWS = 12_000, 11_200  # what is left for the tail is too little for a merge
DEAD = set(numbered(COUNT)[::97])
PLACE = np.random.default_rng(4).permutation(COUNT)  # a number of each document that has nothing to do with its row
V = unit_vectors(COUNT)
Q = unit_vectors(12, seed=1)
KINDS = [
    ("float32", "flat", "plain"),
    ("float32", "hnsw", "plain"),
    ("bfloat16", "flat", "plain"),
    ("int16", "hnsw", "plain"),
    ("float32", "flat", "rotated"),
    ("int8", "hnsw", "rotated"),
    ("float32", "packed", "plain"),
    ("bfloat16", "packed", "rotated"),
    ("float32", "listed", "plain"),
    ("int8", "listed", "rotated"),
]
ROTATION = Rotation(principal(V), (16, 8), "pca")
SHORTLIST = 40
LOST = {
    "flat": 0.0,
    "hnsw": 0.02,
    "packed": 0.1,
    "listed": 0.1,
}  # recall, at most; prefixes of 8 numbers have 4 bits each


@pytest.fixture(scope="module", params=KINDS, ids="-".join)
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """12,000 documents, of which a hundredth is deleted; most of them in a graph or packed."""
    storage, kind, turned = request.param
    codes = "int8" if (storage, kind) == ("int8", "hnsw") else "auto"
    index = "packed" if kind == "listed" else kind
    options = StoreOptions(storage=storage, shortlist_index=index, shortlist_codes=codes)
    with pytest.MonkeyPatch.context() as patch, opened(tmp_path_factory.mktemp("laws") / "data", options) as store:
        if kind == "listed":
            patch.setattr(lists, "LISTED_FROM", 5_000)
        fill(store, V[:GRAPH_ROWS], lambda i: {"place": int(PLACE[i])})
        if kind != "flat":
            until(lambda: store.view.shortlist.older_rows == GRAPH_ROWS)
        rest = slice(GRAPH_ROWS, COUNT - 500)
        fill(store, V[rest], lambda i: {"place": int(PLACE[rest.start + i])}, start=rest.start)
        fill(store, V[rest.stop :], lambda i: {"place": int(PLACE[rest.stop + i])}, start=rest.stop)
        store.delete(sorted(DEAD))
        if turned == "rotated":
            store.rotate(ROTATION)
            assert (store.view.shortlist.older is not None) == (kind != "flat")
        yield store


def live(store: Store, below: int = COUNT) -> dict[str, np.ndarray]:
    """Stored vectors, decoded, of the live documents whose place is below a bound."""
    rows = store.view.codec.decode(store.view.matrix)
    ids = numbered(COUNT)
    return {ids[i]: rows[i] for i in range(COUNT) if ids[i] not in DEAD and PLACE[i] < below}


def found(store: Store, **query: Any) -> list[list[str]]:
    """Ids of the hits of all queries."""
    return [[hit.doc_id for hit in answer.hits] for answer in store.search(Q, Query(**query))]


@pytest.mark.parametrize("limit", [1, 10, 500])
def test_law_1_a_covering_shortlist_is_exact(store: Store, limit: int) -> None:
    """With shortlist >= count: same ids and scores as exact search and as float64 arithmetic, ties in any order."""
    truth, count = live(store), store.count()
    for how in ({"exact": True}, {"shortlist": count}, {"shortlist": count + 10**6}):
        for query, answer in zip(Q, store.search(Q, Query(limit=limit, **how)), strict=True):
            assert answer.exact
            assert_exact(answer.hits, truth, query, limit)


def test_law_2_recall_never_falls_as_the_shortlist_grows(store: Store) -> None:
    """Query by query with a flat first stage; on average, within one point, with a graph."""
    exact = found(store, exact=True)
    lengths = [10, 20, 40, 80, 160, 320, 640, 1_280, 5_000, store.count()]
    curve = np.array([
        [recall_at_k(hits, truth, 10) for hits, truth in zip(found(store, shortlist=n), exact, strict=True)]
        for n in lengths
    ])  # fmt: skip
    steps = np.diff(curve if store.view.shortlist.older is None else curve.mean(axis=1), axis=0)
    assert steps.min() >= (0 if store.view.shortlist.older is None else -0.01)
    assert (curve[-1] == 1).all()
    assert curve[0].mean() < 0.9  # the curve has something to climb


def test_law_2_holds_among_ties(tmp_path: Path) -> None:
    """Documents with one prefix and different tails: a longer shortlist keeps those of a shorter one."""
    vectors = np.zeros((300, SPACE.dim), dtype=np.float32)
    vectors[:, :8] = 1
    vectors[:, 8:] = np.random.default_rng(0).standard_normal((300, 24)) * 0.2
    with opened(tmp_path / "data") as store:
        fill(store, vectors)
        truth = [hit.doc_id for hit in store.search(vectors[7], Query(exact=True))[0].hits]
        recalls = [
            recall_at_k([hit.doc_id for hit in store.search(vectors[7], Query(shortlist=n))[0].hits], truth, 10)
            for n in range(10, 301, 10)
        ]
    assert recalls == sorted(recalls)
    assert recalls[-1] == 1


def test_law_3_closing_and_opening_changes_no_hit(store: Store, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Ids, scores, texts and metadata of funnel, exact and filtered searches, from a snapshot or made again."""

    def answers(store: Store) -> list[Any]:
        queries = [
            Query(),
            Query(exact=True),
            Query(filter={"place": {"$lt": 700}}),
            Query(rescore=False, shortlist=50),
        ]
        return [
            [(h.doc_id, h.score, h.text, h.metadata) for h in answer.hits]
            for query in queries
            for answer in store.search(Q, query)
        ]

    path, options = tmp_path_factory.mktemp("law3") / "data", store.options
    with opened(path, options) as first:
        fill(first, V[:3_000], lambda i: {"place": int(PLACE[i])})
        if options.shortlist_index != "flat":
            until(lambda: first.view.shortlist.older_rows == 3_000)
        first.delete(numbered(3_000)[::50])
        fill(first, V[3_000:3_200], lambda i: {"place": int(PLACE[3_000 + i])}, start=3_000)
        first.rotate(store.rotation)
        before = answers(first)
    for _ in range(2):
        with opened(path, options) as again:
            assert answers(again) == before
            covered = 3_200 if store.rotation else 3_000  # a rotation makes the graph anew
            assert again.view.shortlist.older_rows == (0 if options.shortlist_index == "flat" else covered)


def test_law_5_prefixes_and_checksums_agree_with_the_vectors(store: Store) -> None:
    """For every row, in the graph or in the tail."""
    view = store.view
    rows = np.arange(view.rows)
    assert view.rows == COUNT == view.shortlist.rows
    rotation = store.rotation.matrix if store.rotation else None
    expected = prefixes(view.codec.decode(view.matrix), SPACE.prefix_dim, rotation)
    if view.shortlist.older:
        covered = view.shortlist.older_rows
        assert covered == (COUNT if rotation is not None else GRAPH_ROWS)
        expected[:covered] = view.shortlist.older.rounded(expected[:covered])
    assert np.abs(view.shortlist.prefixes(rows) - expected).max() <= 1e-6
    assert store._vectors.damaged(0, view.rows) == []


@pytest.mark.parametrize("matching", [1, 12, 120, 1_200, 6_000])
def test_law_6_filtered_answers_are_right(store: Store, matching: int) -> None:
    """From a ten-thousandth to a half: always a subset; exact if the shortlist covers it; else as good as exact
    narrowing of what matches."""
    truth, filter = live(store, below=matching), {"place": {"$lt": matching}}
    assert store.count(filter) == len(truth)
    for query, answer in zip(Q, store.search(Q, Query(filter=filter, exact=True)), strict=True):
        assert_exact(answer.hits, truth, query, 10)
    answers = store.search(Q, Query(filter=filter, shortlist=SHORTLIST))
    assert {hit.doc_id for answer in answers for hit in answer.hits} <= truth.keys()
    shortlist = store.view.shortlist
    in_graph = not shortlist.exhaustive and matching >= (120 if shortlist.packed else 6_000)
    assert {a.filter_strategy for a in answers} == {"in_graph" if in_graph else "exact_subset"}
    if len(truth) <= SHORTLIST:
        for query, answer in zip(Q, answers, strict=True):
            assert answer.exact
            assert_exact(answer.hits, truth, query, 10)
    elif len(truth) < store.count():
        recall, yardstick = [], []
        ids = np.array(list(truth))
        matrix = np.stack(list(truth.values()))
        rotation = store.rotation.matrix if store.rotation else None
        narrow = prefixes(matrix, SPACE.prefix_dim, rotation)
        for query, answer in zip(Q, answers, strict=True):
            best = [*ids[np.argsort(-(matrix @ query))[:10]]]
            first = np.argsort(-(narrow @ prefixes(query[None], SPACE.prefix_dim, rotation)[0]))[:SHORTLIST]
            reranked = first[np.argsort(-(matrix[first] @ query))[:10]]
            recall.append(recall_at_k([hit.doc_id for hit in answer.hits], best, 10))
            yardstick.append(recall_at_k([*ids[reranked]], best, 10))
        assert np.mean(recall) >= np.mean(yardstick) - LOST[store.options.shortlist_index]


BAD = [np.ones(31), np.ones(33), np.zeros(32), np.full(32, np.nan), np.array([np.inf] + [0.0] * 31), np.full(32, 1e300)]


@pytest.mark.parametrize("bad", BAD)
def test_law_8_no_bad_vector_enters(tmp_path: Path, bad: np.ndarray) -> None:
    """Of another length, NaN, Inf or zero norm, given or the document's own; nothing of its call is stored."""
    good = Document("good", "text")
    with opened(tmp_path / "data") as store:
        with pytest.raises(InvalidVector):
            store.write([good, Document("bad", "text")], {0: V[0], 1: bad})
        with pytest.raises(InvalidVector):
            store.write([good, Document("bad", "text", vector=bad)], {0: V[0]})
        assert (store.count(), store.stats()["rows"]) == (0, 0)


def test_law_8_no_vector_of_another_space_enters(tmp_path: Path) -> None:
    """The store of one fingerprint is not opened with another."""
    opened(tmp_path / "data").close()
    with pytest.raises(FingerprintMismatch):
        Store.open(tmp_path / "data", Space(SPACE.dim, SPACE.prefix_dim, {"model": "other"}))
