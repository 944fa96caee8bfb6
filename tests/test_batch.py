"""What a write does to documents that exist, or do not."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.document import Document
from index.errors import DocumentExists, DocumentNotFound, InvalidDocument, InvalidInput
from index.metadata import MAX_DEPTH
from index.options import StoreOptions
from index.store import Store
from index.verify import verify
from index_cases import opened, unit_vectors

V = unit_vectors(8)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of a and b."""
    with opened(tmp_path / "data") as store:
        store.write([Document("a", "one"), Document("b", "two", metadata={"k": 1})], {0: V[0], 1: V[1]})
        yield store


def statuses(
    store: Store, documents: list[Document], vectors: dict[int, np.ndarray], mode: str = "upsert"
) -> list[str]:
    """What became of the documents."""
    return [outcome.status for outcome in store.write(documents, vectors, mode)]


def test_what_has_not_changed_is_neither_embedded_nor_moved(store: Store) -> None:
    """The same document needs no vector and no commit."""
    same = [Document("a", "one"), Document("b", "two", metadata={"k": 1})]
    before = store.stats()
    assert store.changed(same) == [False, False]
    assert statuses(store, same, {}) == ["unchanged", "unchanged"]
    assert store.stats() == before


def test_new_metadata_stays_at_its_row(store: Store) -> None:
    """Metadata alone needs no vector; filters see it at once."""
    changed = [Document("b", "two", metadata={"k": 2})]
    assert store.count({"k": 1}) == 1
    assert store.changed(changed) == [False]
    assert statuses(store, changed, {}) == ["updated"]
    assert (store.count({"k": 1}), store.count({"k": 2})) == (0, 1)
    assert store.get(["b"])[0].row == 1
    assert store.stats()["rows"] == 2


@pytest.mark.parametrize("storage", ["float32", "int8"])
def test_metadata_is_changed_in_place(tmp_path: Path, storage: str) -> None:
    """Also of a document without text whose vector was rounded: hashes, row and vector stay, filters see it."""
    own = Document("o", "", metadata={"k": 1}, vector=V[5] * 3)
    with opened(tmp_path / "data", StoreOptions(storage=storage)) as store:
        store.write([own], {})
        row, vector = store.get(["o"])[0].row, store.vector_of("o")
        assert store.count({"k": 1}) == 1
        assert store.update_metadata("o", lambda d: {"k": d.metadata["k"] + 1}).status == "updated"
        assert store.update_metadata("o", lambda d: d.metadata).status == "unchanged"
        assert (store.get(["o"])[0].row, store.get(["o"])[0].metadata) == (row, {"k": 2})
        assert np.array_equal(store.vector_of("o"), vector)
        assert (store.count({"k": 1}), store.count({"k": 2})) == (0, 1)
        assert statuses(store, [replace(own, metadata={"k": 2})], {}) == ["unchanged"]
        commits = store.stats()["commits"]
    assert verify(tmp_path / "data").ok
    assert commits == 2


def test_metadata_that_cannot_be_stored_changes_nothing(store: Store) -> None:
    """Neither what is not JSON, nor what is nested too deeply, nor that of an unknown document."""
    deep: Any = 1
    for _ in range(MAX_DEPTH + 1):
        deep = {"a": deep}
    bad: list[Any] = [{"k": float("nan")}, deep, []]
    while bad:
        with pytest.raises(InvalidDocument):
            store.update_metadata("b", lambda _: bad.pop())
    with pytest.raises(DocumentNotFound):
        store.update_metadata("nowhere", lambda _: {})
    assert (store.get(["b"])[0].metadata, store.count({"k": 1})) == ({"k": 1}, 1)


def test_new_content_moves_to_a_new_row(store: Store) -> None:
    """It needs a vector; the old row is dead."""
    changed = [Document("a", "other")]
    assert store.changed(changed) == [True]
    assert statuses(store, changed, {}) == ["needs_vector"]
    assert store.get(["a"])[0].text == "one"
    assert statuses(store, changed, {0: V[2]}) == ["updated"]
    assert np.allclose(store.vector_of("a"), V[2], atol=1e-6)
    assert store.get(["a"])[0].row == 2
    assert {k: store.stats()[k] for k in ("count", "rows", "dead_rows")} == {"count": 2, "rows": 3, "dead_rows": 1}


