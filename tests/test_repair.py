"""Damage is mended where that can be proved; what is lost is saved first, and named."""

import errno
import json
import os
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from index import repair as module
from index.document import Document
from index.errors import StorageFull, StoreCorrupt, StoreFormat, StoreLocked
from index.layout import Layout
from index.query import Query
from index.repair import repair
from index.store import Store
from index.verify import verify
from index_cases import GRAPH, SPACE, fill, opened, unit_vectors, until
from test_compaction import small_disk
from test_integrity import change, flip

COUNT = 120
V = unit_vectors(COUNT)
ROW = SPACE.dim * 4


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A closed store: 117 documents whose vectors a model could make again, and d00119 with one of its own."""
    with opened(tmp_path / "data") as store:
        fill(store, V[:-1], lambda i: {"n": i, "tags": ["a", "b"]})
        store.write([Document("d00119", "its own", metadata={"n": 119}, vector=V[119])], {})
        store.delete(["d00007", "d00008"])
    return Layout(tmp_path / "data")


def lost(layout: Layout) -> list[dict]:
    """What was saved."""
    (path,) = layout.root.glob("lost-*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def whole(layout: Layout, but: frozenset[str] = frozenset()) -> None:
    """Every document but these is found by its vector, with its text and its metadata."""
    assert verify(layout.root).ok, [check for check in verify(layout.root).checks if not check.ok]
    with Store.open(layout.root, None) as store:
        assert store.count() == COUNT - 2 - len(but)
        for i in range(COUNT):
            doc_id = f"d{i:05}"
            if doc_id in but or i in (7, 8):
                continue
            (hit,) = store.search(V[i], Query(limit=1, filter={"n": i}))[0].hits
            assert (hit.doc_id, hit.text) == (doc_id, "its own" if i == 119 else f"text of {doc_id}")
            assert hit.score > 0.9999


def test_nothing_is_done_to_a_sound_directory(layout: Layout) -> None:
    """No file changes."""
    before = {path: path.read_bytes() for path in layout.root.rglob("*") if path.is_file() and path.name != "LOCK"}
    assert repair(layout.root) == []
    assert before == {path: path.read_bytes() for path in before}


def renamed(layout: Layout, doc_id: bytes) -> None:
    """Another id for d00017 in the table; the index of the ids stays."""
    data = layout.documents.read_bytes()
    at = data.index(b"d00017text of d00017")
    layout.documents.write_bytes(data[:at] + doc_id + data[at + 6 :])


def misindexed(layout: Layout) -> None:
    """Another id for d00017 in the index of the ids, where it does not belong."""
    data = layout.documents.read_bytes()
    at = next(at for at in range(len(data)) if data.startswith(b"d00017", at) and data[at + 6 : at + 8] != b"te")
    layout.documents.write_bytes(data[:at] + b"d00057" + data[at + 6 :])


MENDED: dict[str, Callable[[Layout], object]] = {
    "vector": lambda at: flip(at.vectors(1), 17 * ROW + 77, 3),
    "two vectors": lambda at: (flip(at.vectors(1), 17 * ROW + 3, 6), flip(at.vectors(1), 99 * ROW, 0)),
    "checksum": lambda at: flip(at.checksums(1), 17 * 4 + 2, 5),
    "own vector": lambda at: flip(at.vectors(1), 119 * ROW + 5, 5),
    "all checksums": lambda at: at.checksums(1).write_bytes(b""),
    "some checksums": lambda at: at.checksums(1).write_bytes(at.checksums(1).read_bytes()[:101]),
    "no checksums": lambda at: at.checksums(1).unlink(),
    "manifest": lambda at: flip(at.manifest, 40),
    "no manifest": lambda at: at.manifest.unlink(),
    "calibration": lambda at: at.calibration.write_text("x"),
    "text": lambda at: change(at, "UPDATE documents SET text = 'uext of d00017' WHERE row = 17"),
    "metadata": lambda at: change(at, """UPDATE documents SET metadata = '{"n":16,"tags":["a","b"]}' WHERE row = 17"""),
    "document hash": lambda at: flip_in(at, "document_hash"),
    "content hash": lambda at: flip_in(at, "content_hash"),
    "inverted entry": lambda at: change(at, "UPDATE metadata SET value = 16 WHERE key = 'n' AND row = 17"),
    "lost entries": lambda at: change(at, "DELETE FROM metadata WHERE row > 50"),
    "generation": lambda at: change(at, "UPDATE state SET generation = 3"),
    "rows": lambda at: change(at, "UPDATE state SET rows = rows + 128"),
    "space": lambda at: change(at, "UPDATE state SET space = replace(space, 'test', 'uest')"),
    "seal": lambda at: change(at, "UPDATE seal SET state = state + 1 - 2 * (state % 2)"),
    "seal of another type": lambda at: change(at, "UPDATE seal SET state = x'00ff'"),
    "row sums of another type": lambda at: change(at, "UPDATE seal SET count = 'x', rows = x'00'"),
    "row sums": lambda at: change(at, "UPDATE seal SET rows = rows + 8"),
    "an id that another document has": lambda at: renamed(at, b"d00057"),
    "an id in the index": lambda at: misindexed(at),
    "index of ids": lambda at: unindexed(at),
    "definition": lambda at: redefined(at),
}


def flip_in(layout: Layout, column: str) -> None:
    """One bit of a hash of row 17."""
    db = sqlite3.connect(layout.documents)
    (old,) = db.execute(f"SELECT {column} FROM documents WHERE row = 17").fetchone()
    db.close()
    change(layout, f"UPDATE documents SET {column} = x'{bytes([old[0] ^ 4, *old[1:]]).hex()}' WHERE row = 17")


def unindexed(layout: Layout) -> None:
    """The index of the ids is emptied, as by a page of zeros that makes sense."""
    db = sqlite3.connect(layout.documents)
    (root,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_documents_1'").fetchone()
    db.close()
    data = bytearray(layout.documents.read_bytes())
    data[(root - 1) * 4096 : root * 4096] = b"\x0a\0\0\0\0\x10\0\0" + bytes(4088)
    layout.documents.write_bytes(data)


def redefined(layout: Layout) -> None:
    """One letter of a table's definition."""
    data = layout.documents.read_bytes()
    assert data.count(b"key TEXT NOT NULL") == 1
    layout.documents.write_bytes(data.replace(b"key TEXT NOT NULL", b"key UEXT NOT NULL"))


