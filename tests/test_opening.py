"""Opening a data directory, whatever is found there."""

import json
import os
import sqlite3
from pathlib import Path

import pytest

from index.errors import FingerprintMismatch, StoreCorrupt, StoreFormat, StoreLocked
from index.layout import Layout, acquire_lock
from index.options import StoreOptions
from index.query import Query
from index.space import Space
from index.store import Store
from index_cases import SPACE, fill, opened, unit_vectors

V = unit_vectors(20)


def made(path: Path) -> Layout:
    """A closed store of 20 documents."""
    with opened(path) as store:
        fill(store, V)
    return Layout(path)


def test_a_directory_is_made_with_its_parents(tmp_path: Path) -> None:
    """And its manifest says what it is."""
    layout = made(tmp_path / "a" / "b")
    manifest = json.loads(layout.manifest.read_text())
    assert (manifest["format"], manifest["version"]) == ("funnel-search", 1)
    assert {path.name for path in layout.root.iterdir()} == {"manifest.json", "LOCK", "snapshots", "collections"}
    assert {path.name for path in layout.collection.iterdir()} == {
        "documents.sqlite",
        "vectors-1.bin",
        "vectors-1.crc",
    }


def test_a_space_is_remembered(tmp_path: Path) -> None:
    """Without naming one, the stored space is used; it can be read without opening, even of an open store."""
    assert Store.stored_space(tmp_path / "data") is None
    with opened(tmp_path / "data"):
        assert Store.stored_space(tmp_path / "data") == SPACE
    assert Store.stored_space(tmp_path / "data") == SPACE
    with Store.open(tmp_path / "data", None) as store:
        assert store.space == SPACE


def test_nothing_is_made_without_a_space(tmp_path: Path) -> None:
    """There is no width to make an index with."""
    with pytest.raises(StoreFormat, match="there is no index in"):
        Store.open(tmp_path / "data", None)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    ("space", "message"),
    [
        (Space(16, 8, {"model": "test"}), r"dim: 32 \(stored\) != 16 \(asked for\)"),
        (Space(32, 8, {"model": "other"}), "model: 'test'"),
        (Space(32, 8, {"model": "test", "prompt": "q"}), "prompt: None"),
        (Space(32, 8), "model: 'test'.*None"),
    ],
)
def test_another_space_is_refused_and_the_difference_named(tmp_path: Path, space: Space, message: str) -> None:
    """Law 8; and the directory stays usable."""
    made(tmp_path / "data")
    with pytest.raises(FingerprintMismatch, match=message):
        Store.open(tmp_path / "data", space)
    with opened(tmp_path / "data") as store:
        assert store.count() == 20


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """The second is told who has it; after closing it may come in."""
    with opened(tmp_path / "data"), pytest.raises(StoreLocked, match=f"pid {os.getpid()}"):
        opened(tmp_path / "data")
    opened(tmp_path / "data").close()


def test_a_failed_opening_leaves_nothing_open(tmp_path: Path) -> None:
    """Neither the lock nor any file."""
    layout = made(tmp_path / "data")
    kept = layout.vectors(1).read_bytes()
    layout.vectors(1).unlink()
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with pytest.raises(StoreCorrupt, match=r"vectors-1\.bin"):
            opened(tmp_path / "data")
    assert sorted(os.listdir("/proc/self/fd")) == before
    layout.vectors(1).write_bytes(kept)
    with opened(tmp_path / "data") as store:
        assert store.count() == 20


@pytest.mark.parametrize(
    "left",
    [
        ["LOCK"],
        ["LOCK", "collections/"],
        ["LOCK", "collections/", "collections/default/"],
        ["LOCK", "collections/", "collections/default/", "snapshots/"],
        ["LOCK", "collections/", "collections/default/", "snapshots/", "manifest.tmp"],
        ["lost+found/"],
    ],
    ids=len,
)
def test_an_interrupted_first_start_is_taken_up(tmp_path: Path, left: list[str]) -> None:
    """Killed between any two steps of making a directory, the next start makes it."""
    for name in left:
        path = tmp_path / name
        path.mkdir() if name.endswith("/") else path.write_text("{")
    with opened(tmp_path) as store:
        fill(store, V)
    with opened(tmp_path) as store:
        assert store.count() == 20


