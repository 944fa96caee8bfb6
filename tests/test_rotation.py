"""A rotation of the prefixes: what it changes, what it never changes, and what interrupts it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index import build as build_module
from index import merger as merger_module
from index import rotator as module
from index.errors import InvalidInput, InvalidPlan, MaintenanceBusy, StorageFull, StoreUnavailable
from index.jobs import Swap
from index.matrices import rotation_record
from index.matryoshka import prefixes, turned
from index.options import StoreOptions
from index.query import Query
from index.rotation import Rotation
from index.space import Space
from index.store import Store
from index.verify import verify
from index_cases import (
    FLAT,
    GRAPH,
    SPACE,
    assert_exact,
    fill,
    numbered,
    opened,
    principal,
    random_rotation,
    unit_vectors,
    until,
)

V, Q = unit_vectors(3_000), unit_vectors(6, seed=1)
UNTRAINED = replace(SPACE, exact_only=True)
TURN = Rotation(random_rotation(), (16, 8), "random", {"recall@10": 0.5})


def hits(store: Store, **query: Any) -> list[list[tuple[str, float]]]:
    """Ids and scores of the answers to Q."""
    return [[(hit.doc_id, hit.score) for hit in answer.hits] for answer in store.search(Q, Query(**query))]


def files(store: Store, pattern: str = "*") -> list[str]:
    """Names of files of the collection, but for SQLite's."""
    return sorted(p.name for p in store.layout.collection.glob(pattern) if "sqlite" not in p.name)


