"""Closing a store that is in use."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from index.document import Document
from index.errors import StoreUnavailable
from index.jobs import Job
from index.query import Query
from index.store import Store
from index_cases import opened, together, unit_vectors

V = unit_vectors(8)


def put(store: Store, doc_id: str, vector: int) -> Any:
    """Store one document."""
    return store.write([Document(doc_id, f"text of {doc_id}")], {0: V[vector]})


def test_closing_finishes_what_waits_and_refuses_the_rest(tmp_path: Path) -> None:
    """Every caller is answered; what was acknowledged is there afterwards."""
    store = opened(tmp_path / "data")
    closer = threading.Thread(target=store.close)

    def close_later() -> None:
        closer.start()

    futures = together(
        store,
        [
            lambda: put(store, "a", 0),
            lambda: put(store, "b", 1),
            lambda: store._writer.submit(Job(lambda _: close_later())),
        ],
    )
    assert [future.exception() for future in futures] == [None] * 3
    closer.join(10)
    with pytest.raises(StoreUnavailable, match="closed"):
        put(store, "c", 2)
    store.close()
    with opened(tmp_path / "data") as store:
        assert [d.doc_id for d in store.get(["a", "b", "c"])] == ["a", "b"]


def test_callers_never_hang_when_the_store_closes_under_them(tmp_path: Path) -> None:
    """Writers and readers get an answer or StoreUnavailable."""
    store = opened(tmp_path / "data")
    put(store, "a", 0)
    answers: list[str] = []

    def work(call: Callable[[], Any]) -> None:
        try:
            while True:
                call()
        except StoreUnavailable:
            answers.append("closed")

    def search() -> None:
        store.search(V[0], Query())

    calls = [search, lambda: put(store, "b", 1), lambda: store.get(["a"], with_vector=True), lambda: store.scroll(1)]
    threads = [threading.Thread(target=work, args=(call,)) for call in calls * 3]
    for thread in threads:
        thread.start()
    threading.Event().wait(0.1)
    store.close()
    for thread in threads:
        thread.join(20)
    assert answers == ["closed"] * 12
