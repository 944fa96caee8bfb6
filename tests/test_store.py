"""The store as its users see it: reading, paging, statistics, and everything at once."""

import math
import threading
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index import funnel
from index.document import Document
from index.errors import DocumentNotFound, InvalidDocument, InvalidInput
from index.options import StoreOptions
from index.query import Query
from index.store import Store
from index.verify import verify
from index_cases import FLAT, GRAPH, fill, numbered, opened, unit_vectors

COUNT = 50
V = unit_vectors(COUNT)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """50 documents, in an order of rows that is not that of their ids."""
    with opened(tmp_path / "data") as store:
        order = np.random.default_rng(0).permutation(COUNT)
        store.write(
            [Document(f"d{i:05}", f"text {i}", metadata={"n": int(i)}) for i in order], dict(enumerate(V[order]))
        )
        yield store


def test_documents_are_read_by_id(store: Store) -> None:
    """In the order asked for, without the missing ones, with vectors on request."""
    found = store.get(["d00007", "none", "d00003"], with_vector=True)
    assert [(d.doc_id, d.text, d.metadata["n"]) for d in found] == [("d00007", "text 7", 7), ("d00003", "text 3", 3)]
    assert np.allclose(np.stack([d.vector for d in found if d.vector is not None]), V[[7, 3]], atol=1e-6)
    assert store.get(["d00007"])[0].vector is None
    assert store.get([], with_vector=True) == []


def test_a_vector_is_read_by_id(store: Store) -> None:
    """Or its document is not found."""
    assert np.allclose(store.vector_of("d00009"), V[9], atol=1e-6)
    for missing in ("none", "", "\ud800"):
        with pytest.raises(DocumentNotFound):
            store.vector_of(missing)


