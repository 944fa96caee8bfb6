"""Moving the tail into the graph, and saving the graph."""

import errno
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from index import graph as graph_module
from index import merger as module
from index.merger import due, merged
from index.options import StoreOptions
from index.query import Query
from index.space import Space
from index.store import Store
from index_cases import FLAT, GRAPH, PACKED, SPACE, assert_exact, fill, numbered, opened, unit_vectors, until

V = unit_vectors(3_300)
Q = unit_vectors(3, seed=1)


def hits(store: Store, **query: int) -> list[list[str]]:
    """Ids of three searches."""
    return [[hit.doc_id for hit in answer.hits] for answer in store.search(Q, Query(**query))]  # type: ignore[arg-type]


def snapshots(store: Store) -> list[str]:
    """Names of the snapshot files, partial ones too."""
    return sorted(path.name for path in store.layout.collection.glob("shortlist-*"))


@pytest.mark.parametrize(
    ("options", "rows", "older_rows", "expected"),
    [
        (GRAPH, 999, 0, False),
        (GRAPH, 1_000, 0, True),
        (GRAPH, 100_000, 99_001, False),
        (GRAPH, 100_000, 95_001, False),
        (GRAPH, 100_000, 95_000, True),
        (GRAPH, 10_000_000, 9_950_000, True),
        (FLAT, 100_000, 0, False),
        (StoreOptions(), 100_000, 0, False),
        (StoreOptions(), 100_001, 0, True),
        (StoreOptions(flat_limit=2_000), 2_001, 0, True),
        (StoreOptions(), 3_000, 1_000, True),
        (PACKED, 1_000, 0, True),
        (PACKED, 10_000_000, 9_995_001, False),
        (PACKED, 10_000_000, 9_995_000, True),
    ],
)
def test_a_merge_is_due_when_the_tail_is_long(
    tmp_path: Path, options: StoreOptions, rows: int, older_rows: int, expected: bool
) -> None:
    """A twentieth of the rows, from 1,000 to 50,000, of packed codes to 5,000; the first one past the flat limit."""
    with opened(tmp_path / "data") as store:
        tail = np.empty((rows - older_rows, 0), dtype=np.float32)

        class Shortlist:
            older = object() if older_rows else None

        Shortlist.tail = tail  # type: ignore[attr-defined]
        view = replace(store.view, rows=rows, shortlist=Shortlist())  # type: ignore[arg-type]
        assert due(view, options) is expected
        assert not due(replace(view, space=replace(SPACE, exact_only=True)), options)


@pytest.mark.parametrize("codes", ["auto", "int8"])
def test_rows_move_into_the_graph_while_the_store_is_used(tmp_path: Path, codes: str) -> None:
    """Before, while and after: each document is found once."""
    options = StoreOptions(shortlist_index="hnsw", shortlist_codes=codes)
    with opened(tmp_path / "data", options) as store:
        fill(store, V[:1_500])
        until(lambda: store.view.shortlist.older_rows == 1_500)
        fill(store, V[1_500:1_900], start=1_500)
        assert store.stats()["shortlist"]["tail_rows"] == 400
        fill(store, V[1_900:], start=1_900)
        until(lambda: store.view.shortlist.older_rows == 3_300)
        shortlist = store.stats()["shortlist"]
        assert (shortlist["kind"], shortlist["codes"]) == ("hnsw", "int8" if codes == "int8" else "float32")
        assert (shortlist["tail_rows"], shortlist["merge_error"]) == (0, None)
        own = [store.search(V[i], Query(limit=1))[0].hits[0].doc_id for i in range(0, 3_300, 100)]
        assert own == numbered(3_300)[::100]


def test_rows_written_while_a_graph_is_built_stay_in_the_tail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The merge takes what was there when it began."""
    building, go = threading.Event(), threading.Event()
    real = module.merged

    def slow(*arguments: object) -> object:
        building.set()
        go.wait(60)
        return real(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "merged", slow)
    with opened(tmp_path / "data", GRAPH) as store:
        fill(store, V[:1_200])
        assert building.wait(60)
        fill(store, V[1_200:1_700], start=1_200)
        store.delete(["d00003", "d01300"])
        go.set()
        until(lambda: store.view.shortlist.older_rows == 1_200)
        assert len(store.view.shortlist.tail) == 500
        left = {i: v for i, v in zip(numbered(1_700), V, strict=False) if i not in ("d00003", "d01300")}
        for query, answer in zip(Q, store.search(Q, Query(exact=True)), strict=True):
            assert_exact(answer.hits, left, query, 10)
        found = [store.search(V[i], Query(limit=1))[0].hits[0].doc_id for i in (3, 4, 1_250, 1_300)]
        assert found[1:3] == ["d00004", "d01250"]
        assert not {"d00003", "d01300"} & set(found)


def test_codes_shrink_when_the_collection_has_grown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Chosen by itself: float32 while small, int8 beyond a size, and an int8 graph stays one."""
    options = replace(GRAPH, shortlist_codes="auto")
    with opened(tmp_path, options) as store:
        fill(store, V[:1_500])
        until(lambda: store.view.shortlist.older_rows == 1_500)
        assert store.view.shortlist.older.codes == "float32"  # type: ignore[union-attr]
        monkeypatch.setattr(module, "INT8_ROWS", 2_000)
        fill(store, V[1_500:], start=1_500)
        until(lambda: store.view.shortlist.older_rows == len(V))
        assert store.view.shortlist.older.codes == "int8"  # type: ignore[union-attr]
        exact = [[hit.doc_id for hit in answer.hits] for answer in store.search(Q, Query(exact=True))]
        assert hits(store, shortlist=len(V) - 1) == exact
        monkeypatch.setattr(module, "INT8_ROWS", 1_000_000)
        assert module.chosen_codes(options, store.view) == "int8"


