"""The store against a dictionary, by random sequences of operations."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from index.document import Document
from index.options import StoreOptions
from index.query import Query
from index.space import Space
from index.store import Store
from index.verify import verify
from index_cases import assert_exact, unit_vectors

VECTORS = unit_vectors(40, 8)
SPACE = Space(8, 2, {"model": "test"})
IDS = ["a", "b", "c", "d", "A", "é", "🦀"]
TEXTS = ["one", "two", "three"]
ids = st.sampled_from(IDS)
vectors = st.integers(0, 39)
metadatas = st.fixed_dictionaries(
    {}, optional={"n": st.integers(0, 3), "tags": st.lists(st.sampled_from("xy"), max_size=2)}
)
filters: dict[str, Any] = {
    "n": {"n": {"$gte": 2}},
    "no n": {"n": {"$exists": False}},
    "x": {"tags": "x"},
    "neither": {"$not": {"$or": [{"tags": "x"}, {"n": 0}]}},
}


def matches(name: str, metadata: dict[str, Any]) -> bool:
    """The filters of that name, in Python."""
    n, tags = metadata.get("n"), metadata.get("tags", [])
    return {
        "n": n is not None and n >= 2,
        "no n": n is None,
        "x": "x" in tags,
        "neither": not ("x" in tags or n == 0),
    }[name]


class StoreModel(RuleBasedStateMachine):
    """`known` maps ids to (text, metadata, number of the vector)."""

    @initialize(storage=st.sampled_from(["float32", "bfloat16", "int8"]))
    def open_empty(self, storage: str) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "data"
        self.options = StoreOptions(storage=storage)
        self.store = Store.open(self.path, SPACE, self.options)
        self.known: dict[str, tuple[str, dict[str, Any], int]] = {}

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
        assert_exact(answer.hits, self.stored(name), VECTORS[query], limit)
        for hit in answer.hits:
            assert (hit.text, hit.metadata) == self.known[hit.doc_id][:2]

    def stored(self, name: str | None) -> dict[str, np.ndarray]:
        """Decoded vectors of the documents that match."""
        codec = self.store.view.codec
        return {
            doc_id: codec.decode(codec.encode(VECTORS[vector][None]))[0]
            for doc_id, (_, metadata, vector) in self.known.items()
            if name is None or matches(name, metadata)
        }

    @invariant()
    def agrees(self) -> None:
        """Counts, order and content, by every way of asking."""
        everything, end = self.store.scroll(1_000)
        assert end is None
        assert [d.doc_id for d in everything] == sorted(self.known, key=str.encode)
        assert {d.doc_id: (d.text, d.metadata) for d in everything} == {i: k[:2] for i, k in self.known.items()}
        assert self.store.count() == len(self.known)
        for name, filter in filters.items():
            assert self.store.count(filter) == sum(matches(name, k[1]) for k in self.known.values())

    def teardown(self) -> None:
        self.store.close()
        assert verify(self.path).ok
        self.folder.cleanup()


StoreModel.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestStoreModel = StoreModel.TestCase
TestStoreModel.__doc__ = "Whatever is done in whatever order, the store holds what a dictionary would hold."
