"""The one thread that writes: shared commits, and what each failure leaves behind."""

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index.batch import Batch
from index.document import Document
from index.errors import DocumentExists, StorageFull, StoreBusy, StoreUnavailable
from index.graph import Graph
from index.jobs import Adopt, Job
from index.query import Query
from index.rotation import Rotation
from index.shortlist import Shortlist
from index.store import Store
from index.verify import verify
from index_cases import opened, together, unit_vectors

V = unit_vectors(64)
Calls = list[Callable[[], Any]]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """A store of one document, a."""
    with opened(tmp_path / "data") as store:
        put(store, "a", 0)
        yield store


def put(store: Store, doc_id: str, vector: int) -> Any:
    """Store one document."""
    return store.write([Document(doc_id, f"text of {doc_id}")], {0: V[vector]})


def nearest(store: Store, vector: int) -> str:
    """The id of the best hit."""
    return store.search(V[vector], Query(limit=1))[0].hits[0].doc_id


def refuse(_: Batch) -> None:
    """A job that fails as jobs may."""
    raise DocumentExists("no")


def crash(_: Batch) -> None:
    """A job that fails as no job should."""
    raise ZeroDivisionError("a bug")


def fill_the_disk(batch: Batch) -> None:
    """A job that meets a full disk: SQLite gives up the whole transaction."""
    batch.db.execute("PRAGMA max_page_count=1")
    batch.db.execute("CREATE TABLE large AS SELECT zeroblob(100000) AS large")


def test_writes_that_wait_together_share_one_commit(store: Store) -> None:
    """Ten callers, one commit, each its own answer, everything searchable."""
    before = store.view.commits
    futures = together(store, [lambda i=i: put(store, f"d{i}", i) for i in range(1, 11)])
    assert [future.result()[0].status for future in futures] == ["created"] * 10
    assert store.view.commits == before + 1
    assert [nearest(store, i) for i in range(1, 11)] == [f"d{i}" for i in range(1, 11)]


def test_jobs_of_one_commit_see_each_other_in_order(store: Store) -> None:
    """Create, replace, delete and create again, all in one commit."""
    calls: Calls = [
        lambda: put(store, "n", 1),
        lambda: store.write([Document("n", "changed")], {0: V[2]})[0].status,
        lambda: store.delete_where({"none": 1}),
        lambda: store.delete(["n", "a"]),
        lambda: put(store, "n", 3)[0].status,
    ]
    answers = [future.result() for future in together(store, calls)]
    assert answers[1:] == ["updated", 0, 2, "created"]
    assert (store.count(), nearest(store, 3)) == (1, "n")
    assert (store.stats()["rows"], store.stats()["dead_rows"]) == (4, 3)


@pytest.mark.parametrize(
    ("failing", "error"), [(refuse, DocumentExists), (crash, ZeroDivisionError), (fill_the_disk, StorageFull)]
)
def test_a_failing_job_fails_alone(store: Store, failing: Callable[[Batch], None], error: type[Exception]) -> None:
    """What it did is undone, the jobs around it are committed, and writing goes on."""

    def start_and_fail(batch: Batch) -> None:
        batch.add(Document("half", "done"), V[9])
        failing(batch)

    calls: Calls = [
        lambda: put(store, "b", 1),
        lambda: store._writer.submit(Job(start_and_fail)),
        lambda: put(store, "c", 2),
    ]
    first, second, third = together(store, calls)
    with pytest.raises(error):
        second.result()
    store._documents._writer.execute("PRAGMA max_page_count=1000000")
    assert first.result()[0].status == third.result()[0].status == "created"
    assert store.get(["half"]) == []
    assert [nearest(store, i) for i in range(3)] == ["a", "b", "c"]
    put(store, "d", 3)
    assert [d.row for d in store.get(["a", "b", "c", "d"])] == [0, 1, 2, 3]


