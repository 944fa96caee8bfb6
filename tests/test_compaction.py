"""Compaction: dead rows go, their bytes with them; searches and writes go on, and nothing else changes."""

import errno
import gc
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index import compaction, database, filters, newest, next_generation, room, searching
from index.batch import Batch
from index.calibrating import Asked
from index.copying import Copy
from index.database import Documents
from index.document import Document
from index.errors import MaintenanceBusy, StorageFull, StoreBusy, StoreCorrupt, StoreUnavailable, ViewGone
from index.graph import Graph
from index.jobs import Adopt, Exchange, Job
from index.layout import Layout
from index.options import StoreOptions
from index.query import Query
from index.rotation import QueryMap, Rotation
from index.searching import ATTEMPTS
from index.space import Space
from index.store import Store
from index.verify import verify
from index_cases import FLAT, GRAPH, documents, fill, numbered, opened, random_rotation, unit_vectors, until
from test_integrity import change as damaged_by
from test_integrity import swap_ids

V = unit_vectors(1_500)
QUERIES = unit_vectors(8, seed=9)
TURN = Rotation(random_rotation(seed=1), (8, 16), "random", {})
STEPS = 2 * 1_500 + 2 * 1_000


def prepared(path: Path, options: StoreOptions = FLAT, rotated: bool = False) -> Store:
    """Rows 0 .. 1,499, of which every third is dead: 500 to erase."""
    store = opened(path / "data", options)
    fill(store, V, lambda i: {"n": i % 7, "tags": [f"t{i % 3}", "all"]})
    if rotated:
        store.rotate(TURN)
    if options is GRAPH:
        until(lambda: store.view.shortlist.older_rows == 1_500)
    store.delete(numbered(1_500)[::3])
    return store


