"""Restored indexes answer to the bit like those they were made of; damaged and hostile files are refused."""

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections import namedtuple
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from index import archive, restoring, room
from index.archive import END, SUMS, sums_text, write_member
from index.calibrating import Asked
from index.errors import (
    FunnelError,
    InvalidInput,
    StorageFull,
    StoreCorrupt,
    StoreFormat,
    StoreLocked,
    StoreUnavailable,
)
from index.options import StoreOptions
from index.query import Query
from index.restoring import restore
from index.rotation import QueryMap, Rotation
from index.store import Store
from index.verify import verify
from index_cases import GRAPH, fill, opened, principal, unit_vectors, until
from test_snapshots import damage

V = unit_vectors(1_600)
Q = unit_vectors(8, seed=1)
KINDS = [
    ("float32", "flat", False),
    ("float32", "hnsw", True),
    ("int8", "hnsw", False),
    ("float32", "packed", True),
    ("bfloat16", "flat", True),
]
LINKS = (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE)
EXTENDED = (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_SPARSE)
QUERIES: tuple[dict[str, Any], ...] = (
    {"limit": 20},
    {"limit": 20, "exact": True},
    {"limit": 5, "target_recall": 0.9},
    {"stages": [(8, 90), (16, 30)]},
)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A snapshot of 200 documents, one deleted, with a query map."""
    with opened(tmp_path_factory.mktemp("whole") / "data") as store:
        fill(store, V[:200])
        store.delete(["d00007"])
        store.set_query_map(QueryMap(np.eye(32) * 2))
        return store.snapshots.path(store.snapshots.make()["name"])


@pytest.fixture
def new(tmp_path: Path) -> Iterator[Path]:
    """Where to restore to; after the test nothing is left beside it."""
    yield tmp_path / "new"
    assert {path.name for path in tmp_path.iterdir()} <= {"new", "snapshot.tar"}


def restored(file: Path, target: Path, **options: Any) -> dict[str, Any]:
    """The file made a directory."""
    with file.open("rb") as stream:
        return restore(stream, target, **options)


def answers(store: Store) -> list[Any]:
    """Ids, scores to the bit, texts and metadata of many searches."""
    hits = [answer.hits for query in QUERIES for answer in store.search(Q, Query(**query))]
    found = [[(hit.doc_id, np.float64(hit.score).tobytes()) for hit in row] for row in hits]
    page, after = store.scroll(100, filter={"n": {"$gte": 1_400}}, with_vector=True)
    kept = [(d.doc_id, d.text, d.metadata, d.row, d.vector.tobytes()) for d in page if d.vector is not None]
    return [found, kept, after, store.count(), store.view.commits, store.view.generation]


@pytest.mark.parametrize(("storage", "kind", "turned"), KINDS)
def test_law_3_restored_hits_are_the_same_to_the_bit(tmp_path: Path, storage: str, kind: str, turned: bool) -> None:
    """With graph, rotation, query map and calibration; and the graph is read, not made again."""
    options = StoreOptions(storage=storage, shortlist_index=kind)
    with opened(tmp_path / "data", options) as store:
        fill(store, V[:1_500], lambda i: {"n": i})
        if kind != "flat":
            until(lambda: store.view.shortlist.older_rows == 1_500)
        if turned:
            store.rotate(Rotation(principal(V), (16, 8), "pca"))
            store.set_query_map(QueryMap(np.eye(32) + 0.1))
        if calibrated := (storage, turned) == ("float32", True):
            store.calibrate(Asked(unit_vectors(120, seed=2), "a file", True))
        fill(store, V[1_500:], lambda i: {"n": 1_500 + i}, start=1_500)
        store.delete([f"d{i:05}" for i in range(0, 1_600, 7)])
        expected = answers(store)
        name = store.snapshots.make()["name"]
        store.delete(["d00001"])  # is not in it
        told: list[tuple[str, int, int]] = []
        restored(store.snapshots.path(name), tmp_path / "new", progress=lambda *line: told.append(line))
    assert {what for what, _, _ in told} == {"restoring", "verifying"}
    assert all(done <= total for _, done, total in told)
    assert verify(tmp_path / "new").ok
    assert all(path.stat().st_mode & 0o007 == 0 for path in (tmp_path / "new").rglob("vectors-*"))
    with opened(tmp_path / "new", options) as again:
        assert again.view.shortlist.older_rows == (0 if kind == "flat" else 1_500)
        assert (again.calibration is not None) == calibrated
        assert answers(again) == expected
        fill(again, unit_vectors(3, seed=8), start=7_000)
        assert again.snapshots.make()["count"] == expected[3] + 3


def test_into_an_empty_directory_and_from_a_stream(whole: Path, tmp_path: Path) -> None:
    """Such as a mounted volume, and a pipe: the file is read once from begin to end."""
    (tmp_path / "new" / "lost+found").mkdir(parents=True)
    with subprocess.Popen(["cat", whole], stdout=subprocess.PIPE) as pipe:
        assert pipe.stdout is not None
        assert restore(pipe.stdout, tmp_path / "new")["count"] == 199
    names = {path.name for path in (tmp_path / "new").iterdir()}
    assert names == {"LOCK", "lost+found", "collections", "snapshots", "manifest.json"}
    with opened(tmp_path / "new") as store:
        assert store.count() == 199


def test_what_is_there_is_left_alone(whole: Path, tmp_path: Path) -> None:
    """A directory with anything in it, a file, or one that another process has."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InvalidInput, match=r"not empty, it holds notes\.txt; restore into a new directory"):
        restored(whole, tmp_path / "mine")
    with pytest.raises(InvalidInput, match="is not a directory"):
        restored(whole, tmp_path / "mine" / "notes.txt")
    assert [path.name for path in (tmp_path / "mine").iterdir() if path.name != "LOCK"] == ["notes.txt"]
    with opened(tmp_path / "open") as store:
        with pytest.raises(StoreLocked):
            restored(whole, tmp_path / "open")
        assert store.count() == 0
    with pytest.raises(InvalidInput, match="not empty"):
        restored(whole, tmp_path / "open")