def test_the_last_of_an_id_wins(store: Store) -> None:
    """Within one call as across calls."""
    twice = [Document("n", "first"), Document("n", "second"), Document("n", "second", metadata={"m": 1})]
    assert statuses(store, twice, {0: V[3], 1: V[4], 2: V[4]}) == ["created", "updated", "updated"]
    assert (store.get(["n"])[0].text, store.count({"m": 1}), store.count()) == ("second", 1, 3)


def test_own_vectors_are_content(store: Store) -> None:
    """A document with its own vector needs none from a model, and a change of it is a change."""
    own = Document("o", "", vector=V[5] * 3)
    assert store.changed([own]) == [False]
    assert statuses(store, [own], {}) == ["created"]
    assert statuses(store, [Document("o", "", vector=V[5] * 3)], {}) == ["unchanged"]
    assert statuses(store, [Document("o", "", vector=V[6])], {}) == ["updated"]
    assert np.allclose(store.vector_of("o"), V[6], atol=1e-6)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("upsert", ["updated", "created"]),
        ("insert_only", ["exists", "created"]),
        ("update_only", ["updated", "missing"]),
    ],
)
def test_modes_refuse_one_by_one(store: Store, mode: str, expected: list[str]) -> None:
    """A refused document needs no vector and is left as it is; the others are stored."""
    both = [Document("a", "new"), Document("n", "new")]
    refused = [status in ("exists", "missing") for status in expected]
    assert store.changed(both, mode) == [not no for no in refused]
    assert statuses(store, both, {0: V[2], 1: V[3]}, mode) == expected
    assert [d.text for d in store.get(["a", "n"])] == (
        ["one", "new"] if mode == "insert_only" else ["new"] if mode == "update_only" else ["new", "new"]
    )


@pytest.mark.parametrize(
    ("mode", "documents", "error"),
    [
        ("insert_only", [Document("n", "new"), Document("a", "new")], DocumentExists),
        ("update_only", [Document("a", "new"), Document("n", "new")], DocumentNotFound),
    ],
)
def test_atomic_writes_store_all_or_nothing(
    store: Store, mode: str, documents: list[Document], error: type[Exception]
) -> None:
    """A refusal undoes what came before it in the same call."""
    with pytest.raises(error):
        store.write(documents, {0: V[2], 1: V[3]}, mode, atomic=True)
    assert [(d.doc_id, d.text) for d in store.get(["a", "n"])] == [("a", "one")]
    assert (store.count(), store.stats()["rows"]) == (2, 2)


def test_an_atomic_write_that_lacks_a_vector_stores_nothing(store: Store) -> None:
    """Otherwise its second try would meet its own documents."""
    both = [Document("n", "new"), Document("m", "new")]
    outcomes = store.write(both, {0: V[2]}, "insert_only", atomic=True)
    assert [outcome.status for outcome in outcomes] == ["created", "needs_vector"]
    assert store.get(["n", "m"]) == []
    outcomes = store.write(both, {0: V[2], 1: V[3]}, "insert_only", atomic=True)
    assert [outcome.status for outcome in outcomes] == ["created", "created"]


def test_deleting_counts_what_there_was(store: Store) -> None:
    """Unknown ids, repeated ones and ids that cannot be are nothing."""
    assert store.delete(["a", "a", "x", "\ud800", ""]) == 1
    assert store.delete(["a"]) == 0
    assert store.get(["a", "b"])[0].doc_id == "b"


def test_an_unknown_mode_is_refused(store: Store) -> None:
    """By changed and by write."""
    for call in (lambda: store.changed([], "replace"), lambda: store.write([], {}, "replace")):
        with pytest.raises(InvalidInput, match="upsert, insert_only, update_only, got 'replace'"):
            call()


def test_many_documents_of_one_write_are_stored_whatever_their_number(store: Store) -> None:
    """Also those that the same write replaces: each is where its vector is, and is found by its metadata."""
    vectors = unit_vectors(2_600, seed=3)
    documents = [Document(f"d{n % 2_500}", "", metadata={"n": n}, vector=vectors[n]) for n in range(2_600)]
    assert statuses(store, documents, {}).count("created") == 2_500
    assert [store.count({"n": n}) for n in (0, 99, 100, 2_499, 2_500, 2_599)] == [0, 0, 1, 1, 1, 1]
    for name, number in (("d0", 2_500), ("d99", 2_599), ("d100", 100), ("d2499", 2_499)):
        assert np.allclose(store.vector_of(name), vectors[number], atol=1e-6)