def test_what_a_disk_does_not_let_go_of_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The compaction counts; nobody is told that everything is gone, and the next start removes it."""
    unlink = Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path.name.startswith("vectors-1."):
            raise PermissionError(errno.EPERM, "Operation not permitted", str(path))
        unlink(path, missing_ok)

    renumbered: list[object] = []
    with prepared(tmp_path) as store:
        with monkeypatch.context() as patched:
            patched.setattr(Path, "unlink", refused)
            patched.setattr(store._calibrations, "renumber", renumbered.append)
            report = store.compact()
        assert len(renumbered) == 1  # the calibration is told all the same
        assert (report["erased"], report["not_removed"]) == (500, ["vectors-1.bin", "vectors-1.crc"])
    with opened(tmp_path / "data", FLAT) as store:
        assert not list(store.layout.collection.glob("vectors-1.*"))
        fill(store, V[:1])
        assert store.compact()["not_removed"] == []


def seen(store: Store, **how: Any) -> list[list[tuple[Any, ...]]]:
    """All there is to tell the hits of some queries apart, to the bit."""
    plain, narrow = Query(limit=20, **how), Query(limit=20, filter={"n": {"$gte": 3}, "tags": "t1"}, **how)
    asked = [answer for query in (plain, narrow) for answer in store.search(QUERIES, query)]
    return [[(h.doc_id, h.score, h.text, str(h.metadata)) for h in answer.hits] for answer in asked]


def recall(store: Store) -> float:
    """recall@10 of a shortlist."""
    found, truth = (
        [{h.doc_id for h in a.hits} for a in store.search(QUERIES, Query(limit=10, **how))]
        for how in ({"shortlist": 400}, {"exact": True})
    )
    return sum(len(one & other) for one, other in zip(found, truth, strict=True)) / (10 * len(QUERIES))


def listing(store: Store) -> list[tuple[Any, ...]]:
    """Every document with its vector."""
    found, _ = store.scroll(10_000, with_vector=True)
    return [(d.doc_id, d.text, str(d.metadata), d.vector.tobytes()) for d in found if d.vector is not None]


def names(store: Store) -> set[str]:
    """Files of the collection."""
    return {path.name for path in store.layout.collection.iterdir()}


@pytest.mark.parametrize("storage", ["float32", "bfloat16", "int8"])
def test_hits_stay_the_same_to_the_bit(tmp_path: Path, storage: str) -> None:
    """Ids, scores, texts and metadata, with filters and without, exactly and by the funnel; also when opened again."""
    options = StoreOptions(shortlist_index="flat", storage=storage)
    with prepared(tmp_path, options) as store:
        before = [seen(store), seen(store, exact=True), listing(store), store.count({"n": 3})]
        told: list[tuple[int, int]] = []
        report = store.compact(lambda done, total: told.append((done, total)))
        assert [seen(store), seen(store, exact=True), listing(store), store.count({"n": 3})] == before
        assert (report["rows_before"], report["rows_after"], report["erased"]) == (1_500, 1_000, 500)
        assert (report["generation"], store.view.generation) == (2, 2)
        assert (store.view.rows, store.view.count, store.view.all_live) == (1_000, 1_000, True)
        assert told == sorted(told)
        assert told[-1] == (STEPS, STEPS)
    assert verify(tmp_path / "data").ok
    with opened(tmp_path / "data", options) as store:
        assert [seen(store), seen(store, exact=True), listing(store), store.count({"n": 3})] == before
        assert names(store) >= {"vectors-2.bin", "vectors-2.crc"}
        assert not any("-1" in name or "compact" in name for name in names(store))


def test_a_graph_a_rotation_and_a_query_map_stay_in_force(tmp_path: Path) -> None:
    """The graph is made anew of the live rows and saved; the rotation knows its documents by their new rows."""
    with prepared(tmp_path, GRAPH, rotated=True) as store:
        store.set_query_map(QueryMap(random_rotation(seed=4)))
        before, exact, recalled = listing(store), seen(store, exact=True), recall(store)
        store.compact()
        assert (listing(store), seen(store, exact=True)) == (before, exact)
        assert store.view.shortlist.older_rows == 1_000
        assert store.rotation is not None
        assert (store.rotation.rows, store.rotation.through) == (1_500, 1_000)
        assert "shortlist-2-1000" in "".join(names(store))
        assert recall(store) >= recalled - 0.05
        until(lambda: not store.stats()["shortlist"]["merging"])
    assert verify(tmp_path / "data").ok
    with opened(tmp_path / "data", GRAPH) as store:
        assert store.query_map is not None
        assert (store.view.shortlist.older_rows, seen(store, exact=True)) == (1_000, exact)


PHASES = {"vectors": 0, "documents": 1_500, "prefixes": 3_000, "graph": 4_001, "last": STEPS}


@pytest.mark.parametrize(
    ("options", "phase"),
    [*((FLAT, phase) for phase in PHASES if phase != "graph"), (GRAPH, "graph"), (GRAPH, "last")],
    ids=lambda value: value if isinstance(value, str) else value.shortlist_index,
)
def test_what_is_written_meanwhile_is_there(tmp_path: Path, phase: str, options: StoreOptions) -> None:
    """New documents, upserts of old and of new ones, deletes, and metadata changed twice, at every phase."""
    with prepared(tmp_path, options) as store:
        known = {d.doc_id: (d.text, d.metadata) for d in store.scroll(10_000)[0]}
        done = False

        def meddle(at: int, total: int) -> None:
            nonlocal done
            if not done and at >= PHASES[phase]:
                done = True
                change(store, known)

        store.compact(meddle)
        assert done
        assert {d.doc_id: (d.text, d.metadata) for d in store.scroll(10_000)[0]} == known
        assert store.count({"new": True}) == sum("new" in metadata for _, metadata in known.values())
        assert store.count({"n": 99}) == 1
        assert store.count({"n": 98}) == 0
        for hit in store.search(V[1], Query(limit=3, exact=True))[0].hits:
            assert (hit.text, hit.metadata) == known[hit.doc_id]
        change(store, known, tag="later")
        assert store.compact()["erased"] > 0
        assert {d.doc_id: (d.text, d.metadata) for d in store.scroll(10_000)[0]} == known
    assert verify(tmp_path / "data").ok


def test_metadata_that_changes_while_it_catches_up_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the moment that is read, here that of the first new row, and the look at what was changed in place."""
    done: list[str] = []
    with prepared(tmp_path) as store:

        def meddle(at: int, total: int) -> None:
            if not done and at >= PHASES["documents"]:
                done.append("written")
                fill(store, unit_vectors(600, seed=5), start=1_500)

        def add(self: Copy, source: sqlite3.Connection, start: int, stop: int) -> None:
            adding(self, source, start, stop)
            if start >= 1_500 and done == ["written"]:
                done.append("changed")
                store.update_metadata("d00001", lambda _: {"n": 98})

        adding = Copy.add
        monkeypatch.setattr(Copy, "add", add)
        store.compact(meddle)
        assert done == ["written", "changed"]
        assert store.get(["d00001"])[0].metadata == {"n": 98}
        assert store.count({"n": 98}) == 1
    assert verify(tmp_path / "data").ok


