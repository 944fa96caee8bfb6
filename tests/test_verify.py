"""Every kind of damage is found, and named."""

import contextlib
import re
import sqlite3
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from index.codec import make_codec
from index.document import Document
from index.errors import StoreCorrupt, StoreFormat, StoreLocked
from index.layout import Layout
from index.options import StoreOptions
from index.store import Store
from index.vectors import VectorFile
from index.verify import verify
from index_cases import GRAPH, SPACE, fill, opened, unit_vectors, until

COUNT = 1_200
V = unit_vectors(COUNT)
NAMES = ["manifest", "write-ahead log", "snapshots", "calibration", "documents file", "rows", "ids"]
NAMES += ["texts and metadata", "inverted metadata", "other files", "shortlist snapshot"]
NAMES += ["vector checksums", "vector norms"]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A closed store of 1,200 documents with a graph, some of them replaced and deleted."""
    with opened(tmp_path / "data", GRAPH) as store:
        fill(store, V, lambda i: {"n": i, "tags": ["a", {"b": None}], "same": [1, 1.0]})
        changed = [Document(f"d{i:05}", "other", metadata={"n": -i}) for i in range(3, 8)]
        store.write(changed, dict(enumerate(V[5:10])))
        store.delete(["d00100", "d00004"])
        until(lambda: any(store.layout.collection.glob("shortlist-*.faiss")))
    return Layout(tmp_path / "data")


def flip(path: Path, offset: int) -> None:
    """Change one bit."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def run(layout: Layout, sql: str) -> None:
    """Change the documents behind the store's back."""
    with sqlite3.connect(layout.documents) as db:
        db.execute(sql)
    db.close()


def failures(layout: Layout) -> dict[str, str]:
    """Names and details of the checks that failed."""
    report = verify(layout.root)
    assert [check.name for check in report.checks] == NAMES
    assert report.ok == all(check.ok for check in report.checks)
    return {check.name: check.detail for check in report.checks if not check.ok}


def test_a_sound_directory_passes(layout: Layout) -> None:
    """After writes, replacements, deletions and a merge; progress is told, and nothing is changed by looking."""
    seen: list[tuple[int, int]] = []
    report = verify(layout.root, lambda done, total: seen.append((done, total)))
    assert report.ok, report.checks
    assert report.count == COUNT - 2
    assert seen[-1] == (COUNT + 5, COUNT + 5)
    assert verify(layout.root) == report


@pytest.mark.parametrize("storage", ["bfloat16", "int8"])
def test_lossy_types_pass(tmp_path: Path, storage: str) -> None:
    """Their rounding is no damage, in vectors, prefixes or int8 graphs."""
    options = StoreOptions(storage=storage, shortlist_index="hnsw", shortlist_codes="int8")
    with opened(tmp_path / "data", options) as store:
        fill(store, V)
        until(lambda: any(store.layout.collection.glob("shortlist-*.faiss")))
    report = verify(tmp_path / "data")
    assert report.ok, report.checks


def test_a_first_start_that_ended_before_its_vectors_passes(tmp_path: Path) -> None:
    """Nothing was stored, so nothing is lost."""
    opened(tmp_path / "data").close()
    layout = Layout(tmp_path / "data")
    layout.vectors(1).unlink()
    layout.checksums(1).unlink()
    assert verify(tmp_path / "data").ok


def test_an_empty_index_passes(tmp_path: Path) -> None:
    """There is nothing wrong with nothing."""
    opened(tmp_path / "data").close()
    assert verify(tmp_path / "data").ok


ROW = SPACE.dim * 4