@pytest.mark.parametrize("filter", [None, {"n": {"$gte": 20}}, {"n": -1}])
@pytest.mark.parametrize("limit", [1, 7, 30, 50, 51])
def test_scrolling_passes_every_document_once(store: Store, filter: dict[str, Any] | None, limit: int) -> None:
    """In order of id; the last page, full or not, says that it is the last."""
    seen, after, pages = [], None, 0
    while True:
        page, after = store.scroll(limit, after, filter, with_vector=True)
        seen += page
        pages += 1
        if after is None:
            break
        assert len(page) == limit
        assert after == page[-1].doc_id
    wanted = list(range(COUNT) if filter is None else range(20, COUNT) if filter["n"] != -1 else ())
    assert [d.metadata["n"] for d in seen] == wanted
    assert pages == max(1, -(-len(wanted) // limit))
    assert all(np.allclose(d.vector, V[d.metadata["n"]], atol=1e-6) for d in seen if d.vector is not None)


@pytest.mark.parametrize("filter", [None, {"n": {"$lt": 45}}])
def test_pages_of_long_texts_end_early(
    store: Store, monkeypatch: pytest.MonkeyPatch, filter: dict[str, Any] | None
) -> None:
    """After so many bytes, and never before the first document; nothing is passed over."""
    monkeypatch.setattr("index.reader.FIRST", 3)
    for most in (1, 60, 200):
        monkeypatch.setattr("index.reader.PAGE_BYTES", most)
        seen, after, sizes = [], None, []
        while after is not None or not sizes:
            page, after = store.scroll(50, after, filter)
            seen += [document.metadata["n"] for document in page]
            sizes.append(len(page))
        assert seen == list(range(COUNT if filter is None else 45))
        assert 3 <= max(sizes) < 50


def test_scrolling_goes_on_from_an_id_that_is_gone(store: Store) -> None:
    """The place is the id, not the document."""
    store.delete(["d00010"])
    assert [d.doc_id for d in store.scroll(2, "d00010")[0]] == ["d00011", "d00012"]
    assert [d.doc_id for d in store.scroll(2, "d00010", {"n": {"$gt": 3}})[0]] == ["d00011", "d00012"]
    assert store.scroll(2, "zzz") == ([], None)
    with pytest.raises(InvalidInput):
        store.scroll(0)
    with pytest.raises(InvalidDocument):
        store.scroll(1, "\ud800")


def test_statistics_tell_what_there_is(store: Store) -> None:
    """Counts, kinds and bytes."""
    store.delete(["d00001"])
    store.count({"n": 3})
    stats = store.stats()
    assert (stats["count"], stats["rows"], stats["dead_rows"], stats["generation"]) == (49, 50, 1, 1)
    assert stats["shortlist"] == {
        "kind": "flat",
        "codes": "float32",
        "older_rows": 0,
        "tail_rows": 50,
        "merged_from": None,
        "merging": False,
        "merge_error": None,
    }
    disk = stats["disk_bytes"]
    assert disk["total"] == sum(size for kind, size in disk.items() if kind != "total")
    assert disk["documents"] > 0
    assert disk["vectors"] >= 50 * 128
    assert stats["memory_bytes"]["filter_cache"] > 7


def test_what_was_written_is_searchable_at_once(store: Store) -> None:
    """And what was deleted is not found."""
    new = unit_vectors(20, seed=5)
    for i, vector in enumerate(new):
        store.write([Document(f"n{i}", "new")], {0: vector})
        assert store.search(vector, Query(limit=1))[0].hits[0].doc_id == f"n{i}"
        store.delete([f"n{i}"])
        assert store.search(vector, Query(limit=1, exact=True))[0].hits[0].doc_id != f"n{i}"


def test_an_answer_says_of_which_moment_it_is(store: Store) -> None:
    """Count, generation and fingerprint of the view that was searched."""
    answer = store.search(V[0], Query())[0]
    assert (answer.count, answer.generation, answer.fingerprint) == (50, 1, store.space.fingerprint_id)
    assert set(answer.timing_ms) == {"shortlist", "rerank", "documents"}


@pytest.mark.parametrize("bare", [False, True], ids=["with text", "ids alone"])
@pytest.mark.parametrize(("moves", "expected"), [(1, 10), (math.inf, 9)], ids=["once", "on and on"])
def test_documents_that_move_during_a_search_are_searched_again(
    store: Store, monkeypatch: pytest.MonkeyPatch, moves: float, expected: int, bare: bool
) -> None:
    """What moved between the ranking and the reading is found at its new row; after some tries it is left out."""
    real, moved = funnel.search, count()

    def search_then_move(*arguments: Any) -> Any:
        rankings = real(*arguments)
        if (n := next(moved)) < moves:
            store.write([Document("d00000", f"moved {n}")], {0: V[0]})
        return rankings

    monkeypatch.setattr(funnel, "search", search_then_move)
    query = Query(limit=10, exact=True, with_text=not bare, with_metadata=not bare)
    hits = store.search(V[0], query)[0].hits
    assert len(hits) == expected
    assert (hits[0].doc_id == "d00000") == (moves == 1)
    if moves == 1:
        assert hits[0].text == (None if bare else "moved 0")


@pytest.mark.parametrize("options", [FLAT, GRAPH, StoreOptions(storage="int8")], ids=["flat", "hnsw", "int8"])
def test_everything_at_once(tmp_path: Path, options: StoreOptions) -> None:
    """While documents come, move, change and go, and rows move into the graph, every answer is a possible one:
    no error, no document twice, text, metadata and score of one version, permanent documents always there."""
    vectors = unit_vectors(4_000, seed=7)
    stop, errors = threading.Event(), []
    store = opened(tmp_path / "data", options)
    fill(store, V, lambda i: {"kind": "permanent"})

    def guarded(work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                while not stop.is_set():
                    work()
            except BaseException as error:
                errors.append(error)
                stop.set()

        return run

    numbers = iter(range(10**9))

    def move() -> None:
        n = next(numbers)
        batch = [Document(f"m{(n + k) % 40}", f"{n + k}", metadata={"v": n + k}) for k in range(3)]
        store.write(batch, {k: vectors[(n + k) % 4_000] for k in range(3)})

    def repaint() -> None:
        n = next(numbers)
        document = store.get([f"m{n % 40}"])
        if document:
            again = Document(document[0].doc_id, document[0].text, metadata={**document[0].metadata, "seen": n})
            store.write([again], {})

    def bulk() -> None:
        n = next(numbers)
        ids = [f"b{n}-{k}" for k in range(300)]
        store.write([Document(i, "bulk", metadata={"v": -1}) for i in ids], dict(enumerate(vectors[:300])))
        store.delete(ids[:150])
        assert store.delete_where({"v": -1}) <= 300

    def search() -> None:
        n = next(numbers)
        query = vectors[n % 4_000]
        for how in (Query(limit=20), Query(exact=True), Query(filter={"v": {"$gte": 0}}, limit=40, explain=True)):
            hits = store.search(query, how)[0].hits
            assert len({hit.doc_id for hit in hits}) == len(hits)
            for hit in hits:
                if hit.doc_id.startswith("m"):
                    assert hit.metadata is not None
                    assert hit.text == str(hit.metadata["v"])
                    expected = float(vectors[hit.metadata["v"] % 4_000] @ query)
                    assert hit.score == pytest.approx(expected, abs=2e-2 if options.storage == "int8" else 1e-5)
        permanent = store.search(V[n % COUNT], Query(filter={"kind": "permanent"}, limit=50))[0].hits
        assert len(permanent) == COUNT
        assert permanent[0].doc_id == f"d{n % COUNT:05}"

    def read() -> None:
        page, _ = store.scroll(100, "l", with_vector=True)
        for d in page:
            if d.doc_id.startswith("m"):
                assert d.vector is not None
                assert d.text == str(d.metadata["v"])
                assert float(d.vector @ vectors[d.metadata["v"] % 4_000]) > 0.99
        store.stats()

    threads = [threading.Thread(target=guarded(work)) for work in (move, repaint, bulk, search, search, read)]
    for thread in threads:
        thread.start()
    stop.wait(2)
    stop.set()
    for thread in threads:
        thread.join(120)
    store.close()
    assert errors == []
    assert verify(tmp_path / "data").ok
    with opened(tmp_path / "data", options) as store:
        assert {d.doc_id for d in store.get(numbered(COUNT))} == set(numbered(COUNT))