def change(store: Store, known: dict[str, tuple[str, Any]], tag: str = "now") -> None:
    """All kinds of writes; more of them than are left to the writer's thread. `known` learns of them."""
    fresh = [f"{tag}{i:04}" for i in range(600)]
    store.write(documents(fresh, lambda i: {"new": True}), dict(enumerate(unit_vectors(600, seed=5))))
    known |= {doc_id: (f"text of {doc_id}", {"new": True}) for doc_id in fresh}
    for doc_id in (fresh[0], "d00001", "d00002"):
        store.write([Document(doc_id, f"{tag} again", metadata={"n": 1})], {0: QUERIES[0]})
        known[doc_id] = (f"{tag} again", {"n": 1})
    for n in (98, 99):
        store.update_metadata("d00004", lambda _, n=n: {"n": n})  # type: ignore[misc]
        store.update_metadata(fresh[1], lambda _, n=n: {"new": True, "m": n})  # type: ignore[misc]
    known["d00004"] = (known["d00004"][0], {"n": 99})
    known[fresh[1]] = (known[fresh[1]][0], {"new": True, "m": 99})
    doomed = [fresh[2], "d00002", *numbered(200, start=700 if tag == "now" else 1_100)]
    assert store.delete(doomed) > 100
    for doc_id in doomed:
        known.pop(doc_id, None)


def secret(number: int, seed: int) -> str:
    """Text that no compression, prefix or accident brings about."""
    return f"{np.random.default_rng(number + seed).bytes(24).hex()}"


def raw(path: Path) -> Iterator[tuple[Path, bytes]]:
    """The bytes of every file of a data directory."""
    for file in path.rglob("*"):
        if file.is_file():
            yield file, file.read_bytes()


def remains(path: Path, doomed: list[int], vectors: np.ndarray) -> dict[str, list[str]]:
    """Files in which anything of these documents is found, by what it is."""
    found: dict[str, list[str]] = {}
    for file, data in raw(path):
        for number in doomed:
            pieces = {
                "text": secret(number, 0).encode(),
                "value": secret(number, 1_000_000).encode(),
                "key": secret(number, 2_000_000).encode(),
                "id": secret(number, 3_000_000).encode(),
                "vector": vectors[number].tobytes()[:64],
            }
            for kind, piece in pieces.items():
                if piece in data:
                    found.setdefault(kind, []).append(file.name)
    return found


@pytest.mark.parametrize("options", [FLAT, GRAPH], ids=["flat", "graph"])
def test_no_file_holds_a_byte_of_what_was_deleted(tmp_path: Path, options: StoreOptions) -> None:
    """Texts, ids, keys and values of metadata, vectors and prefixes; they are there before, in several files."""
    vectors = unit_vectors(1_200, seed=3)
    doomed, numbers = list(range(0, 1_200, 40)), range(1_200)

    def document(i: int) -> Document:
        metadata = {secret(i, 2_000_000): 1, "v": secret(i, 1_000_000), "common": "shared by all"}
        return Document(secret(i, 3_000_000), f"{secret(i, 0)} and more", metadata=metadata)

    with opened(tmp_path / "data", options) as store:
        store.write([document(i) for i in numbers], dict(enumerate(vectors)))
        vectors = store.view.matrix.copy()  # as they are stored, normalised
        until(lambda: store.view.shortlist.older_rows == (1_200 if options is GRAPH else 0))
        before = remains(tmp_path, doomed, vectors)
        assert set(before) == {"text", "value", "key", "id", "vector"}
        store.delete([secret(i, 3_000_000) for i in doomed[1:]])
        store.write([Document(secret(0, 3_000_000), "other")], {0: V[0]})  # what an upsert replaces goes as well
        assert "vector" in remains(tmp_path, doomed, vectors)
        store.compact()
        left = remains(tmp_path, doomed, vectors)
        assert left == {"id": left["id"]}  # that of the upsert, which is alive
        assert remains(tmp_path, doomed[1:], vectors) == {}
        assert remains(tmp_path, [1], vectors).keys() == set(before)
    assert remains(tmp_path, doomed[1:], vectors) == {}