@pytest.mark.parametrize("damage", MENDED.values(), ids=MENDED.keys())
def test_what_can_be_mended_is(layout: Layout, damage: Callable[[Layout], object]) -> None:
    """Without a model; every document, vector and filter is as it was, and nothing is lost."""
    damage(layout)
    layout.words(1).write_bytes(b"words of the texts before")
    assert repair(layout.root)
    assert not list(layout.root.glob("lost-*"))
    assert not layout.words(1).exists()
    whole(layout)


def test_a_graph_is_dropped_and_made_again(tmp_path: Path) -> None:
    """And so is one whose vectors were."""
    rows = unit_vectors(1_200)
    with opened(tmp_path / "data", GRAPH) as store:
        fill(store, rows)
        until(lambda: any(store.layout.collection.glob("shortlist-*.faiss")))
    (graph,) = Layout(tmp_path / "data").collection.glob("shortlist-*.faiss")
    flip(graph, 9_000)
    assert any("graph" in line for line in repair(tmp_path / "data"))
    assert verify(tmp_path / "data").ok
    with opened(tmp_path / "data", GRAPH) as store:
        assert store.search(rows[44], Query(limit=1))[0].hits[0].doc_id == "d00044"


def zero(layout: Layout, first: int, last: int) -> None:
    """Vectors become zeros."""
    with layout.vectors(1).open("r+b") as file:
        file.seek(first * ROW)
        file.write(bytes((last - first) * ROW))


