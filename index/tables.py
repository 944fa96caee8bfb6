"""The tables of the documents file, and its one-row `state`."""

from dataclasses import dataclass

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
    """The one row of `state`."""

    commits: int
    generation: int
    storage: str
    rows: int
    space: str
    rotation: str | None = None
    snapshot: str | None = None
    pending: str | None = None