def test_the_disk_space_is_back(tmp_path: Path) -> None:
    """Allocated blocks of the directory, which the report tells too."""
    wide = unit_vectors(6_000, 256)

    def blocks() -> int:
        return sum(path.stat().st_blocks * 512 for path in (tmp_path / "data/collections/default").iterdir())

    with opened(tmp_path / "data", space=Space(256, 64, {"model": "test"})) as store:
        fill(store, wide)
        store.delete(numbered(6_000)[600:])
        before = blocks()
        report = store.compact()
        assert (report["bytes_before"], report["bytes_after"]) == (before, blocks())
        assert blocks() < before / 5


def test_nothing_dead_is_nothing_to_do(tmp_path: Path) -> None:
    """The generation stays; what metadata was before it changed in place is gone all the same."""
    with opened(tmp_path / "data") as store:
        fill(store, V[:100], lambda i: {"v": secret(i, 0)})
        for doc_id in numbered(100)[::3]:
            store.update_metadata(doc_id, lambda _: {"v": "other"})
        assert "text" in remains(tmp_path, [0, 3, 99], V)
        report = store.compact()
        assert (report["erased"], report["generation"], report["rows_after"]) == (0, 1, 100)
        assert "text" not in remains(tmp_path, list(range(0, 100, 3)), V)
        assert "text" in remains(tmp_path, [1], V)


def test_an_index_of_which_all_is_deleted_is_empty_and_of_use(tmp_path: Path) -> None:
    """No rows at all; then new ones."""
    with opened(tmp_path / "data") as store:
        fill(store, V[:100])
        store.delete(numbered(100))
        assert store.compact()["rows_after"] == 0
        assert store.search(V[0], Query(limit=3))[0].hits == []
    with opened(tmp_path / "data") as store:
        fill(store, V[:10])
        assert store.count() == 10
    assert verify(tmp_path / "data").ok


def test_a_search_that_began_before_gets_the_right_texts(tmp_path: Path) -> None:
    """Its rows mean other documents by then: it is repeated on the newest view; so are filters and pages."""
    with prepared(tmp_path) as store:
        before, old = seen(store), store.view
        reader = store._documents.reader
        swapped = threading.Event()

        def late(*of: Any) -> Any:
            if threading.current_thread() is threading.main_thread() and not swapped.is_set():
                swapped.set()
                with ThreadPoolExecutor(1) as pool:
                    pool.submit(store.compact).result(20)
            return reader(*of)

        store._documents.reader = late  # type: ignore[method-assign]
        assert seen(store) == before
        assert store.view.generation == old.generation + 1
        for call in (
            lambda: store.count({"tags": "t1"}),
            lambda: [d.doc_id for d in store.scroll(5, filter={"tags": "t1"})[0]],
            lambda: [d.text for d in store.get(numbered(5), with_vector=True)],
            lambda: [d.doc_id for d in store.measuring.draw(5)] != [],
        ):
            store._documents.reader = reader  # type: ignore[method-assign]
            expected = call()
            store.delete(["d00001"] if store.get(["d00001"]) else [store.scroll(1, after="d01000")[0][0].doc_id])
            expected = call()
            swapped.clear()
            store._documents.reader = late  # type: ignore[method-assign]
            assert call() == expected
            assert swapped.is_set()
        with pytest.raises(ViewGone, match="generation"):
            store._matching.filtered(old, filters.parse({"n": 1}))


