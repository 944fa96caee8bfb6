"""What SQLite takes for sound and is not: a flipped bit in the state, in a definition, in the list of rows."""

import sqlite3
from pathlib import Path

import pytest

from index.errors import StoreCorrupt
from index.layout import Layout
from index.store import Store
from index_cases import SPACE, fill, opened, unit_vectors

V = unit_vectors(20)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A closed store of 18 documents in 21 rows."""
    with opened(tmp_path / "data") as store:
        fill(store, V)
        store.write([], {})
        fill(store, V[:1] * -1, start=3)
        store.delete(["d00007", "d00008"])
    return Layout(tmp_path / "data")


def run(layout: Layout, *statements: str) -> list[tuple]:
    """Change the documents file without its triggers, as a fault of the disk does."""
    db = sqlite3.connect(layout.documents)
    with db:
        kept = db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for name, _ in kept:
            db.execute(f"DROP TRIGGER {name}")
        found = [row for statement in statements for row in db.execute(statement).fetchall()]
        for _, sql in kept:
            db.execute(sql)
    db.close()
    return found


def test_number_and_sum_of_the_rows_are_kept(layout: Layout) -> None:
    """Through writes, replacements and deletions, and a roll-back."""
    (kept,) = run(layout, "SELECT count, rows FROM seal")
    assert [kept] == run(layout, "SELECT count(*), sum(row) FROM documents")
    assert kept[0] == 18


@pytest.mark.parametrize(
    "change",
    [
        "generation = 2",
        "rows = rows + 64",
        "storage = 'float36'",
        "space = replace(space, 'test', 'tesu')",
        "commits = commits + 1",
        "snapshot = '{'",
        "pending = ''",
    ],
)
def test_a_changed_state_is_refused_and_no_file_removed(layout: Layout, change: str) -> None:
    """A generation that was never made must not make strays of the vectors."""
    before = {path.name for path in layout.collection.iterdir()}
    run(layout, f"UPDATE state SET {change}")
    for space in (SPACE, None):
        with pytest.raises(StoreCorrupt, match=r"expected \d+, found \d+; `funnel verify`.*`funnel repair`"):
            Store.open(layout.root, space)
    with pytest.raises(StoreCorrupt, match="checksum"):
        Store.stored_space(layout.root)
    assert before <= {path.name for path in layout.collection.iterdir()}


def test_a_changed_definition_is_refused(layout: Layout) -> None:
    """Another affinity would compare metadata in another way, in silence."""
    db = sqlite3.connect(layout.documents)
    with db:
        db.execute("PRAGMA writable_schema = ON")
        db.execute("UPDATE sqlite_master SET sql = replace(sql, 'type TEXT', 'type UEXT') WHERE name = 'metadata'")
    db.close()
    with pytest.raises(StoreCorrupt, match="checksum"):
        opened(layout.root)


@pytest.mark.parametrize(
    "statement", ["DELETE FROM documents WHERE row = 5", "UPDATE documents SET row = 1000007 WHERE row = 5"]
)
def test_a_lost_or_moved_row_is_refused(layout: Layout, statement: str) -> None:
    """Else its document would be missed by every search, in silence."""
    run(layout, statement)
    with pytest.raises(StoreCorrupt, match=r"row"):
        opened(layout.root)


def test_a_directory_without_a_seal_gets_one(layout: Layout) -> None:
    """As an earlier program left it; a change by hand voids the checksum alone."""
    run(layout, "DROP TABLE seal")
    db = sqlite3.connect(layout.documents)
    for name in ("state_changed", "document_added", "document_removed", "document_moved"):
        db.execute(f"DROP TRIGGER {name}")
    db.close()
    opened(layout.root).close()
    assert run(layout, "SELECT state IS NULL, count FROM seal") == [(0, 18)]
    db = sqlite3.connect(layout.documents)
    with db:
        db.execute("UPDATE state SET commits = commits + 1")
    db.close()
    with opened(layout.root) as store:
        fill(store, V[:2], start=100)
    assert run(layout, "SELECT state IS NULL, count FROM seal") == [(0, 20)]