def low_rank(count: int, rank: int = 8, seed: int = 0) -> np.ndarray:
    """(count, 32) unit rows that all lie in `rank` random dimensions."""
    rows = np.random.default_rng(seed).standard_normal((count, rank)) @ random_rotation(seed=9)[:rank]
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(params=[FLAT, GRAPH], ids=["flat", "hnsw"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """3,000 documents, flat or in a graph."""
    with opened(tmp_path / "data", request.param) as store:
        fill(store, V)
        until(lambda: store.view.shortlist.older_rows == (3_000 if request.param is GRAPH else 0))
        yield store


def test_scores_and_exact_results_stay_to_the_bit(store: Store) -> None:
    """The funnel's members may change, each score is what it was; undone, everything is as before."""
    exact, narrow = hits(store, exact=True, limit=50), hits(store, shortlist=60)
    scores = dict(pair for answer in hits(store, exact=True, limit=1_000) for pair in answer)
    store.rotate(TURN)
    assert hits(store, exact=True, limit=50) == exact
    turned_hits = hits(store, shortlist=60)
    assert turned_hits != narrow
    for query, answer in zip(Q, store.search(Q, Query(shortlist=60)), strict=True):
        own = dict(zip(numbered(3_000), (V @ query).tolist(), strict=True))
        assert all(abs(own[hit.doc_id] - hit.score) < 1e-6 for hit in answer.hits)
    assert scores
    store.rotate(None)
    assert store.rotation is None
    if store.view.shortlist.older is None:  # a graph that is built anew may have other links
        assert hits(store, shortlist=60) == narrow


def test_a_rotation_is_there_after_closing(tmp_path: Path) -> None:
    """With everything that is known about it; without opening, its widths."""
    with opened(tmp_path / "data") as store:
        assert Store.stored_rotation(tmp_path / "data") == ()
        fill(store, V[:500])
        store.delete(numbered(100))
        store.rotate(TURN)
        record, before = rotation_record(store.rotation), hits(store, shortlist=50)
        assert Store.stored_rotation(tmp_path / "data") == (16, 8)
    assert record is not None
    inside = np.square(V[100:500] @ TURN.matrix[:, :8]).sum(axis=1).mean()
    assert (record["rows"], record["method"], record["measured"]) == (400, "random", {"recall@10": 0.5})
    assert record["energy"] == pytest.approx(inside, abs=1e-6)
    with opened(tmp_path / "data") as store:
        assert rotation_record(store.rotation) == record
        assert hits(store, shortlist=50) == before
        assert files(store, "rotation-*") == [record["file"]]
        store.rotate(None)
        assert files(store) == ["vectors-1.bin", "vectors-1.crc"]
    with opened(tmp_path / "data") as store:
        assert store.rotation is None


def test_prefix_order_is_full_order_on_data_that_fits_into_the_prefix(tmp_path: Path) -> None:
    """Vectors that live in 8 of 32 dimensions, turned so that these come first: the prefix says it all."""
    vectors, queries = low_rank(2_000), low_rank(5, seed=3)
    with opened(tmp_path / "data") as store:
        fill(store, vectors)

        def orders() -> list[list[str]]:
            found = store.search(queries, Query(rescore=False, limit=100))
            return [[hit.doc_id for hit in answer.hits] for answer in found]

        exact = [[h.doc_id for h in answer.hits] for answer in store.search(queries, Query(exact=True, limit=100))]
        assert orders() != exact
        store.rotate(Rotation(principal(vectors), (8,), "pca"))
        assert store.rotation is not None
        assert store.rotation.energy == pytest.approx(1, abs=1e-5)
        assert orders() == exact


def test_an_index_without_a_trained_prefix_becomes_a_funnel_and_back(tmp_path: Path) -> None:
    """The prefix is one that the rotation was learned for; undone, every search is exact again."""
    with opened(tmp_path / "data", GRAPH, UNTRAINED) as store:
        fill(store, V)
        with pytest.raises(InvalidPlan, match="no trained prefix"):
            store.search(Q, Query(shortlist=50))
        store.rotate(replace(TURN, widths=(16, 12)))
        assert store.search(Q, Query(shortlist=50))[0].stages == [(12, 50), (32, 10)]
        assert store.view.shortlist.older_rows == 3_000
    with opened(tmp_path / "data", GRAPH, UNTRAINED) as store:
        assert store.search(Q, Query(shortlist=50))[0].stages == [(12, 50), (32, 10)]
        store.rotate(None)
        assert store.search(Q, Query())[0].exact
        assert store.view.shortlist.older is None
        with pytest.raises(InvalidPlan, match="no trained prefix"):
            store.search(Q, Query(shortlist=50))


def test_a_cascade_takes_its_middle_widths_from_the_rotation(tmp_path: Path) -> None:
    """A stage of 16 keeps the best of the shortlist by their rotated prefixes of 16."""
    with opened(tmp_path / "data") as store:
        fill(store, V)
        store.rotate(TURN)
        answer = store.search(Q[0], Query(stages=((8, 200), (16, 20)), limit=20))[0]
    first = np.argsort(-(prefixes(V, 8, TURN.matrix) @ prefixes(Q[:1], 8, TURN.matrix)[0]))[:200]
    middle = prefixes(V[first], 16, TURN.matrix) @ prefixes(Q[:1], 16, TURN.matrix)[0]
    assert {hit.doc_id for hit in answer.hits} == {numbered(3_000)[row] for row in first[np.argsort(-middle)[:20]]}


def test_writes_and_searches_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rotations to and fro while documents come and go: each search is right, and nothing is lost."""
    monkeypatch.setattr(build_module, "BLOCK", 64)
    monkeypatch.setattr(build_module, "CATCH_UP", 8)
    stop = threading.Event()
    options = StoreOptions(shortlist_index="hnsw")

    def search() -> int:
        number = 0
        while not stop.is_set():
            for row, answer in zip((3, 500, 900), store.search(V[[3, 500, 900]], Query(limit=1)), strict=True):
                assert (answer.hits[0].doc_id, answer.hits[0].score > 0.9999) == (f"d{row:05}", True)
            number += 1
        return number

    def write() -> int:
        start = 1_000
        while not stop.is_set() and start < 2_950:
            fill(store, V[start : start + 10], start=start)
            store.delete(numbered(1, start))
            start += 10
        return start

    with opened(tmp_path / "data", options) as store, ThreadPoolExecutor(2) as pool:
        fill(store, V[:1_000])
        searching, writing = pool.submit(search), pool.submit(write)
        for turn in range(6):
            store.rotate(None if turn % 2 else replace(TURN, matrix=random_rotation(seed=turn)))
        store.rotate(TURN)
        stop.set()
        assert searching.result(20) > 0
        written = writing.result(20)
        view = store.view
        expected = view.prefixes(view.codec.decode(view.matrix))
        assert np.array_equal(view.shortlist.prefixes(np.arange(view.rows)), expected)
        dead = set(numbered(written)[1_000::10])
        left = {i: v for i, v in zip(numbered(written), V, strict=False) if i not in dead}
        for query, answer in zip(Q, store.search(Q, Query(exact=True)), strict=True):
            assert_exact(answer.hits, left, query, 10)
    with opened(tmp_path / "data", options) as store:
        assert store.count() == len(left)
        assert np.array_equal(store.view.shortlist.prefixes(np.arange(store.view.rows)), expected)


def test_a_merge_that_began_before_a_rotation_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its graph has the old prefixes; the next merge takes the new ones."""
    building, go = threading.Event(), threading.Event()
    real = merger_module.merged

    def slow(*arguments: Any) -> Any:
        building.set()
        graph = real(*arguments)
        go.wait(60)
        return graph

    monkeypatch.setattr(merger_module, "merged", slow)
    options = StoreOptions(flat_limit=2_000)
    with opened(tmp_path / "data", options) as store:
        fill(store, V[:2_001])
        assert building.wait(60)
        monkeypatch.setattr(build_module, "due", lambda *_: False)
        store.rotate(TURN)
        assert store.view.shortlist.older is None
        go.set()
        until(lambda: store.view.shortlist.older_rows == 2_001)
        rows = np.arange(2_001)
        assert np.allclose(store.view.shortlist.prefixes(rows), store.view.prefixes(V[:2_001]), atol=1e-6)
        assert store.rotation is not None
        name = f"shortlist-1-2001-{store.rotation.checksum:08x}.faiss"
        until(lambda: files(store, "shortlist-*") == [name])


@pytest.mark.parametrize(
    ("matrix", "widths", "message"),
    [
        (np.eye(16), (8,), r"32 x 32 matrix, got shape \(16, 16\)"),
        (np.full((32, 32), np.nan), (8,), "NaN or Inf"),
        (np.eye(32) * 1.001, (8,), r"\|R\^T R - I\| is 0.002, at most 1e-05"),
        (np.eye(32), (33, 8), r"between 1 and 32, got \[33, 8\]"),
        (np.eye(32), (), r"between 1 and 32, got \[\]"),
        (np.eye(32), (16, 4), "learned for 16, 4 numbers, the prefix has 8"),
    ],
)
def test_what_is_no_rotation_of_this_index_is_refused(
    store: Store, matrix: np.ndarray, widths: tuple[int, ...], message: str
) -> None:
    """With both numbers; nothing is changed."""
    before = store.view
    with pytest.raises(InvalidInput, match=message):
        store.rotate(Rotation(matrix, widths, "wrong"))
    with pytest.raises(InvalidInput, match="not JSON"):
        store.rotate(replace(TURN, measured={"a": object()}))
    assert store.view is before
    assert files(store, "rotation-*") == []


def test_one_rotation_at_a_time_and_closing_stops_it(tmp_path: Path) -> None:
    """The second is refused at once; the first ends with an error when the store is closed, and nothing changed."""
    started, go = threading.Event(), threading.Event()

    def wait(*_: int) -> None:
        started.set()
        go.wait(60)

    store = opened(tmp_path / "data")
    fill(store, V)
    with ThreadPoolExecutor(2) as pool:
        rotating = pool.submit(store.rotate, TURN, wait)
        assert started.wait(60)
        with pytest.raises(MaintenanceBusy, match="a rotation is being applied"):
            store.rotate(None)
        closing = pool.submit(store.close)
        until(store._maintenance._closed.is_set)
        go.set()
        with pytest.raises(StoreUnavailable, match="nothing was changed"):
            rotating.result(60)
        closing.result(60)
    with pytest.raises(StoreUnavailable):
        store.rotate(TURN)
    with opened(tmp_path / "data") as store:
        assert store.rotation is None
        assert store.count() == 3_000


def test_closing_at_the_moment_of_the_swap_leaves_the_writer_sound(tmp_path: Path) -> None:
    """Rows were committed meanwhile, which the writer's thread reads: neither they nor what waits behind is refused."""
    with opened(tmp_path / "data") as store:
        fill(store, V[:500])
        submit = store._writer.submit

        def late(job: Any) -> Any:
            if isinstance(job, Swap):
                store._writer.submit = submit  # type: ignore[method-assign]
                fill(store, V[500:510], start=500)
                store._maintenance._closed.set()
            return submit(job)

        store._writer.submit = late  # type: ignore[method-assign]
        store.rotate(TURN)
        assert store._writer.broken is None
        fill(store, V[510:520], start=510)
        rows = store.view.shortlist.prefixes(np.arange(520))
        assert np.allclose(rows, store.view.prefixes(V[:520]), atol=1e-6)


def test_what_progress_raises_stops_it(store: Store) -> None:
    """As an interrupt does; the next rotation works."""

    def interrupt(*_: int) -> None:
        raise KeyboardInterrupt

    before = hits(store, shortlist=50)
    with pytest.raises(KeyboardInterrupt):
        store.rotate(TURN, interrupt)
    assert (store.rotation, files(store, "rotation-*")) == (None, [])
    assert hits(store, shortlist=50) == before
    seen: list[tuple[int, int]] = []
    store.rotate(TURN, lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1]
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_it_can_be_stopped_until_the_last_moment(store: Store) -> None:
    """When everything is built and written; nothing of it stays."""
    saved = ["shortlist-1-3000.faiss"] if store.view.shortlist.older else []
    until(lambda: files(store, "shortlist-*") == saved)
    before, kept = hits(store, shortlist=50), files(store)

    class Late(Exception):
        pass

    calls: list[tuple[int, int]] = []

    def last(done: int, total: int) -> None:
        calls.append((done, total))
        if calls.count((total, total)) == 2:
            assert files(store, "rotation-*") != []
            raise Late

    with pytest.raises(Late):
        store.rotate(TURN, last)
    assert (files(store), store.rotation, hits(store, shortlist=50)) == (kept, None, before)


def test_the_same_matrix_again_keeps_the_saved_graph_until_the_swap(tmp_path: Path) -> None:
    """Stopped at the last moment, the snapshot that the state names is there, byte for byte; applied, the new one."""
    again = replace(TURN, measured={"recall@10": 0.6})
    with opened(tmp_path / "data", GRAPH) as store:
        fill(store, V)
        until(lambda: store.view.shortlist.older_rows == 3_000)
        store.rotate(TURN)
        kept = {name: (store.layout.collection / name).read_bytes() for name in files(store, "*.faiss")}

        def last(done: int, total: int) -> None:
            if store._merger.files.locked():
                assert len(files(store, "*.faiss")) == 2
                raise KeyError

        with pytest.raises(KeyError):
            store.rotate(again, last)
        assert {name: (store.layout.collection / name).read_bytes() for name in files(store, "*.faiss")} == kept
        store.rotate(again)
        assert len(files(store, "*.faiss")) == 1
    assert verify(tmp_path / "data").ok


def test_nothing_happens_when_the_very_same_is_in_force(store: Store) -> None:
    """As when a request is repeated, or an interrupted change put back: what is known of it stays too."""
    store.rotate(TURN)
    fill(store, V[:10], start=3_000)
    before, record = store.view, rotation_record(store.rotation)
    store.rotate(Rotation(TURN.matrix.copy(), (8, 16), "random", {"recall@10": 0.5}))
    assert (store.view, rotation_record(store.rotation)) == (before, record)
    for other in (replace(TURN, widths=(8,)), replace(TURN, method="x"), replace(TURN, matrix=random_rotation(seed=3))):
        store.rotate(other)
        assert store.rotation is not None
        assert store.rotation.rows == 3_010
        assert store.rotation.method == other.method


def test_a_late_save_of_an_older_graph_spares_the_one_of_the_same_name(tmp_path: Path) -> None:
    """The merger saves what it has merged; meanwhile the same matrix was applied again, and its graph saved."""
    with opened(tmp_path / "data", GRAPH) as store:
        fill(store, V)
        until(lambda: store.view.shortlist.older_rows == 3_000)
        store.rotate(TURN)
        old = store.view
        store.rotate(None)
        store.rotate(TURN)
        kept = files(store, "*.faiss")
        store._merger._save(old)
        assert files(store, "*.faiss") == kept
    assert verify(tmp_path / "data").ok


@pytest.mark.parametrize("step", ["matrix", "graph"])
def test_a_full_disk_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, full_disk: Any
) -> None:
    """Neither for want of room for the matrix nor for the graph; no partial file stays, and writes go on."""
    with opened(tmp_path / "data", GRAPH) as store:
        fill(store, V)
        until(lambda: files(store, "shortlist-*") == ["shortlist-1-3000.faiss"])
        before = hits(store, shortlist=50)
        monkeypatch.setattr(module, "write_durably" if step == "matrix" else "save_snapshot", full_disk)
        with pytest.raises(StorageFull):
            store.rotate(TURN)
        assert files(store) == ["shortlist-1-3000.faiss", "vectors-1.bin", "vectors-1.crc"]
        assert hits(store, shortlist=50) == before
        fill(store, V[:10], start=3_000)
    with opened(tmp_path / "data", GRAPH) as store:
        assert (store.rotation, store.count()) == (None, 3_010)


@pytest.fixture
def full_disk() -> Any:
    """What a write on a full disk does."""

    def full(*_: Any) -> None:
        raise StorageFull("no space left")

    return full


def test_a_rotated_row_has_the_same_bits_alone_and_among_others() -> None:
    """So that the prefixes made at a start are those made at the commit."""
    for dim in (8, 13):
        together = turned(V[:200], dim, TURN.matrix)
        alone = np.concatenate([turned(V[i : i + 1], dim, TURN.matrix) for i in range(200)])
        assert np.array_equal(together, alone)


def test_a_sample_is_of_live_documents_and_reproducible(store: Store) -> None:
    """Without replacement; all of them when there are fewer."""
    store.delete(numbered(2_900))
    rows = store.sample(50, seed=4)
    assert rows.shape == (50, 32)
    assert len(np.unique(rows, axis=0)) == 50
    assert np.array_equal(rows, store.sample(50, seed=4))
    assert not np.array_equal(rows, store.sample(50, seed=5))
    assert np.allclose(store.sample(1_000), V[2_900:], atol=1e-6)
    with pytest.raises(InvalidInput, match="at least 1, got 0"):
        store.sample(0)


def test_an_empty_index_can_be_rotated(tmp_path: Path) -> None:
    """What is written afterwards is rotated."""
    with opened(tmp_path / "data", space=Space(32, 8)) as store:
        assert store.sample(5).shape == (0, 32)
        store.rotate(TURN)
        fill(store, V[:100])
        assert np.allclose(store.view.shortlist.prefixes(np.arange(100)), prefixes(V[:100], 8, TURN.matrix), atol=1e-6)