def test_the_last_attempt_is_begun_again_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents are written during every search but the last one allowed, and during that a compaction ends."""
    for module in (newest, searching):
        monkeypatch.setattr(module, "PATIENCE", 0)  # of a count there is but one
    with prepared(tmp_path) as store, ThreadPoolExecutor(1) as pool:
        before, count = seen(store), store.count({"tags": "t1"})
        reader, calls = store._documents.reader, 0

        def late(*of: Any) -> Any:
            nonlocal calls
            if threading.current_thread() is threading.main_thread():
                calls += 1
                if calls < ATTEMPTS:
                    pool.submit(store.write, [Document("other", f"{calls}")], {0: -QUERIES[0]}).result(20)
                elif calls == ATTEMPTS:
                    assert pool.submit(store.compact).result(20)["erased"] > 0
            return reader(*of)

        store._documents.reader = late  # type: ignore[method-assign]
        narrow = Query(limit=20, filter={"n": {"$gte": 3}, "tags": "t1"})
        hits = [[h.doc_id for h in answer.hits] for answer in store.search(QUERIES, narrow)]
        assert hits == [[doc_id for doc_id, *_ in one] for one in before[len(QUERIES) :]]
        assert (calls > ATTEMPTS, store.view.generation) == (True, 2)
        store.delete(["other"])
        calls = ATTEMPTS - 1
        assert store.count({"tags": "t1"}) == count
        assert store.view.generation == 3


def test_views_that_were_taken_before_stay_whole(tmp_path: Path) -> None:
    """Their vectors are mapped still, though the file is gone."""
    with prepared(tmp_path) as store:
        view = store.view
        rows = view.matrix[:1_500:3].copy()
        store.compact()
        assert np.array_equal(view.matrix[:1_500:3], rows)
        assert not store.layout.vectors(1).exists()


def test_one_work_at_a_time(tmp_path: Path) -> None:
    """A rotation and a compaction exclude each other, and say which of them it is."""
    with prepared(tmp_path) as store:
        started, go = threading.Event(), threading.Event()

        def wait(done: int, total: int) -> None:
            started.set()
            assert go.wait(10)

        with ThreadPoolExecutor(1) as pool:
            compacting = pool.submit(store.compact, wait)
            assert started.wait(10)
            with pytest.raises(MaintenanceBusy, match="a compaction is running"):
                store.compact()
            with pytest.raises(MaintenanceBusy, match="a compaction is running"):
                store.rotate(TURN)
            go.set()
            assert compacting.result(20)["erased"] == 500
        store.rotate(TURN)
        assert store.rotation is not None


@pytest.mark.parametrize("options", [FLAT, GRAPH], ids=["flat", "graph"])
def test_it_can_be_stopped_until_the_last_moment(tmp_path: Path, options: StoreOptions) -> None:
    """By an error of the caller's at every step; nothing of it stays, and the next one works."""
    with prepared(tmp_path, options) as store:
        until(lambda: options is FLAT or any(name.startswith("shortlist") for name in names(store)))
        kept, before = names(store), seen(store, exact=True)
        steps: list[int] = []
        for at in (0, 1_500, 2_900, 3_000, STEPS):

            def stop(done: int, total: int, at: int = at) -> None:
                steps.append(done)
                if done >= at:
                    raise KeyError(at)

            with pytest.raises(KeyError):
                store.compact(stop)
            assert (names(store), seen(store, exact=True), store.view.generation) == (kept, before, 1)
        fill(store, V[:5], start=9_000)
        assert store.compact()["rows_after"] == 1_005


def test_closing_stops_it(tmp_path: Path) -> None:
    """Nothing of it stays."""
    store = prepared(tmp_path)
    started = threading.Event()

    def wait(done: int, total: int) -> None:
        started.set()
        until(store._maintenance._closed.is_set)

    with ThreadPoolExecutor(1) as pool:
        compacting = pool.submit(store.compact, wait)
        assert started.wait(10)
        store.close()
        with pytest.raises(StoreUnavailable, match="closed while it was compacted"):
            compacting.result(10)
    assert not any("compact" in name or "-2" in name for name in names(store))
    with opened(tmp_path / "data") as store:
        assert store.view.rows == 1_500


