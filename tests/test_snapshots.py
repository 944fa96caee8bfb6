"""Snapshots: one file of one moment while writes go on, its folder, and that nothing is left of those that failed."""

import errno
import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import tarfile
import threading
import time
from collections import namedtuple
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index import room, seal, snapshot, snapshot_file, snapshots
from index.calibrating import named
from index.errors import (
    InvalidInput,
    SnapshotBusy,
    SnapshotExists,
    SnapshotNotFound,
    StorageFull,
    StoreBusy,
    StoreCorrupt,
    StoreFormat,
    StoreUnavailable,
)
from index.query import Query
from index.restoring import restore
from index.rotation import QueryMap, Rotation
from index.space import Space
from index.store import Store
from index_cases import GRAPH, fill, opened, principal, unit_vectors, until
from test_calibration import calibration_of
from test_integrity import change, swap_ids

V = unit_vectors(1_500)
BAD_NAMES = ["", "../x", "..", "/etc/passwd", "a/b", "%2e%2e", "a.tar", "A", "-a", "a\n", "a\0", "ä", "x" * 65, "a b"]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """1,500 documents, each tenth of them deleted."""
    with opened(tmp_path / "data") as store:
        ids = fill(store, V, lambda i: {"n": i})
        store.delete(ids[::10])
        yield store


def left(store: Store) -> list[str]:
    """Everything in the folder of snapshots but whole ones."""
    return [path.name for path in store.layout.snapshots.iterdir() if path.suffix != ".tar"]


def damage(path: Path, offset: int) -> None:
    """Flip a bit."""
    with path.open("r+b") as file:
        file.seek(offset)
        (byte,) = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 4]))


def test_a_snapshot_is_a_tar_that_other_tools_read_and_check(store: Store, tmp_path: Path) -> None:
    """`tar` and `sha256sum` are enough; the SQLite file in it is whole, without a WAL, and at the same commit."""
    record = store.snapshots.make()
    path = store.snapshots.path(record["name"])
    subprocess.run(["tar", "-xf", path, "-C", tmp_path], check=True)
    checked = subprocess.run(["sha256sum", "-c", "SHA256SUMS"], cwd=tmp_path, capture_output=True, text=True)
    assert (checked.returncode, checked.stdout.count(": OK")) == (0, 5)
    with tarfile.open(path) as file:
        assert file.getnames()[0] == "snapshot.json"
        assert file.getnames()[-1] == "SHA256SUMS"
        assert all(member.isreg() for member in file)
    head = json.loads((tmp_path / "snapshot.json").read_text())
    assert (head["rows"], head["count"], head["generation"]) == (1_500, 1_350, 1)
    assert record == {
        "name": record["name"],
        "bytes": path.stat().st_size,
        "created": head["created"],
        "generation": 1,
        "commits": store.view.commits,
        "rows": 1_500,
        "count": 1_350,
        "fingerprint": store.space.fingerprint_id,
        "storage": "float32",
        "sha256": hashlib.sha256((tmp_path / "SHA256SUMS").read_bytes()).hexdigest(),
    }
    assert left(store) == []
    assert path.stat().st_mode & 0o007 == 0  # nobody else's business


def test_what_is_derived_goes_along_and_what_is_unfinished_does_not(tmp_path: Path) -> None:
    """Graph, rotation, query map and calibration are in it; a re-embedding that was interrupted is not."""
    with opened(tmp_path / "data", GRAPH) as store:
        fill(store, V)
        until(lambda: store.view.shortlist.older_rows == len(V))
        store.rotate(Rotation(principal(V), (16, 8), "pca"))
        store.set_query_map(QueryMap(np.eye(32) * 2))
        known = calibration_of(calibration_id="")
        store._calibrations.put(replace(known, calibration_id=named(known)))
        store._documents._writer.execute("UPDATE state SET pending = '{}'")
        name = store.snapshots.make()["name"]
        with tarfile.open(store.snapshots.path(name)) as file:
            names = {Path(member).name.split("-")[0] for member in file.getnames()}
            file.extract("collections/default/documents.sqlite", tmp_path, filter="data")
    assert names >= {"shortlist", "rotation", "query", "calibration.json", "vectors", "manifest.json"}
    copy = tmp_path / "collections/default/documents.sqlite"
    state = snapshot.peek(copy)
    assert (state.pending, state.snapshot is None) == (None, False)
    with closing(sqlite3.connect(copy)) as db:  # sealed as if nothing had been changed by hand
        assert db.execute("SELECT state FROM seal").fetchone() == (seal.state_checksum(db),)