def test_damaged_vectors_are_embedded_again(layout: Layout) -> None:
    """From their texts; a vector of the user's own cannot be, so its document is saved and leaves."""
    zero(layout, 10, 13)
    zero(layout, 119, 120)
    asked: list[str] = []

    def embed(texts: list[str]) -> np.ndarray:
        asked.extend(texts)
        return np.stack([V[int(text[-5:])] * 3 for text in texts])

    told = repair(layout.root, embed)
    assert asked == [f"text of d{i:05}" for i in (10, 11, 12)]
    assert any("'d00119' (row 119): its vector is damaged" in line for line in told)
    assert [one["id"] for one in lost(layout)] == ["d00119"]
    whole(layout, frozenset(["d00119"]))


def test_without_a_model_documents_are_saved_and_leave(layout: Layout) -> None:
    """What was saved can be ingested again; the damaged file is kept."""
    zero(layout, 10, 12)
    change(layout, "UPDATE documents SET text = 'nothing like it' WHERE row = 119")
    assert len(repair(layout.root)) >= 4
    saved = lost(layout)
    assert [one["id"] for one in saved] == ["d00119", "d00010", "d00011"]
    assert saved[1] == {"id": "d00010", "text": "text of d00010", "metadata": {"n": 10, "tags": ["a", "b"]}}
    assert saved[0]["text"] == "nothing like it"
    assert "vector" in saved[0]
    assert len(list(layout.collection.glob("documents.sqlite.damaged-*"))) == 1
    whole(layout, frozenset(["d00010", "d00011", "d00119"]))
    with Store.open(layout.root, None) as store:
        store.write(
            [Document(one["id"], one["text"], metadata=one["metadata"]) for one in saved[1:]], {0: V[10], 1: V[11]}
        )
    whole(layout, frozenset(["d00119"]))


def test_an_id_with_two_values_is_saved_under_one_and_both_are_named(layout: Layout) -> None:
    """No hash tells which is right."""
    renamed(layout, b"e00017")
    told = repair(layout.root)
    assert any("'e00017' in the table and 'd00017' in the index of the ids" in line for line in told)
    assert [one["text"] for one in lost(layout)] == ["text of d00017"]
    whole(layout, frozenset(["d00017"]))


def test_a_dry_run_and_a_no_change_nothing(layout: Layout) -> None:
    """But they say what would be done."""
    zero(layout, 10, 12)
    flip(layout.manifest, 40)
    before = {path: path.read_bytes() for path in layout.root.rglob("*") if path.is_file() and path.name != "LOCK"}
    told = repair(layout.root, dry_run=True)
    assert told[-1].startswith("the documents file is made anew of 116 documents")
    heard: list[list[str]] = []
    assert [line.split("lost-")[0] for line in repair(layout.root, agree=lambda lines: bool(heard.append(lines)))]
    assert len(heard) == 1
    after = {path: path.read_bytes() for path in layout.root.rglob("*") if path.is_file() and path.name != "LOCK"}
    assert before == after