def test_without_room_it_does_not_begin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With both numbers; nothing is left behind."""
    with prepared(tmp_path) as store:
        kept = names(store)
        usage = room.shutil.disk_usage(tmp_path)
        monkeypatch.setattr(room.shutil, "disk_usage", lambda _: usage._replace(free=1_000))
        with pytest.raises(StorageFull, match=r"compaction of 1,000 documents needs [\d,]{6,} bytes .* 1,000 are free"):
            store.compact()
        assert names(store) == kept


@pytest.mark.parametrize("step", ["write", "add", "state", "sync"])
def test_a_disk_that_fills_up_meanwhile_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """While vectors, documents or the last commits are copied; writes go on, and there is no stray file."""
    with prepared(tmp_path) as store:
        kept, before = names(store), listing(store)

        def full(*_: Any, **__: Any) -> None:
            raise StorageFull("no space left")

        owner = next_generation.VectorFile if step == "write" else next_generation.Copy
        with monkeypatch.context() as patched:
            patched.setattr(owner, step, full)
            with pytest.raises(StorageFull):
                store.compact()
        assert (names(store), listing(store)) == (kept, before)
        fill(store, V[:5], start=9_000)
        assert store.compact()["rows_after"] == 1_005


@contextmanager
def small_disk(path: Path, mebibytes: int) -> Iterator[Path]:
    """A disk of its own that can be filled up."""
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(path)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a tmpfs cannot be mounted here: {error}")
    try:
        yield path
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


@pytest.mark.parametrize("left", [16, 600, 1_200])
def test_a_disk_that_is_full_for_real_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: int
) -> None:
    """With so many KiB left: of three steps each meets the end of the disk, as if others had taken what was free."""
    monkeypatch.setattr(compaction, "require_room", lambda *_: None)
    wide = unit_vectors(1_000, 256)
    with small_disk(tmp_path / "disk", 32) as disk, opened(disk / "data", space=Space(256, 64, {})) as store:
        texts = [Document(doc_id, f"{doc_id} {'long text ' * 120}") for doc_id in numbered(1_000)]
        store.write(texts, dict(enumerate(wide)))
        store.delete(numbered(1_000)[::10])
        kept, before = names(store), listing(store)
        ballast = disk / "ballast"
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, room.shutil.disk_usage(disk).free - (left << 10))
        with pytest.raises(StorageFull):
            store.compact()
        assert (names(store), listing(store), store.view.generation) == (kept, before, 1)
        ballast.unlink()
        assert store.compact()["erased"] == 100
        assert listing(store) == before
        fill(store, unit_vectors(5, 256), start=9_000)


def test_a_damaged_live_row_stops_it(tmp_path: Path) -> None:
    """Its bytes must not get a new checksum; a damaged dead row does no harm."""
    with prepared(tmp_path) as store:
        _flip(store, row=3)  # dead
        assert store.compact()["erased"] == 500
        store.delete(["d00001"])
        _flip(store, row=500)
        kept = names(store)
        with pytest.raises(StoreCorrupt, match=r"vectors do not match .* nothing was changed, in rows 500;.*repair"):
            store.compact()
        assert names(store) == kept
        fill(store, V[:5], start=9_000)


@pytest.mark.parametrize(
    "damage",
    [
        swap_ids,
        lambda at: damaged_by(at, "UPDATE documents SET text = 'uext of d00017' WHERE row = 17"),
        lambda at: damaged_by(at, "UPDATE documents SET metadata = '{\"n\":2}' WHERE row = 17"),
    ],
    ids=["ids", "text", "metadata"],
)
def test_a_damaged_document_stops_it(tmp_path: Path, damage: Callable[[Layout], None]) -> None:
    """Written again it would have the right entries in every index, and nobody would see the damage any more."""
    prepared(tmp_path).close()
    damage(Layout(tmp_path / "data"))
    with opened(tmp_path / "data") as store:
        kept = names(store)
        with pytest.raises(StoreCorrupt, match=r"documents do not match .* nothing was changed, in rows 17\b.*repair"):
            store.compact()
        assert (names(store), store.view.generation) == (kept, 1)
    assert not verify(tmp_path / "data").ok


def test_a_document_that_was_damaged_after_it_was_copied_stops_it(tmp_path: Path) -> None:
    """Its metadata changed meanwhile: they get a new hash, which must be that of sound ones."""
    with prepared(tmp_path) as store:

        def meddle(at: int, total: int) -> None:
            if at == PHASES["last"]:
                store.update_metadata("d00001", lambda _: {"n": 98})
                damaged_by(store.layout, "UPDATE documents SET metadata = '{\"n\":99}' WHERE row = 1")

        with pytest.raises(StoreCorrupt, match=r"nothing was changed, in rows 1;"):
            store.compact(meddle)


def test_a_file_that_sqlite_finds_damaged_is_corrupt(tmp_path: Path) -> None:
    """The one that is read: it is not the disk that could not be written."""
    prepared(tmp_path).close()
    path = Layout(tmp_path / "data").documents
    data = path.read_bytes()
    at = data.index(b"text of d00017") & ~4_095  # the page, whose first byte is its kind
    path.write_bytes(data[:at] + b"\xff" + data[at + 1 :])
    with opened(tmp_path / "data") as store:
        with pytest.raises(StoreCorrupt, match=r"reading .*documents\.sqlite failed: .*malformed"):
            store.compact()
        assert store.stats()["read_only"] is None


def test_a_document_that_is_not_there_any_more_stops_it(tmp_path: Path) -> None:
    """The next start would find as many documents as the new file says there are."""
    with prepared(tmp_path) as store:
        damaged_by(store.layout, "DELETE FROM documents WHERE row = 17")
        with pytest.raises(StoreCorrupt, match=r"1000 live rows .* expected are 999"):
            store.compact()
        assert store.view.generation == 1


def _flip(store: Store, row: int) -> None:
    with store.layout.vectors(store.view.generation).open("r+b") as file:
        file.seek(row * store.view.codec.row_bytes)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def test_another_process_with_the_file_open_stops_it(tmp_path: Path) -> None:
    """Its WAL would be read into the new file."""
    with prepared(tmp_path) as store:
        kept = names(store)
        code = (
            "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); db.execute('SELECT count(*) FROM documents')"
            ".fetchall(); print('open', flush=True); sys.stdin.read()"
        )
        command = [sys.executable, "-c", code, str(store.layout.documents)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
            assert other.stdout is not None
            assert other.stdin is not None
            assert other.stdout.readline() == b"open\n"
            with pytest.raises(StoreBusy, match="another process"):
                store.compact()
            assert (names(store), store.view.generation) == (kept, 1)
            fill(store, V[:5], start=9_000)
            other.stdin.close()
        assert store.compact()["rows_after"] == 1_005


def test_a_reader_that_does_not_end_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as a snapshot of a large index; meanwhile others read and write."""
    monkeypatch.setattr(compaction, "LULL", 0.05)
    monkeypatch.setattr(compaction, "FIRST_PATIENCE", 0.01)
    monkeypatch.setattr(compaction, "MOST_PATIENCE", 0.03)
    waited: list[float] = []
    alone = Documents.alone
    monkeypatch.setattr(Documents, "alone", lambda self, seconds: waited.append(seconds) or alone(self, seconds))
    with prepared(tmp_path) as store, ThreadPoolExecutor(1) as pool:
        with store._documents.reader():
            compacting = pool.submit(store.compact)
            for i in range(20):
                fill(store, V[:1], start=9_000 + i)
                assert len(store.get(["d00001"])) == 1
            until(lambda: len(waited) > 4)
            assert not compacting.done()
            assert store.view.generation == 1
        assert compacting.result(20)["erased"] == 500
        assert store.count() == 1_020
    assert (waited[:3], max(waited)) == ([0.01, 0.02, 0.03], 0.03)  # nobody waits longer for the sake of a long one