def fail_with(number: int) -> Callable[..., None]:
    """A system call that fails."""

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_full_disk_stores_nothing_and_passes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the batch is seen; when there is room again the next write goes through."""
    monkeypatch.setattr(os, "pwrite", fail_with(errno.ENOSPC))
    with pytest.raises(StorageFull):
        put(store, "b", 1)
    assert (store.count(), store.get(["b"]), nearest(store, 1)) == (1, [], "a")
    monkeypatch.undo()
    put(store, "b", 1)
    assert nearest(store, 1) == "b"


@pytest.mark.parametrize("call", ["fsync", "pwrite"])
def test_after_a_failed_write_the_store_is_read_only_until_reopened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Nothing of that batch is acknowledged or seen, reading goes on, every write is refused, and a restart heals."""
    store = opened(tmp_path / "data")
    put(store, "a", 0)
    monkeypatch.setattr(os, call, fail_with(errno.EIO))
    for future in together(store, [lambda: put(store, "b", 1), lambda: put(store, "c", 2)]):
        with pytest.raises(StoreUnavailable):
            future.result()
    monkeypatch.undo()
    for refused in (lambda: put(store, "b", 1), lambda: store.delete(["a"]), lambda: store.delete_where({"k": 1})):
        with pytest.raises(StoreUnavailable, match="read-only until it is reopened"):
            refused()
    assert (store.count(), nearest(store, 1), store.get(["a"])[0].text) == (1, "a", "text of a")
    assert os.strerror(errno.EIO) in store.stats()["read_only"]
    store.close()
    with opened(tmp_path / "data") as store:
        assert (store.count(), store.get(["b", "c"])) == (1, [])
        put(store, "b", 1)
        assert (nearest(store, 0), nearest(store, 1)) == ("a", "b")
    assert verify(tmp_path / "data").ok


def test_a_commit_that_sqlite_cannot_make_is_not_acknowledged(store: Store) -> None:
    """Writing refused by SQLite itself makes the store read-only, too."""
    store._documents._writer.execute("PRAGMA query_only=1")
    with pytest.raises(StoreUnavailable):
        put(store, "b", 1)
    store._documents._writer.execute("PRAGMA query_only=0")
    with pytest.raises(StoreUnavailable, match="read-only until"):
        put(store, "b", 1)
    assert store.get(["b"]) == []


def test_a_lock_of_another_process_passes(store: Store) -> None:
    """What waits meanwhile is refused together, once; afterwards writes go through without a restart."""
    store._documents._writer.execute("PRAGMA busy_timeout=500")
    with closing(sqlite3.connect(store.layout.documents, isolation_level=None)) as shell:
        shell.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        with ThreadPoolExecutor(20) as pool:
            for future in [pool.submit(put, store, f"w{number}", 2) for number in range(20)]:
                with pytest.raises(StoreBusy, match="another process has locked"):
                    future.result(30)
        assert time.monotonic() - started < 6  # one after the other: ten
        assert nearest(store, 1) == "a"
        shell.execute("ROLLBACK")
    put(store, "b", 1)
    assert (nearest(store, 1), store.stats()["read_only"]) == ("b", None)


def test_memory_never_lags_behind_the_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the next view cannot be made, the batch is not committed, and its row is free for the next."""

    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Shortlist, "appended", exhausted)
    with pytest.raises(MemoryError):
        put(store, "b", 1)
    monkeypatch.undo()
    assert store.get(["b"]) == []
    put(store, "c", 2)
    assert [d.row for d in store.get(["a", "b", "c"])] == [0, 1]
    assert nearest(store, 2) == "c"


def test_a_graph_of_other_prefixes_is_forgotten(store: Store) -> None:
    """The merger learns that its work came too late."""
    graph = Graph.empty(V[:, :8].copy(), "float32").extended(store.view.shortlist.tail)
    assert graph is not None
    rotated = replace(store.view, rotation=Rotation(np.eye(32, dtype=np.float32), (8,), "other"))
    assert store._writer.submit(Adopt(graph, rotated)) is False
    assert (
        store._writer.submit(Adopt(graph, replace(store.view, shortlist=rotated.shortlist.with_older(graph)))) is False
    )
    assert store.view.shortlist.older is None
    assert store._writer.submit(Adopt(graph, store.view)) is True
    assert store.view.shortlist.older is graph


def test_a_graph_that_cannot_be_adopted_hurts_only_the_merger(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The writer's thread outlives it."""

    def exhausted(*_: object) -> None:
        raise MemoryError

    graph = Graph.empty(V[:, :8].copy(), "float32").extended(store.view.shortlist.tail)
    assert graph is not None
    monkeypatch.setattr(Shortlist, "with_older", exhausted)
    with pytest.raises(MemoryError):
        store._writer.submit(Adopt(graph, store.view))
    put(store, "b", 1)
    assert nearest(store, 1) == "b"