def test_a_start_killed_before_the_documents_were_made_is_taken_up(tmp_path: Path) -> None:
    """With the manifest alone, and with a database that has no tables yet."""
    opened(tmp_path).close()
    layout = Layout(tmp_path)
    for path in layout.collection.iterdir():
        path.unlink()
    layout.documents.touch()
    with opened(tmp_path) as store:
        fill(store, V)
        assert store.count() == 20


@pytest.mark.parametrize("name", ["notes.txt", "collections/default/documents.sqlite"])
def test_a_foreign_or_headless_directory_is_refused(tmp_path: Path, name: str) -> None:
    """What holds other files, or an index without its manifest, is not written over."""
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(StoreFormat, match=Path(name).name):
        opened(tmp_path)
    assert (tmp_path / name).read_text() == "mine"


@pytest.mark.parametrize(
    "manifest", ["", "[]", "{}", '{"format": "other", "version": 1}', '{"format": "funnel-search", "version": 2}']
)
def test_another_format_is_refused(tmp_path: Path, manifest: str) -> None:
    """By its manifest."""
    made(tmp_path / "data").manifest.write_text(manifest)
    with pytest.raises(StoreFormat):
        opened(tmp_path / "data")


def test_lost_documents_are_not_made_anew_over_their_vectors(tmp_path: Path) -> None:
    """The vectors may still be wanted when the file comes back."""
    layout = made(tmp_path / "data")
    kept = layout.documents.read_bytes()
    for lost in (layout.documents.unlink, lambda: layout.documents.write_bytes(b"")):
        lost()
        for space in (SPACE, None):
            with pytest.raises(StoreCorrupt, match=r"documents\.sqlite"):
                Store.open(tmp_path / "data", space)
    layout.documents.write_bytes(kept)
    with opened(tmp_path / "data") as store:
        assert store.search(V[3], Query(limit=1))[0].hits[0].doc_id == "d00003"


def test_what_an_interrupted_repair_left_goes(tmp_path: Path) -> None:
    """It holds a copy of the documents, and with it what is deleted and erased later."""
    layout = made(tmp_path / "data")
    (layout.collection / "repair.tmp").mkdir()
    (layout.collection / "repair.tmp" / "documents.sqlite").write_text("a text")
    (layout.collection / "repairing").write_text("documents.sqlite.damaged-1")
    opened(tmp_path / "data").close()
    assert not list(layout.collection.glob("repair*"))


@pytest.mark.parametrize("sql", ["UPDATE state SET rows = 21", "UPDATE state SET rows = 5", "DELETE FROM state"])
def test_a_state_that_disagrees_with_the_files_is_corrupt(tmp_path: Path, sql: str) -> None:
    """More rows than vectors, fewer than documents, or none."""
    layout = made(tmp_path / "data")
    with sqlite3.connect(layout.documents) as db:
        db.execute(sql)
    db.close()
    with pytest.raises(StoreCorrupt):
        Store.open(tmp_path / "data", SPACE if "UPDATE" in sql else None)


def test_another_space_names_the_setting_of_the_directory(tmp_path: Path) -> None:
    """It is what chooses another one."""
    made(tmp_path / "data")
    with pytest.raises(FingerprintMismatch, match="FUNNEL_DATA_DIR"):
        Store.open(tmp_path / "data", Space(32, 8, {"model": "other"}))


def test_rows_past_the_committed_ones_are_ignored_and_overwritten(tmp_path: Path) -> None:
    """As a kill between the vectors and the commit leaves them."""
    layout = made(tmp_path / "data")
    with layout.vectors(1).open("ab") as data, layout.checksums(1).open("ab") as sums:
        data.write(b"\xff" * 1_000)
        sums.write(b"\xff" * 30)
    with opened(tmp_path / "data") as store:
        assert store.count() == store.stats()["rows"] == 20
        fill(store, V, start=20)
        assert [store.search(v, Query(exact=True, limit=2))[0].hits[1].doc_id for v in V] == [
            f"d{i:05}" for i in range(20, 40)
        ]


def test_the_stored_type_stays(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An option for new directories does not touch an old one, and says so."""
    made(tmp_path / "data")
    with opened(tmp_path / "data", StoreOptions(storage="int8")) as store:
        assert store.stats()["storage"] == "float32"
    assert "storage=int8 is for new ones" in caplog.text


def test_the_lock_names_its_holder(tmp_path: Path) -> None:
    """By the process id, which is written anew each time."""
    layout = Layout(tmp_path)
    layout.lock.write_text("99999999")
    with acquire_lock(layout), pytest.raises(StoreLocked, match=f"pid {os.getpid()}"):
        acquire_lock(layout)
