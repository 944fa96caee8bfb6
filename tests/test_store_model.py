"""The store against a dictionary, by random sequences of operations; FUZZ_SEQUENCES of them in the long lane."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from index import merger
from index.document import Document
from index.options import StoreOptions
from index.query import Query
from index.restoring import restore
from index.rotation import Rotation
from index.store import Store
from index.verify import verify
from index_cases import assert_exact
from store_model import SPACE, VECTORS, Known, agree, filters, matches, strays, vectors_of

SEQUENCES = int(os.environ.get("FUZZ_SEQUENCES", "1_000"))
IDS = ["a", "b", "c", "d", "A", "é", "🦀"]
TEXTS = ["one", "two", "three"]
ids = st.sampled_from(IDS)
vectors = st.integers(0, 39)
metadatas = st.fixed_dictionaries(
    {}, optional={"n": st.integers(0, 3), "tags": st.lists(st.sampled_from("xy"), max_size=2)}
)


class StoreModel(RuleBasedStateMachine):
    """`known` maps ids to (text, metadata, number of the vector), and `kept` snapshots to what was known then."""

    @initialize(
        storage=st.sampled_from(["float32", "bfloat16", "int8"]), first=st.sampled_from(["auto", "hnsw", "packed"])
    )
    def open_empty(self, storage: str, first: str) -> None:
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(merger, "MIN_MERGE", 4)  # graphs of few rows
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "data"
        self.options = StoreOptions(storage=storage, shortlist_index=first)
        self.store = Store.open(self.path, SPACE, self.options)
        self.known: Known = {}
        self.kept: dict[str, Known] = {}

    @rule(
        batch=st.lists(st.tuples(ids, st.sampled_from(TEXTS), metadatas, vectors), min_size=1, max_size=5),
        mode=st.sampled_from(["upsert", "insert_only", "update_only"]),
    )
    def write(self, batch: list[tuple[str, str, dict[str, Any], int]], mode: str) -> None:
        documents = [Document(doc_id, text, metadata=metadata) for doc_id, text, metadata, _ in batch]
        outcomes = self.store.write(documents, {i: VECTORS[v] for i, (*_, v) in enumerate(batch)}, mode)
        assert [o.status for o in outcomes] == [self.expect(mode, *entry) for entry in batch]

    def expect(self, mode: str, doc_id: str, text: str, metadata: dict[str, Any], vector: int) -> str:
        old = self.known.get(doc_id)
        if mode == "insert_only" and old:
            return "exists"
        if mode == "update_only" and not old:
            return "missing"
        if old and old[:2] == (text, metadata):
            return "unchanged"
        self.known[doc_id] = (text, metadata, old[2] if old and old[0] == text else vector)
        return "updated" if old else "created"

    @rule(doc_id=ids, metadata=metadatas)
    def change_metadata(self, doc_id: str, metadata: dict[str, Any]) -> None:
        if old := self.known.get(doc_id):
            row = self.store.get([doc_id])[0].row
            self.store.write([Document(doc_id, old[0], metadata=metadata)], {})
            self.known[doc_id] = (old[0], metadata, old[2])
            assert self.store.get([doc_id])[0].row == row

    @rule(doomed=st.lists(ids, max_size=3))
    def delete(self, doomed: list[str]) -> None:
        assert self.store.delete(doomed) == len({i for i in doomed if self.known.pop(i, None)})

    @rule(name=st.sampled_from(list(filters)))
    def delete_where(self, name: str) -> None:
        doomed = [i for i, (_, metadata, _) in self.known.items() if matches(name, metadata)]
        assert self.store.delete_where(filters[name]) == len(doomed)
        for doc_id in doomed:
            del self.known[doc_id]

    @rule()
    def reopen(self) -> None:
        self.store.close()
        self.store = Store.open(self.path, SPACE, self.options)

    @rule(query=vectors, limit=st.integers(1, 8), name=st.sampled_from([None, *filters]), shortlist=st.booleans())
    def search(self, query: int, limit: int, name: str | None, shortlist: bool) -> None:
        how: dict[str, Any] = {"shortlist": 100} if shortlist else {"exact": True}
        asked = Query(limit=limit, filter=filters[name] if name else None, **how)
        answer = self.store.search(VECTORS[query], asked)[0]
        assert answer.exact
        assert_exact(answer.hits, vectors_of(self.store, self.known, name), VECTORS[query], limit)
        for hit in answer.hits:
            assert (hit.text, hit.metadata) == self.known[hit.doc_id][:2]

    @rule()
    def kill(self) -> None:
        """What a killed process would leave: the files as they are, without a close."""
        copy = Path(tempfile.mkdtemp(dir=self.folder.name)) / "data"
        with self.store._merger.files:  # a graph that is just being written
            shutil.copytree(self.path, copy)
        self.store.close()
        self.path = copy
        self.store = Store.open(self.path, SPACE, self.options)

    @rule()
    def compact(self) -> None:
        before = self.store.view
        report = self.store.compact()
        assert (report["rows_before"], report["rows_after"]) == (before.rows, len(self.known))
        assert report["erased"] == before.rows - len(self.known)
        assert self.store.view.rows == self.store.view.count == len(self.known)
        assert set(report["snapshots_with_erased_rows"]) <= set(self.kept)

    @rule(seed=st.integers(0, 3))
    def rotate(self, seed: int) -> None:
        matrix = np.linalg.qr(np.random.default_rng(seed).standard_normal((8, 8)))[0].astype(np.float32)
        self.store.rotate(Rotation(matrix, (4, 2), "random"))
        assert self.store.rotation is not None

    @rule()
    def undo_the_rotation(self) -> None:
        self.store.rotate(None)
        assert self.store.rotation is None

    @precondition(lambda self: len(self.kept) < 3)
    @rule()
    def make_a_snapshot(self) -> None:
        record = self.store.snapshots.make()
        assert record["count"] == len(self.known)
        self.kept[record["name"]] = dict(self.known)

    @precondition(lambda self: self.kept)
    @rule(data=st.data(), query=vectors)
    def restore(self, data: st.DataObject, query: int) -> None:
        """A snapshot made at any time before has what was known then, and finds it."""
        name = data.draw(st.sampled_from(sorted(self.kept)))
        known, target = self.kept[name], Path(tempfile.mkdtemp(dir=self.folder.name)) / "restored"
        with self.store.snapshots.path(name).open("rb") as file:
            restore(file, target)
        with Store.open(target, SPACE, self.options) as restored:
            agree(restored, known)
            hits = restored.search(VECTORS[query], Query(limit=8, shortlist=100))[0].hits
            assert_exact(hits, vectors_of(restored, known), VECTORS[query], 8)
        assert verify(target).ok
        assert not strays(target)

    @precondition(lambda self: self.kept)
    @rule(data=st.data())
    def delete_a_snapshot(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.kept)))
        self.store.snapshots.delete(name)
        del self.kept[name]

    @invariant()
    def agrees(self) -> None:
        """The store and the dictionary, and the list of snapshots."""
        agree(self.store, self.known)
        assert {record["name"] for record in self.store.snapshots.list()} == set(self.kept)

    def teardown(self) -> None:
        self.store.close()
        self.patch.undo()
        report = verify(self.path)
        assert report.ok, [check for check in report.checks if not check.ok]
        assert not strays(self.path)
        self.folder.cleanup()


quick = settings(max_examples=25, stateful_step_count=25)
many = settings(max_examples=SEQUENCES, stateful_step_count=60)


def test_a_store_holds_what_a_dictionary_would_hold() -> None:
    """Whatever is done in whatever order."""
    run_state_machine_as_test(StoreModel, settings=quick)


@pytest.mark.long
def test_many_longer_sequences(record_property: Any) -> None:
    """The same, FUZZ_SEQUENCES times and up to 60 steps."""
    record_property("sequences", SEQUENCES)
    run_state_machine_as_test(StoreModel, settings=many)