def test_every_flipped_bit_is_noticed(whole: Path, new: Path, tmp_path: Path) -> None:
    """In headers, members and checksums, wherever it is; the member is named, and nothing stays."""
    data, copy = whole.read_bytes(), tmp_path / "snapshot.tar"
    end = len(data) - len(END)
    places = sorted({*np.linspace(0, end - 1, 40).astype(int).tolist(), 0, 600, end - 200})
    padding = 0
    for place in places:
        copy.write_bytes(data)
        damage(copy, place)
        try:
            restored(copy, new)
        except (StoreCorrupt, StoreFormat):
            assert not new.exists()
        else:  # nothing that says anything: zeros between members, or a header's time
            padding += 1
            assert verify(new).ok
            shutil.rmtree(new)
    assert padding <= 3
    place = data.index(b"SQLite format 3") + 5_000
    copy.write_bytes(data)
    damage(copy, place)
    with pytest.raises(StoreCorrupt, match=r"wrong checksum of collections/default/documents\.sqlite$"):
        restored(copy, new)


@pytest.mark.parametrize("part", [0.0, 0.001, 0.3, 0.7, 0.98])
def test_a_file_that_ends_early_is_refused(whole: Path, new: Path, tmp_path: Path, part: float) -> None:
    """With where it ends; nothing stays."""
    data = whole.read_bytes()
    (tmp_path / "snapshot.tar").write_bytes(data[: int(len(data) * part)])
    with pytest.raises((StoreCorrupt, StoreFormat), match="ends in the middle of"):
        restored(tmp_path / "snapshot.tar", new)
    assert not new.exists()


def members(path: Path) -> dict[str, bytes]:
    """What is in a snapshot."""
    with tarfile.open(path) as file:
        return {member.name: file.extractfile(member).read() for member in file}  # type: ignore[union-attr]


def sealed(parts: dict[str, bytes], head: Callable[[dict[str, Any]], None] = lambda head: None) -> bytes:
    """A snapshot of these members, with right sizes and checksums."""
    told = json.loads(parts["snapshot.json"])
    told["members"] = {name: len(data) for name, data in parts.items() if name not in ("snapshot.json", SUMS)}
    head(told)
    parts = {**parts, "snapshot.json": json.dumps(told).encode()}
    parts.pop(SUMS, None)
    file, sums = io.BytesIO(), {}
    for name, data in parts.items():
        sums[name] = write_member(file, name, len(data), [data], 0)
    text = sums_text(sums)
    write_member(file, SUMS, len(text), [text], 0)
    return file.getvalue() + END