@pytest.mark.parametrize(
    ("damage", "check", "detail"),
    [
        (lambda at: flip(at.vectors(1), 701 * ROW - 3), "vector checksums", "700"),
        (lambda at: flip(at.checksums(1), 701 * 4), "vector checksums", "701"),
        (lambda at: flip(next(at.collection.glob("*.faiss")), 5_000), "shortlist snapshot", "unreadable"),
        (lambda at: next(at.collection.glob("*.faiss")).unlink(), "shortlist snapshot", "unreadable"),
        (lambda at: run(at, "UPDATE documents SET text = 'x' WHERE row = 17"), "texts and metadata", "17"),
        (lambda at: run(at, "UPDATE documents SET title = 'x' WHERE row = 17"), "texts and metadata", "17"),
        (lambda at: run(at, "DELETE FROM metadata WHERE key = 'n' AND row = 9"), "inverted metadata", "9"),
        (lambda at: run(at, "INSERT INTO metadata VALUES ('n', 'n', 1, 4)"), "inverted metadata", "expected"),
        (lambda at: run(at, "UPDATE metadata SET value = 5 WHERE key = 'n' AND row = 9"), "inverted metadata", "9"),
        (lambda at: run(at, "UPDATE metadata SET type = 's' WHERE key = 'n' AND row = 9"), "inverted metadata", "9"),
        (lambda at: run(at, "UPDATE documents SET row = 5000 WHERE row = 50"), "rows", "5000"),
        (lambda at: run(at, "UPDATE seal SET rows = rows + 1"), "rows", "the sum"),
    ],
)
def test_damage_is_found(layout: Layout, damage: Callable[[Layout], None], check: str, detail: str) -> None:
    """By the check whose task it is, which names the place."""
    damage(layout)
    found = failures(layout)
    assert detail in found[check]
    if check != "rows":
        assert list(found) == [check]


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ("""rotation = '{"rotation": {}}'""", "rotation names no file"),
        ("""rotation = '{"query_map": {"file": "x", "crc32": "0"}}'""", "query_map names no file"),
        ("storage = 'float8'", "storage must be one of .* got 'float8'"),
    ],
)
def test_a_state_that_cannot_be_used_is_told(layout: Layout, change: str, why: str) -> None:
    """Somebody may have made it, checksum and all, as in a snapshot that is restored."""
    run(layout, f"UPDATE state SET {change}")
    last = verify(layout.root).checks[-1]
    assert (last.name, last.ok) == ("documents file", False)
    assert re.search(why, last.detail)
    with pytest.raises(StoreCorrupt, match=why):
        opened(layout.root)


def test_changed_metadata_is_found_twice(layout: Layout) -> None:
    """It neither agrees with its hash nor with the inverted table."""
    run(layout, """UPDATE documents SET metadata = '{"n":-1}' WHERE row = 20""")
    assert list(failures(layout)) == ["texts and metadata", "inverted metadata"]


def test_a_vector_that_was_never_normalised_is_found(layout: Layout) -> None:
    """Even when its checksum agrees; of a dead row it does not matter."""
    file = VectorFile(layout.vectors(1), layout.checksums(1), make_codec("float32", SPACE.dim))
    for row, vector in ((100, np.zeros(SPACE.dim)), (900, V[900] * 2), (901, np.full(SPACE.dim, np.nan))):
        file.write(row, vector.astype("<f4").view(np.uint8)[None])
    file.close()
    found = failures(layout)
    assert found["vector norms"].endswith("wrong in rows 900, 901")
    assert "vector checksums" not in found


def test_a_damaged_page_of_the_documents_is_found_or_refused(layout: Layout) -> None:
    """Never taken for sound."""
    pages = layout.documents.stat().st_size // 4096
    for page in range(1, pages, max(1, pages // 12)):
        kept = layout.documents.read_bytes()
        layout.documents.write_bytes(kept[: page * 4096] + b"\xa5" * 4096 + kept[(page + 1) * 4096 :])
        with contextlib.suppress(StoreCorrupt):
            assert not verify(layout.root).ok
        layout.documents.write_bytes(kept)
    assert verify(layout.root).ok


def test_what_cannot_be_looked_at_is_an_error(layout: Layout, tmp_path: Path) -> None:
    """Nothing there, or open elsewhere."""
    with pytest.raises(StoreFormat):
        verify(tmp_path / "none")
    with Store.open(layout.root, None), pytest.raises(StoreLocked):
        verify(layout.root)


@pytest.mark.parametrize(
    ("damage", "check", "detail"),
    [
        (lambda at: flip(at.manifest, 30), "manifest", "manifest"),
        (lambda at: at.calibration.write_text("{}"), "calibration", "checksum"),
        (lambda at: (at.snapshots / "a.tar").write_bytes(bytes(100)), "snapshots", "a.tar"),
    ],
)
def test_files_beside_are_checked(layout: Layout, damage: Callable[[Layout], None], check: str, detail: str) -> None:
    """Each finding says what is lost and what to do."""
    damage(layout)
    (found,) = (one for one in verify(layout.root).checks if not one.ok)
    assert (found.name, detail in found.detail) == (check, True)
    assert "lost" in found.advice or "derived" in found.advice


def test_a_snapshot_is_read_to_its_last_byte(layout: Layout) -> None:
    """A whole one passes; any flipped bit in it is found."""
    with Store.open(layout.root, None) as store:
        store.snapshots.make(name="kept")
    path = layout.snapshots / "kept.tar"
    assert verify(layout.root).ok
    for offset in range(3_000, path.stat().st_size - 1_024, path.stat().st_size // 7):
        kept = path.read_bytes()
        flip(path, offset)
        assert [one.name for one in verify(layout.root).checks if not one.ok] == ["snapshots"]
        path.write_bytes(kept)


def test_other_files_are_named(layout: Layout) -> None:
    """They are no fault."""
    (layout.collection / "vectors-7.bin").write_text("left")
    (found,) = (one for one in verify(layout.root).checks if one.name == "other files")
    assert found.ok
    assert "vectors-7.bin" in found.detail