def test_an_interrupted_reindex_is_left_behind(tmp_path: Path) -> None:
    """Its rows are those of the old generation: it begins anew, and its files are gone."""
    with prepared(tmp_path) as store:

        def pend(batch: Batch) -> None:
            batch.db.execute("UPDATE state SET pending = '{}'")

        store._writer.submit(Job(pend))
        store.layout.vectors(2).write_bytes(b"x")
        assert store.compact()["generation"] == 3
        assert store._documents.state().pending is None
        assert not store.layout.vectors(2).exists()
    assert verify(tmp_path / "data").ok


def test_a_directory_that_is_not_synced_leaves_the_store_read_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows which documents file a crash would leave: both generations stay, and either opens."""
    with prepared(tmp_path) as store:
        before, calls = listing(store), []

        def failing(path: Path) -> None:
            calls.append(path)
            if len(calls) == 2:
                raise OSError(5, "Input/output error")

        monkeypatch.setattr(database, "sync_directory", failing)
        with pytest.raises(StoreUnavailable, match="could not be renamed"):
            store.compact()
        assert (listing(store), store.view.generation) == (before, 2)
        assert {"vectors-1.bin", "vectors-2.bin"} <= names(store)
        with pytest.raises(StoreUnavailable, match="read-only"):
            store.delete(["d00001"])
    with opened(tmp_path / "data") as store:
        assert (listing(store), store.view.generation) == (before, 2)
    assert verify(tmp_path / "data").ok


def test_the_new_file_has_every_table_of_the_old_one(tmp_path: Path) -> None:
    """With their definitions, and with the settings of the file."""

    def schema(store: Store) -> Any:
        with store._documents.reader() as db:
            tables = db.execute("SELECT type, name, sql FROM sqlite_master ORDER BY name").fetchall()
            return tables, [db.execute(f"PRAGMA {name}").fetchone() for name in ("journal_mode", "user_version")]

    with prepared(tmp_path) as store:
        before = schema(store)
        store.compact()
        assert schema(store) == before
        assert ("journal_mode", before[1][0]) == ("journal_mode", ("wal",))


def test_documents_that_stand_in_for_queries_are_not_taken_for_others(tmp_path: Path) -> None:
    """Each leaves out its own row, which is another document's by then: the run has to begin again."""
    with prepared(tmp_path) as store:
        vectors, rows, generation = store.measuring.draw_vectors(100)
        asked = Asked(vectors, "documents", False, rows, generation)
        store.measuring.curve(asked, 10)
        store.compact()
        with pytest.raises(ViewGone, match="renumbered by a compaction; measure again"):
            store.measuring.curve(asked, 10)
        with pytest.raises(ViewGone, match="renumbered by a compaction; measure again"):
            store.measuring.calibrated(asked, lambda *_: None)