@pytest.mark.parametrize(
    "name",
    ["../evil", "/tmp/evil", "collections/default/../../evil", "collections/default/x.pkl", "evil", "a\\b", "LOCK",
     "collections/default/documents.sqlite-wal", "collections/default/rotation-../../../e.npy", "snapshots/x.tar",
     "collections/default/vectors-1.bin/x", "manifest.json\n", "Manifest.json"],
)  # fmt: skip
def test_members_of_other_names_are_refused(whole: Path, new: Path, tmp_path: Path, name: str) -> None:
    """Whatever their checksums say: nothing is ever written that is no file of an index."""
    (tmp_path / "snapshot.tar").write_bytes(sealed(members(whole) | {name: b"evil"}))
    with pytest.raises(StoreFormat, match="no file of an index has the name"):
        restored(tmp_path / "snapshot.tar", new)
    assert not new.exists()


@pytest.mark.parametrize("kind", LINKS + EXTENDED)
@pytest.mark.parametrize("first", [True, False])
def test_what_is_no_plain_file_is_refused(
    whole: Path, new: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: bytes, first: bool
) -> None:
    """Links, devices, directories and extended headers, in the place of any member."""
    real = tarfile.TarInfo.tobuf
    wanted = "snapshot.json" if first else "collections/default/vectors-1.bin"

    def other(self: tarfile.TarInfo, *arguments: Any) -> bytes:
        if self.name == wanted:
            self.type, self.linkname = kind, "/etc/passwd"
        return real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(tarfile.TarInfo, "tobuf", other)
        (tmp_path / "snapshot.tar").write_bytes(sealed(members(whole)))
    with pytest.raises(StoreFormat, match="is not a plain file"):
        restored(tmp_path / "snapshot.tar", new)
    assert not new.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda head: head.update(version=9), "version 9; this program reads version 1"),
        (lambda head: head.update(format="zip"), "has format 'zip'"),
        (lambda head: head.pop("members"), "does not say what one says"),
        (lambda head: head.update(members=[]), "does not say what one says"),
        (lambda head: head["members"].update({"manifest.json": -1}), "does not say what one says"),
        (lambda head: head["members"].update({"manifest.json": 10**15}), "expected 'manifest.json' of 1,000,000,000"),
        (lambda head: head["members"].pop("manifest.json"), "it has no manifest.json"),
        (lambda head: head.update(padding="x" * (2 << 20)), "at most 1,048,576 are read"),
    ],
)
def test_headers_that_say_other_things_are_refused(
    whole: Path, new: Path, tmp_path: Path, change: Callable[[dict[str, Any]], None], message: str
) -> None:
    """With what is wrong; nothing stays, and nothing large is read."""
    (tmp_path / "snapshot.tar").write_bytes(sealed(members(whole), change))
    with pytest.raises(StoreFormat, match=message):
        restored(tmp_path / "snapshot.tar", new)
    assert not new.exists()


def test_a_checked_snapshot_that_contradicts_itself_is_refused(whole: Path, new: Path, tmp_path: Path) -> None:
    """Checksums say that bytes are those written; the index's own laws are looked at as well."""
    parts = members(whole)
    name = "collections/default/vectors-1.bin"
    (tmp_path / "snapshot.tar").write_bytes(sealed(parts | {name: parts[name][128:] + parts[name][:128]}))
    with pytest.raises(StoreCorrupt, match="does not agree with itself: vector checksums"):
        restored(tmp_path / "snapshot.tar", new)
    without = {key: value for key, value in parts.items() if "query-map" not in key}
    (tmp_path / "snapshot.tar").write_bytes(sealed(without))
    with pytest.raises(StoreCorrupt, match="query-map"):
        restored(tmp_path / "snapshot.tar", new)
    assert not new.exists()


