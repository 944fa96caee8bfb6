"""The tables of the documents file, and its one-row `state`."""

import sqlite3
from dataclasses import dataclass

from index.seal import make_seal

SCHEMA = """
CREATE TABLE state (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    commits INTEGER NOT NULL,     -- number of committed batches
    generation INTEGER NOT NULL,  -- the live vectors-<generation> files
    storage TEXT NOT NULL,        -- codec of the full vectors
    rows INTEGER NOT NULL,        -- rows committed to the live vectors file, dead ones included
    space TEXT NOT NULL,          -- widths and fingerprint, JSON
    rotation TEXT,                -- rotation of the prefix index, NULL for the identity
    snapshot TEXT,                -- the shortlist snapshot that may be read, JSON, or NULL
    pending TEXT                  -- a generation being built beside the live one, JSON, or NULL
);
CREATE TABLE documents (
    row INTEGER PRIMARY KEY,
    doc_id TEXT NOT NULL UNIQUE,
    title TEXT,
    text TEXT NOT NULL,
    metadata TEXT NOT NULL,
    content_hash BLOB NOT NULL,
    document_hash BLOB NOT NULL
);
CREATE TABLE metadata (
    key TEXT NOT NULL,
    type TEXT NOT NULL,
    value NOT NULL,
    row INTEGER NOT NULL,
    PRIMARY KEY (key, type, value, row)
) WITHOUT ROWID;
"""
COLUMNS = "commits, generation, storage, rows, space, rotation, snapshot, pending"


@dataclass(frozen=True)
class State:
    """The one row of `state`; its fields are COLUMNS, in this order."""

    commits: int
    generation: int
    storage: str
    rows: int
    space: str
    rotation: str | None = None
    snapshot: str | None = None
    pending: str | None = None


def make_tables(db: sqlite3.Connection) -> None:
    """Make all tables, empty and sealed, in an empty file; the one row of `state` is the caller's."""
    for statement in SCHEMA.split(";"):
        db.execute(statement)
    make_seal(db)