@pytest.mark.parametrize("step", range(1, 5))
def test_an_interrupted_repair_is_taken_up(layout: Layout, step: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between any two steps of the exchange, the directory does not open; the next repair mends it."""
    change(layout, "UPDATE documents SET text = 'uext of d00017' WHERE row = 17")
    steps = iter(range(1, 100))

    def killed(path: Path) -> None:
        if next(steps) == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(module, "sync_directory", killed)
        with pytest.raises(KeyboardInterrupt):
            repair(layout.root)
    if step < 4:
        with pytest.raises(StoreFormat, match=r"no manifest"):
            opened(layout.root)
        assert repair(layout.root)
    whole(layout)


@pytest.mark.parametrize("dry_run", [True, False])
def test_what_an_earlier_repair_kept_is_not_taken_up(layout: Layout, dry_run: bool) -> None:
    """Documents that were written since would be lost, for a manifest."""
    change(layout, "UPDATE documents SET text = 'uext of d00017' WHERE row = 17")
    repair(layout.root)
    with Store.open(layout.root, None) as store:
        store.write([Document("later", "written since")], {0: V[7]})
    layout.manifest.unlink()
    assert repair(layout.root, dry_run=dry_run)[0] == "the manifest is written again"
    repair(layout.root)
    with Store.open(layout.root, None) as store:
        assert [found.text for found in store.get(["later", "d00017"])] == ["written since", "text of d00017"]
    assert len(list(layout.collection.glob("documents.sqlite.damaged-*"))) == 2


def test_the_log_is_taken_up_with_its_documents(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed, and killed again while that was taken up: what the log alone holds is not lost."""
    kept = layout.root.parent / "kept"
    with Store.open(layout.root, None) as store:
        store.write([Document("later", "in the log alone")], {0: V[7]})
        shutil.copytree(layout.collection, kept)  # as after a kill
    shutil.rmtree(layout.collection)
    kept.rename(layout.collection)
    layout.manifest.unlink()
    for place, call in [(module, "write_manifest"), (module.Path, "replace")]:
        with monkeypatch.context() as patch:
            patch.setattr(place, call, stopped_after(getattr(place, call)))
            with pytest.raises(KeyboardInterrupt):
                repair(layout.root)
            layout.manifest.unlink(missing_ok=True)
    repair(layout.root)
    with Store.open(layout.root, None) as store:
        assert store.get(["later"])[0].text == "in the log alone"


def test_a_disk_without_links_keeps_its_manifest(layout: Layout, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nothing but a repair, which fails each time, would open the directory."""
    change(layout, "UPDATE documents SET text = 'uext of d00017' WHERE row = 17")

    def refused(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    with monkeypatch.context() as patch:
        patch.setattr(module.os, "link", refused)
        with pytest.raises(OSError, match="not permitted"):
            repair(layout.root)
    with opened(layout.root) as store:
        assert store.get(["d00016"])[0].text == "text of d00016"
    assert repair(layout.root)
    whole(layout)


def stopped_after(call: Callable[..., object]) -> Callable[..., object]:
    """The same, and a kill."""

    def stopped(*about: object) -> None:
        call(*about)
        raise KeyboardInterrupt

    return stopped


@pytest.mark.parametrize("left", [2_000, 4_000, 6_000, 8_000])
def test_a_full_disk_leaves_the_documents_as_they_are(tmp_path: Path, left: int) -> None:
    """With so many KiB left; SQLite does not tell of a full disk when it closes a file."""
    with small_disk(tmp_path / "disk", 40) as disk:
        with opened(disk / "data") as store:
            texts = [Document(f"d{i:05}", f"{i} {'long text ' * 300}") for i in range(700)]
            store.write(texts, dict(enumerate(unit_vectors(700))))
        layout = Layout(disk / "data")
        layout.manifest.write_text("damaged")
        change(layout, "UPDATE documents SET metadata = '{\"m\":1}' WHERE row = 17")
        with (disk / "ballast").open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - (left << 10))
        with pytest.raises((StorageFull, OSError), match=r"[Nn]o space left .*repair\.tmp"):
            repair(layout.root)
        (disk / "ballast").unlink()
        assert repair(layout.root)
        with Store.open(layout.root, None) as store:
            assert store.count() == 699
            assert store.get(["d00699"])[0].text == texts[699].text


def test_a_state_beyond_mending_is_an_error(layout: Layout) -> None:
    """That says what to do; nothing is changed."""
    change(layout, "UPDATE state SET generation = 3, rows = 4")
    with pytest.raises(StoreCorrupt, match=r"by more than one bit.*funnel restore"):
        repair(layout.root)


def test_a_damaged_snapshot_gets_another_name(layout: Layout) -> None:
    """Nobody restores it then; the index is not touched."""
    (layout.snapshots / "old.tar").write_bytes(bytes(5_000))
    assert repair(layout.root) == ["damaged snapshots are renamed, so that nobody restores them"]
    assert [path.name.partition(".damaged-")[0] for path in layout.snapshots.iterdir()] == ["old.tar"]
    whole(layout)


def test_what_cannot_be_repaired_is_refused(layout: Layout, tmp_path: Path) -> None:
    """Nothing there, open elsewhere, or of a newer version."""
    with pytest.raises(StoreFormat, match="nothing to repair"):
        repair(tmp_path / "none")
    with Store.open(layout.root, None), pytest.raises(StoreLocked):
        repair(layout.root)
    layout.manifest.write_text('{"format": "funnel-search", "version": 9, "created": 1}')
    with pytest.raises(StoreFormat, match="newer funnel-search"):
        repair(layout.root)