def test_room_is_looked_for_first(whole: Path, new: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With both numbers; a disk that fills up meanwhile is told as such."""
    usage = namedtuple("usage", "total used free")
    size = whole.stat().st_size
    with monkeypatch.context() as patch:
        patch.setattr(room.shutil, "disk_usage", lambda path: usage(9, 9, 5))
        with pytest.raises(StorageFull, match=rf"the snapshot needs {size:,} bytes on the disk of .*, 5 are free"):
            restored(whole, new, size=size)
    for code, kind in ((28, StorageFull), (5, StoreUnavailable)):

        def failing(*_: Any, code: int = code) -> None:
            raise OSError(code, os.strerror(code))

        with monkeypatch.context() as patch:
            patch.setattr(restoring.os, "fsync", failing)
            with pytest.raises(kind, match="nothing"):
                restored(whole, new)
    assert not new.exists()


def test_interrupted_leaves_nothing(whole: Path, new: Path) -> None:
    """Ctrl-C while it writes and while it verifies."""
    for stage in ("restoring", "verifying"):

        def stop(what: str, done: int, total: int, stage: str = stage) -> None:
            if what == stage:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            restored(whole, new, progress=stop)
        assert not new.exists()


CHILD = """
import os, sys
from pathlib import Path
from dying import die_at_each
from index.restoring import restore
import index.verify  # what is imported later would count as a step

folder = Path(sys.argv[1])

def work(dying):
    dying.before(os, "fsync", "rmdir", "unlink")
    dying.before(Path, "rename", "mkdir")
    with open(sys.argv[2], "rb") as file:
        restore(file, folder / f"{dying.last:04}")

die_at_each(range(200), work)
"""


def test_killed_anywhere_leaves_no_index_or_the_whole_one(whole: Path, tmp_path: Path) -> None:
    """SIGKILL at every step; what is not whole does not open, and the same command begins again."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    subprocess.run([sys.executable, "-c", CHILD, tmp_path, whole], env=environment, check=True)
    opens, refused = 0, 0
    for path in sorted(tmp_path.glob("0*")):
        try:
            Store.open(path, None).close()
        except FunnelError:
            refused += 1
            assert opens == 0
            assert restored(whole, path)["count"] == 199
        else:
            opens += 1
        with opened(path) as store:
            assert store.count() == 199
    assert opens > 1
    assert refused > 5


def test_a_directory_cannot_be_made_when_it_is_left_half_restored(whole: Path, tmp_path: Path) -> None:
    """A service that is started on it says so instead of beginning an empty index."""
    (tmp_path / "new" / restoring.STAGING).mkdir(parents=True)
    with pytest.raises(StoreFormat, match=r"holds \.restoring"):
        opened(tmp_path / "new")
    assert restored(whole, tmp_path / "new")["count"] == 199


def test_checksums_are_read_strictly() -> None:
    """A line that is no checksum, or a name twice, is refused."""
    good = b"a" * 64 + b"  x\n"
    assert archive.parsed_sums(good) == {"x": "a" * 64}
    for bad in (b"\n", b"abc  x\n", good + good, b"\xff" * 70):
        with pytest.raises(StoreCorrupt, match="no checksum"):
            archive.parsed_sums(bad)


def test_a_member_of_another_length_is_never_written() -> None:
    """A file that shrank or grew while it was read would make a tar that nobody can read."""
    for data in (b"four", b"sixsix"):
        with pytest.raises(StoreCorrupt, match="bytes, expected 5"):
            write_member(io.BytesIO(), "x", 5, [data], 0)


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One of five kinds of damage."""
    changed, place = bytearray(data), int(rng.integers(len(data)))
    match rng.integers(5):
        case 0:
            changed[place] ^= 1 << int(rng.integers(8))
        case 1:
            changed[place : place + 64] = rng.bytes(len(changed[place : place + 64]))
        case 2:
            del changed[place:]
        case 3:
            changed += rng.bytes(512)
        case _:
            changed[place : place + 512] = bytes(len(changed[place : place + 512]))
    return bytes(changed)


@pytest.mark.long
def test_what_was_changed_and_sealed_again(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Members damaged at random, sizes and checksums made to fit: refused in our words, or an index that opens."""
    with opened(tmp_path / "data", GRAPH) as store:
        fill(store, V[:1_200], lambda i: {"n": i})
        until(lambda: store.view.shortlist.older_rows == 1_200)
        store.rotate(Rotation(principal(V), (16, 8), "pca"))
        store.set_query_map(QueryMap(np.eye(32) * 2))
        parts = members(store.snapshots.path(store.snapshots.make()["name"]))
    rng, refused, names = np.random.default_rng(0), 0, [name for name in parts if name not in ("snapshot.json", SUMS)]
    for _ in range(2_000):
        name = str(rng.choice(names))
        try:
            restore(io.BytesIO(sealed({**parts, name: mutated(parts[name], rng)})), tmp_path / "new")
        except FunnelError:
            refused += 1
            assert not (tmp_path / "new").exists()
        else:
            Store.open(tmp_path / "new", None).close()
            shutil.rmtree(tmp_path / "new")
    record_property("snapshots", 2_000)
    record_property("refused", refused)
    assert 1_600 < refused < 2_000
