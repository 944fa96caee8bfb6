"""The seal of the documents file: what its state, its tables and its live rows have to add up to.

SQLite notices pages that make no sense, not a flipped bit that does. Triggers keep number and sum of the live rows,
and void the checksum of the state when anything but a transaction of ours changes it.
"""

import json
import sqlite3
import zlib

import numpy as np

from index.errors import StoreCorrupt

REPAIR = "`funnel verify` names what is damaged, `funnel repair` mends what can be mended"
STATEMENTS = (
    """CREATE TABLE IF NOT EXISTS seal (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    state INTEGER,           -- CRC-32 of the state and of all tables' definitions, NULL when it is not known
    count INTEGER NOT NULL,  -- documents
    rows INTEGER NOT NULL    -- the sum of their rows
)""",
    "INSERT OR IGNORE INTO seal SELECT 1, NULL, count(*), coalesce(sum(row), 0) FROM documents",
    """CREATE TRIGGER IF NOT EXISTS state_changed AFTER UPDATE ON state
BEGIN UPDATE seal SET state = NULL; END""",
    """CREATE TRIGGER IF NOT EXISTS document_added AFTER INSERT ON documents
BEGIN UPDATE seal SET count = count + 1, rows = rows + NEW.row; END""",
    """CREATE TRIGGER IF NOT EXISTS document_removed AFTER DELETE ON documents
BEGIN UPDATE seal SET count = count - 1, rows = rows - OLD.row; END""",
    """CREATE TRIGGER IF NOT EXISTS document_moved AFTER UPDATE OF row ON documents
BEGIN UPDATE seal SET rows = rows + NEW.row - OLD.row; END""",
)


def is_sealed(db: sqlite3.Connection) -> bool:
    """Whether the file has a seal: one of an earlier program has none."""
    return db.execute("SELECT 1 FROM sqlite_master WHERE name = 'seal'").fetchone() is not None


def is_whole(db: sqlite3.Connection) -> bool:
    """Whether the seal is there and says something about the state."""
    return is_sealed(db) and db.execute("SELECT 1 FROM seal WHERE state IS NOT NULL").fetchone() is not None


def make_seal(db: sqlite3.Connection) -> None:
    """Inside a transaction: give the file its seal, of what it holds now, if it has none."""
    for statement in STATEMENTS:
        db.execute(statement)


def press(db: sqlite3.Connection) -> None:
    """At the end of a transaction that changed the state: its checksum. Who changes a definition voids it before."""
    if db.execute("SELECT state FROM seal").fetchone() == (None,):
        db.execute("UPDATE seal SET state = ?", (state_checksum(db),))


def state_checksum(db: sqlite3.Connection) -> int:
    """CRC-32 of the one row of `state` and of the definitions of all tables."""
    return checksum_of(db.execute("SELECT * FROM state").fetchone(), definitions(db))


def checksum_of(state: tuple[object, ...], tables: list[tuple[object, ...]]) -> int:
    """The same of values that may not be those of the file."""
    return zlib.crc32(json.dumps([state, tables], default=repr).encode("utf-8", "surrogatepass"))


def definitions(db: sqlite3.Connection) -> list[tuple[object, ...]]:
    """(name, SQL) of every table, index and trigger."""
    return db.execute("SELECT name, sql FROM sqlite_master ORDER BY name").fetchall()


def check_state(db: sqlite3.Connection) -> None:
    """Raise StoreCorrupt unless state and tables are what the last transaction left."""
    if not is_sealed(db):
        return
    expected = db.execute("SELECT state FROM seal").fetchone()
    if expected is None or expected[0] is None:
        return  # changed by hand
    if (actual := state_checksum(db)) != expected[0]:
        raise StoreCorrupt(
            f"the state or the tables of the documents file do not match their checksum: expected {expected[0]}, "
            f"found {actual}; {REPAIR}"
        )


def check_rows(db: sqlite3.Connection, live: np.ndarray) -> None:
    """Raise StoreCorrupt unless the (n,) bool mask of live rows has their number and their sum."""
    positions = np.flatnonzero(live)
    found, expected = (len(positions), int(positions.sum())), row_sums(db)
    if expected is not None and found != expected:
        raise StoreCorrupt(
            f"the documents file lists {found[0]} live rows with the sum {found[1]}, expected are {expected[0]} with "
            f"the sum {expected[1]}; {REPAIR}"
        )


def row_sums(db: sqlite3.Connection) -> tuple[int, int] | None:
    """(number, sum) of the live rows as the triggers kept them; None without a seal."""
    found = db.execute("SELECT count, rows FROM seal").fetchone() if is_sealed(db) else None
    return None if found is None else (found[0], found[1])