def test_nothing_of_the_old_generation_is_held(tmp_path: Path) -> None:
    """An open or mapped file that is gone keeps its disk space: there is none, though nobody searches or writes
    afterwards; nor when a compaction fails."""

    def held() -> list[str]:
        links = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        return [link for link in links if str(tmp_path) in link and link.endswith("(deleted)")]

    gc.disable()  # nothing may wait for it
    try:
        with prepared(tmp_path, GRAPH) as store:
            for doomed in ("d00001", "d00002", "d00004"):
                store.compact()
                assert held() == []
                store.delete([doomed])
                with pytest.raises(ZeroDivisionError):
                    store.compact(lambda done, total: done == total and 1 / 0)  # type: ignore[arg-type]
                assert held() == []
    finally:
        gc.enable()


def test_jobs_wait_for_the_exchange(tmp_path: Path) -> None:
    """Writes that came before and after it in the queue are all answered."""
    with prepared(tmp_path) as store, ThreadPoolExecutor(4) as pool:
        submit: Callable[[Any], Any] = store._writer.submit
        writes: list[Any] = []

        def late(job: Any) -> Any:
            if isinstance(job, Exchange):
                writes.extend(pool.submit(fill, store, V[i : i + 1], start=9_000 + i) for i in range(20))
            return submit(job)

        store._writer.submit = late  # type: ignore[method-assign]
        store.compact()
        for write in writes:
            write.result(20)
        assert store.count() == 1_020
    assert verify(tmp_path / "data").ok


def test_documents_that_cannot_be_opened_again_are_refused_until_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As for want of descriptors; what was renamed by then is in force at the next start."""
    with prepared(tmp_path) as store:
        before, connect = listing(store), database.connect

        def failing(path: Path, mode: str) -> Any:
            if (
                store.layout.vectors(2).exists()
                and not (tmp_path / "data/collections/default/documents.compact").exists()
            ):
                raise sqlite3.OperationalError("unable to open database file")
            return connect(path, mode)

        with monkeypatch.context() as patched:
            patched.setattr(database, "connect", failing)
            with pytest.raises(StoreUnavailable, match="cannot be opened again"):
                store.compact()
        for call in (lambda: store.get(["d00001"]), lambda: store.delete(["d00001"])):
            with pytest.raises(StoreUnavailable):
                call()
    with opened(tmp_path / "data") as store:
        assert (listing(store), store.view.generation) == (before, 2)
    assert verify(tmp_path / "data").ok


def test_a_merge_or_a_save_that_began_before_is_thrown_away(tmp_path: Path) -> None:
    """Its graph has the rows of the old generation: neither is it searched, nor does the state name it."""
    with prepared(tmp_path) as store:
        old = store.view
        graph = Graph.empty(old.shortlist.tail, "float32").extended(old.shortlist.tail)
        assert graph is not None
        store.compact()
        kept, before = names(store), seen(store)
        assert store._writer.submit(Adopt(graph, old)) is False
        store._merger._save(replace(old, shortlist=old.shortlist.with_older(graph)))
        assert (names(store), seen(store), store.view.shortlist.older) == (kept, before, None)
        assert store._documents.state().snapshot is None


def test_no_bitmap_of_a_filter_outlives_it(tmp_path: Path) -> None:
    """Kept of the old rows, and asked again only when there are more rows than then."""
    with prepared(tmp_path) as store:
        before = store.count({"n": 3})
        store.compact()
        fill(store, unit_vectors(600, seed=8), lambda i: {"n": 3 if i < 5 else 0}, start=9_000)
        assert store.view.rows > 1_500
        assert store.count({"n": 3}) == before + 5
        page, _ = store.scroll(1_000, filter={"n": 3})
        assert {document.metadata["n"] for document in page} == {3}