@pytest.mark.parametrize("how", ["gone", "damaged"])
def test_a_graph_that_cannot_be_read_is_left_out(tmp_path: Path, how: str) -> None:
    """It can be made again: the snapshot does not name it."""
    with opened(tmp_path / "data", GRAPH) as store:
        fill(store, V)
        until(lambda: store.view.shortlist.older_rows == len(V))
    with opened(tmp_path / "data", GRAPH) as store:
        (graph,) = store.layout.collection.glob("*.faiss")
        graph.unlink() if how == "gone" else damage(graph, 100)
        name = store.snapshots.make()["name"]
        with tarfile.open(store.snapshots.path(name)) as file:
            assert not [member for member in file.getnames() if "shortlist" in member]
            file.extract("collections/default/documents.sqlite", tmp_path, filter="data")
    assert snapshot.peek(tmp_path / "collections/default/documents.sqlite").snapshot is None


def test_it_is_one_moment_while_writes_go_on(store: Store, tmp_path: Path) -> None:
    """Every snapshot has exactly the rows that its own state names, each with its text, whatever comes meanwhile."""
    stop, written = threading.Event(), 0
    extra = unit_vectors(4_000, seed=5)

    def write() -> None:
        nonlocal written
        while not stop.is_set():
            fill(store, extra[written % 4_000 :][:20], start=5_000 + written)
            written += 20

    thread = threading.Thread(target=write)
    thread.start()
    try:
        seen = [store.snapshots.make()]
        for _ in range(4):
            until(lambda: store.view.rows > seen[-1]["rows"])
            seen.append(store.snapshots.make())
    finally:
        stop.set()
        thread.join()
    assert seen[-1]["rows"] > seen[0]["rows"]
    for record in seen:
        assert record["rows"] - record["count"] == 150
        assert (record["rows"] - 1_500) % 20 == 0  # never half a commit
        with tarfile.open(store.snapshots.path(record["name"])) as file:
            size = {Path(member.name).name: member.size for member in file}
        assert size["vectors-1.bin"] == record["rows"] * 128
        assert size["vectors-1.crc"] == record["rows"] * 4


def test_progress_tells_bytes_and_ends_at_the_total(store: Store) -> None:
    """Never backwards, but for what the room was guessed to be before the documents were copied."""
    told: list[tuple[int, int]] = []
    store.snapshots.make(lambda done, total: told.append((done, total)))
    assert told[-1][0] == told[-1][1] > V.nbytes
    assert [done for done, _ in told] == sorted(done for done, _ in told)


def test_searches_and_writes_are_answered_meanwhile(store: Store) -> None:
    """In the middle of a snapshot that does not go on."""
    reached, go = threading.Event(), threading.Event()

    def wait(done: int, total: int) -> None:
        reached.set()
        assert go.wait(20)

    thread = threading.Thread(target=store.snapshots.make, args=[wait])
    thread.start()
    try:
        assert reached.wait(20)
        assert store.search(V[1], Query(limit=1))[0].hits[0].doc_id == "d00001"
        fill(store, unit_vectors(1, seed=9), start=9_000)
        assert store.delete(["d09000"]) == 1
        with pytest.raises(SnapshotBusy, match="one at a time"):
            store.snapshots.make()
    finally:
        go.set()
        thread.join()
    assert [record["count"] for record in store.snapshots.list()] == [1_350]