def test_the_graph_is_saved_and_read_again(tmp_path: Path) -> None:
    """Once at the end of a merge, one file; a reopened store answers the same from it and makes only the rest."""
    store = opened(tmp_path / "data", GRAPH)
    fill(store, V[:1_500])
    until(lambda: snapshots(store) == ["shortlist-1-1500.faiss"])
    fill(store, V[1_500:1_700], start=1_500)
    before = hits(store, shortlist=40)
    store.close()
    with opened(tmp_path / "data", GRAPH) as store:
        assert (store.view.shortlist.older_rows, len(store.view.shortlist.tail)) == (1_500, 200)
        assert hits(store, shortlist=40) == before
        fill(store, V[1_700:], start=1_700)
        until(lambda: snapshots(store) == ["shortlist-1-3300.faiss"])


@pytest.mark.parametrize("damage", ["bit", "lost", "unnamed"])
def test_a_damaged_snapshot_is_made_again(tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture) -> None:
    """From the vectors; files that the state does not name are deleted at the start."""
    with opened(tmp_path / "data", GRAPH) as store:
        fill(store, V[:1_500])
        until(lambda: snapshots(store) == ["shortlist-1-1500.faiss"])
        path = store.layout.collection / "shortlist-1-1500.faiss"
    if damage == "bit":
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)
    elif damage == "lost":
        path.unlink()
    else:
        for name in ("shortlist-1-1400.faiss", "shortlist-1-1600.tmp", "shortlist-0-9.faiss", "vectors-7.bin"):
            (path.parent / name).write_bytes(b"left over")
    with opened(tmp_path / "data", FLAT if damage == "unnamed" else GRAPH) as store:
        assert ("rebuilt" in caplog.text) == (damage != "unnamed")
        for query, answer in zip(Q, store.search(Q, Query(shortlist=1_500)), strict=True):
            assert_exact(answer.hits, dict(zip(numbered(1_500), V, strict=False)), query, 10)
        if damage == "unnamed":
            assert snapshots(store) == ["shortlist-1-1500.faiss"]
            assert not (path.parent / "vectors-7.bin").exists()
        else:
            until(lambda: store.view.shortlist.older_rows == 1_500)


@pytest.mark.parametrize("options", [FLAT, GRAPH], ids=["flat", "hnsw"])
def test_a_snapshot_of_another_prefix_width_is_not_used(tmp_path: Path, options: StoreOptions) -> None:
    """The prefix may change, the vectors are the same; and back again."""
    with opened(tmp_path / "data", GRAPH) as store:
        fill(store, V[:1_500])
        until(lambda: bool(snapshots(store)))
        before = hits(store)
    wide = Space(SPACE.dim, 16, SPACE.fingerprint)
    with opened(tmp_path / "data", options, wide) as store:
        assert store.view.shortlist.dim == 16
        until(lambda: store.view.shortlist.older_rows == (1_500 if options is GRAPH else 0))
        assert store.search(Q[0], Query(shortlist=50))[0].stages == [(16, 50), (32, 10)]
    with opened(tmp_path / "data", GRAPH) as store:
        until(lambda: store.view.shortlist.older_rows == 1_500)
        if options is FLAT:
            assert hits(store) == before


def test_no_room_for_the_snapshot_costs_only_the_snapshot(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No partial file stays, writing and closing go on, the next start rebuilds."""

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store = opened(tmp_path / "data", GRAPH)
    monkeypatch.setattr(os, "replace", full)
    fill(store, V[:1_500])
    until(lambda: "snapshot was not saved" in caplog.text)
    until(lambda: snapshots(store) == [])
    fill(store, V[1_500:1_600], start=1_500)
    store.close()
    assert snapshots(store) == []
    monkeypatch.undo()
    with opened(tmp_path / "data", GRAPH) as store:
        assert store.count() == 1_600


def test_no_memory_for_the_merge_costs_only_the_merge(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The tail goes on answering, the statistics tell why, and a later merge succeeds."""

    def exhausted(*_: object) -> None:
        raise MemoryError("no memory")

    with opened(tmp_path / "data", GRAPH) as store:
        monkeypatch.setattr(module, "merged", exhausted)
        fill(store, V[:1_500])
        until(lambda: store.stats()["shortlist"]["merge_error"] == "no memory")
        assert hits(store, shortlist=40)
        monkeypatch.undo()
        fill(store, V[1_500:1_501], start=1_500)
        until(lambda: store.view.shortlist.older_rows == 1_501)
        until(lambda: store.stats()["shortlist"]["merge_error"] is None)


def test_closing_gives_up_a_merge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two slices; the documents are all there afterwards."""
    monkeypatch.setattr(graph_module, "ADD_SLICE", 16)
    store = opened(tmp_path / "data", GRAPH)
    fill(store, V)
    store.close()
    with opened(tmp_path / "data") as store:
        assert store.count() == len(V)
        assert merged(store.view, GRAPH, lambda: True) is None