@pytest.mark.parametrize("where", ["copying", "writing"])
def test_what_progress_raises_stops_it_and_nothing_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """While SQLite copies the documents, and while the file is written; the next one works."""
    monkeypatch.setattr(snapshot, "STEP", 100)
    begun: list[bool] = []

    def stop(done: int, total: int) -> None:
        begun.append(
            any(store.layout.snapshots.glob("*.documents.tmp"))
            and not any(path for path in store.layout.snapshots.glob("*.tmp") if "documents" not in path.name)
        )
        if begun[-1] == (where == "copying"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.snapshots.make(stop)
    assert list(store.layout.snapshots.iterdir()) == []
    store.snapshots.make()


def test_closing_the_store_stops_it(store: Store) -> None:
    """And waits until nothing of it is left; later ones are refused."""
    reached = threading.Event()
    errors: list[Exception] = []

    def slow(done: int, total: int) -> None:
        reached.set()
        time.sleep(0.01)

    def make() -> None:
        try:
            while True:
                store.snapshots.make(slow)
        except StoreUnavailable as error:
            errors.append(error)

    thread = threading.Thread(target=make)
    thread.start()
    assert reached.wait(20)
    store.close()
    thread.join(20)
    assert "closed" in str(errors[0])
    assert left(store) == []


def test_a_compaction_meanwhile_makes_it_begin_again(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """None of an earlier generation appears once the newest view is of a later one: it could hold what was erased."""
    real, begun = snapshots.write_snapshot, []

    def older(*arguments: Any) -> int | None:
        begun.append(real(*arguments))
        return begun[-1] - 1 if len(begun) == 1 else begun[-1]

    monkeypatch.setattr(snapshots, "write_snapshot", older)
    store.snapshots.make()
    assert len(begun) == 2
    monkeypatch.setattr(snapshots, "write_snapshot", lambda *_: None)
    with pytest.raises(StoreBusy, match="rewritten 5 times"):
        store.snapshots.make()


def test_a_real_compaction_meanwhile(store: Store) -> None:
    """The snapshot is of the new generation; an older one is told as holding erased rows, and purged."""
    store.snapshots.make(name="before")
    answers: list[dict[str, Any]] = []

    def compact(done: int, total: int) -> None:
        if not answers and (store.layout.snapshots / "meanwhile.tmp").exists():
            answers.append(store.compact())

    record = store.snapshots.make(compact, name="meanwhile")
    assert (record["generation"], record["rows"], record["count"]) == (2, 1_350, 1_350)
    assert answers[0]["snapshots_with_erased_rows"] == ["before"]
    store.snapshots.purge(store.snapshots.older_than(store.view.generation))
    assert [found["name"] for found in store.snapshots.list()] == ["meanwhile"]


def test_a_file_that_vanishes_is_looked_for_again_or_missed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rotation that was replaced while the documents were copied; a file that the index still names is damage."""
    store.rotate(Rotation(principal(V), (16, 8), "pca"))
    real, copies = snapshot_file.copy_documents, []

    def turning(*arguments: Any) -> Any:
        copies.append(real(*arguments))
        if len(copies) == 1:
            store.rotate(None)
        return copies[-1]

    monkeypatch.setattr(snapshot_file, "copy_documents", turning)
    store.snapshots.make()
    assert len(copies) == 2
    monkeypatch.undo()
    store.rotate(Rotation(principal(V), (16, 8), "pca"))
    next(store.layout.collection.glob("rotation-*")).unlink()
    with pytest.raises(StoreCorrupt, match=r"rotation-.*\.npy is missing, which the index needs"):
        store.snapshots.make()


def test_damaged_vectors_are_told_and_not_kept(store: Store) -> None:
    """With the rows and the way out, and no snapshot stays."""
    damage(store.layout.vectors(1), 128 * 7 + 5)
    with pytest.raises(StoreCorrupt, match=r"damaged in rows 7: no snapshot was made; see `funnel repair`"):
        store.snapshots.make()
    os.truncate(store.layout.checksums(1), 100)
    with pytest.raises(StoreCorrupt, match="end before row 1,500"):
        store.snapshots.make()
    assert list(store.layout.snapshots.iterdir()) == []


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("UPDATE documents SET text = 'uext of d00017' WHERE row = 17", "in rows 17;"),
        ("UPDATE metadata SET value = 16 WHERE key = 'n' AND row = 17", "inverted metadata"),
        ("DELETE FROM documents WHERE row = 17", "1349 live rows"),
    ],
    ids=["text", "inverted metadata", "gone"],
)
def test_damaged_documents_are_told_and_not_kept(store: Store, sql: str, rows: str) -> None:
    """Nobody could restore it, and nobody would know before the day it is needed."""
    change(store.layout, sql)
    with pytest.raises(StoreCorrupt, match=f"{rows}.*funnel repair"):
        store.snapshots.make()
    assert list(store.layout.snapshots.iterdir()) == []


def test_swapped_ids_are_told_and_not_kept(tmp_path: Path) -> None:
    """The copy has the ids twice as well, and they disagree as they did."""
    with opened(tmp_path / "data") as store:
        fill(store, V[:100])
    swap_ids(store.layout)
    with opened(tmp_path / "data") as store, pytest.raises(StoreCorrupt, match=r"in rows 17, 18; "):
        store.snapshots.make()


def test_other_damaged_files_are_told_or_left_out(store: Store, tmp_path: Path) -> None:
    """A matrix is needed, a calibration is made again, and a manifest says what all this is."""
    store.rotate(Rotation(principal(V), (16, 8), "pca"))
    store.layout.calibration.write_text('{"kept": "damaged"}')
    with store.snapshots.path(store.snapshots.make()["name"]).open("rb") as file:
        assert not any("calibration" in name for name in restore(file, tmp_path / "restored")["members"])
    (path,) = store.layout.collection.glob("rotation-*")
    damage(path, 200)
    with pytest.raises(StoreCorrupt, match=r"rotation-.*: no snapshot was made"):
        store.snapshots.make()
    damage(path, 200)
    damage(store.layout.manifest, 30)
    with pytest.raises(StoreFormat, match="manifest"):
        store.snapshots.make()
    assert left(store) == []


def test_room_is_looked_for_first(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """With both numbers."""
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(room.shutil, "disk_usage", lambda path: usage(10**9, 10**9 - 5_000, 5_000))
    with pytest.raises(StorageFull, match=r"a snapshot needs [\d,]{9} bytes on the disk of .*, 5,000 are free"):
        store.snapshots.make()
    assert list(store.layout.snapshots.iterdir()) == []


@pytest.mark.parametrize(("code", "call"), [(errno.ENOSPC, "fsync"), (errno.EDQUOT, "replace"), (errno.EIO, "fsync")])
def test_a_disk_that_fails_leaves_nothing(store: Store, monkeypatch: pytest.MonkeyPatch, code: int, call: str) -> None:
    """A full disk is told as such; the store goes on."""

    def failing(*_: Any) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        owner: Any = snapshot_file.os if call == "fsync" else Path
        patch.setattr(owner, call, failing)
        with pytest.raises(StoreUnavailable if code == errno.EIO else StorageFull, match="nothing"):
            store.snapshots.make()
    assert list(store.layout.snapshots.iterdir()) == []
    fill(store, unit_vectors(1, seed=9), start=9_000)
    store.snapshots.make()


def test_a_real_full_disk(tmp_path: Path) -> None:
    """A small tmpfs that fills up while the snapshot is written: 507's error, and the room is back."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a tmpfs cannot be mounted here: {mounted.stderr.strip()}")
    try:
        with opened(tmp_path / "data") as store:
            fill(store, unit_vectors(8_000))
            store.layout.snapshots.rmdir()
            store.layout.snapshots.symlink_to(small)
            with pytest.raises(StorageFull, match="are free"):
                store.snapshots.make()
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(snapshots, "require_room", lambda *_: None)
                with pytest.raises(StorageFull, match="no space left"):
                    store.snapshots.make()
            assert list(small.iterdir()) == []
            assert shutil.disk_usage(small).used == 0
    finally:
        subprocess.run(["umount", small], check=True)


@contextmanager
def synced(monkeypatch: pytest.MonkeyPatch, root: Path) -> Iterator[list[str]]:
    """What is synced and renamed below a directory, in order, by their names in it."""
    calls: list[str] = []
    fsync, rename, replace = os.fsync, Path.rename, Path.replace

    def named(path: str | Path) -> str:
        return str(Path(path).resolve().relative_to(root.resolve()))

    def syncing(descriptor: int) -> None:
        calls.append(f"sync {named(os.readlink(f'/proc/self/fd/{descriptor}'))}")
        fsync(descriptor)

    def moving(self: Path, target: Path) -> Path:
        calls.append(f"move {named(self)} to {named(target)}")
        return (rename if self.is_dir() else replace)(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", syncing)
        patch.setattr(Path, "rename", moving)
        patch.setattr(Path, "replace", moving)
        yield calls


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="no /proc tells which file a descriptor is")
def test_a_snapshot_is_on_disk_before_it_has_its_name(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes, then its name, then the folder; only then it is answered."""
    with synced(monkeypatch, store.layout.snapshots) as calls:
        store.snapshots.make(name="a")
    assert calls == ["sync a.tmp", "move a.tmp to a.tar", "sync ."]
    with synced(monkeypatch, store.layout.snapshots) as calls:
        store.snapshots.delete("a")
    assert calls == ["sync ."]


def test_names_are_those_given_or_times(store: Store) -> None:
    """A time with a counter, so that two in a second differ; a name is used once."""
    first, second = store.snapshots.make(), store.snapshots.make()
    assert first["name"] != second["name"]
    assert store.snapshots.make(name="before-the-move")["name"] == "before-the-move"
    with pytest.raises(SnapshotExists, match="'before-the-move' already"):
        store.snapshots.make(name="before-the-move")
    assert [record["name"] for record in store.snapshots.list()][2:] == ["before-the-move"]


def test_no_name_leads_out_of_the_folder(store: Store) -> None:
    """To make, to read and to delete: nothing but a file of ours is ever named."""
    (store.layout.root / "x.tar").write_text("not ours to touch")
    for name in BAD_NAMES:
        with pytest.raises(InvalidInput, match="a-z, 0-9 and -"):
            store.snapshots.make(name=name)
        for call in (store.snapshots.path, store.snapshots.delete):
            with pytest.raises(SnapshotNotFound, match="there is no snapshot"):
                call(name)
    assert (store.layout.root / "x.tar").exists()


def test_links_and_folders_are_no_snapshots(store: Store) -> None:
    """They are listed with the reason, neither read nor deleted, and never written over."""
    secret = store.layout.root / "secret"
    secret.write_text("secret")
    (store.layout.snapshots / "link.tar").symlink_to(secret)
    (store.layout.snapshots / "folder.tar").mkdir()
    for name in ("link", "folder"):
        with pytest.raises(SnapshotNotFound):
            store.snapshots.path(name)
        with pytest.raises(SnapshotExists):
            store.snapshots.make(name=name)
    assert [record["error"] for record in store.snapshots.list()] == ["it is not a plain file"] * 2
    assert secret.read_text() == "secret"


def test_the_list_survives_foreign_and_damaged_files(store: Store) -> None:
    """They come with what is wrong, and the others as ever; those that may hold erased rows are told for it."""
    good = store.snapshots.make(name="good")
    folder, whole = store.layout.snapshots, store.snapshots.path("good").read_bytes()
    (folder / "cut.tar").write_bytes(whole[: len(whole) // 2])
    (folder / "noise.tar").write_bytes(b"\xff" * 2_000)
    (folder / "empty.tar").write_bytes(b"")
    (folder / "Not Ours.tar").write_bytes(whole)
    (folder / "newer.tar").write_bytes(whole.replace(b'"version": 1', b'"version": 7', 1))
    with tarfile.open(folder / "foreign.tar", "w") as file:
        file.addfile(tarfile.TarInfo("hello"))
    records = {record["name"]: record for record in store.snapshots.list()}
    assert records["good"] == good
    assert {name for name, record in records.items() if "error" in record} == {
        "cut", "noise", "empty", "newer", "foreign",
    }  # fmt: skip
    assert "version 7; this program reads version 1" in records["newer"]["error"]
    assert sorted(store.snapshots.older_than(1)) == ["cut", "empty", "foreign", "newer", "noise"]
    assert "good" in store.snapshots.older_than(2)
    store.snapshots.purge([*store.snapshots.older_than(2), "gone-already"])
    assert [record["name"] for record in store.snapshots.list()] == ["Not Ours"]


def test_deleted_ones_are_gone(store: Store) -> None:
    """Once: the second time there is none."""
    name = store.snapshots.make()["name"]
    store.snapshots.delete(name)
    assert store.snapshots.list() == []
    with pytest.raises(SnapshotNotFound):
        store.snapshots.delete(name)


CHILD = """
import os, shutil, sys
from pathlib import Path
from dying import die_at_each
from index_cases import opened

folder = Path(sys.argv[1])

def work(dying):
    path = folder / f"{dying.last:04}"
    shutil.copytree(folder / "before", path)
    store = opened(path)
    dying.before(os, "fsync", "pread", "open")
    dying.before(Path, "replace", "unlink")
    store.snapshots.make(name="killed")

die_at_each(range(100), work)
"""


def test_killed_anywhere_leaves_a_whole_one_or_none(tmp_path: Path) -> None:
    """SIGKILL before every call that opens, reads, syncs or renames; the next start removes what was left."""
    with opened(tmp_path / "before") as store:
        fill(store, V[:200])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", CHILD, tmp_path], env=environment, check=True)
    interrupted, ends = 0, []
    for path in sorted(tmp_path.glob("0*")):
        interrupted += any((path / "snapshots").glob("*.tmp"))
        with opened(path) as store:
            assert left(store) == []
            ends.append([record.get("count") for record in store.snapshots.list()])
    assert ends == sorted(ends)  # first without, then with
    assert ends[0] == []
    assert ends[-1] == [200]
    assert interrupted > 5


@pytest.mark.long
def test_searches_do_not_wait_for_a_snapshot(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Median and 99th percentile of searches and single writes while snapshots follow each other, over those before."""
    rng = np.random.default_rng(0)
    with opened(tmp_path / "data", space=Space(768, 64, {"model": "test"})) as store:
        for start in range(0, 60_000, 5_000):
            vectors = rng.standard_normal((5_000, 768)).astype(np.float32)
            fill(store, vectors, start=start)
        before = timings(store)
        stop, made = threading.Event(), []

        def make() -> None:
            while not stop.is_set():
                begun = time.perf_counter()
                record = store.snapshots.make()
                made.append((record["bytes"], time.perf_counter() - begun))
                store.snapshots.delete(record["name"])

        thread = threading.Thread(target=make)
        thread.start()
        try:
            during = timings(store)
        finally:
            stop.set()
            thread.join()
    assert made
    record_property("snapshots", len(made))
    record_property("snapshot_bytes", made[0][0])
    record_property("snapshot_seconds", round(float(np.median([seconds for _, seconds in made])), 3))
    for name in before:
        for percent in (50, 99):
            one, other = (float(np.percentile(part[name], percent)) for part in (before, during))
            record_property(f"{name}_ms_p{percent}", f"{one * 1e3:.2f} idle, {other * 1e3:.2f} during snapshots")
            record_property(f"{name}_ratio_p{percent}", round(other / one, 2))
    assert np.median(during["search"]) < 3 * np.median(before["search"])


def timings(store: Store, seconds: float = 15) -> dict[str, list[float]]:
    """Seconds of searches and of single writes, one after the other."""
    rng, taken = np.random.default_rng(1), {"search": [], "write": []}
    end, number = time.monotonic() + seconds, int(time.monotonic() * 1e3)
    while time.monotonic() < end:
        for _ in range(10):
            query, begun = rng.standard_normal(768).astype(np.float32), time.perf_counter()
            store.search(query, Query(limit=10))
            taken["search"].append(time.perf_counter() - begun)
        number += 1
        begun = time.perf_counter()
        fill(store, rng.standard_normal((1, 768)).astype(np.float32), start=number)
        taken["write"].append(time.perf_counter() - begun)
    return taken
