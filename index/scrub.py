"""A look at everything that is stored while the store is in use: damage in what nobody asks for is found too."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from index import bits
from index.database import Documents
from index.document import entries_of
from index.documents import BOTH, FIELDS, is_intact
from index.matching import as_of
from index.vectors import row_checksums
from index.view import View

BLOCK = 64  # rows between two pauses: a few milliseconds


@dataclass(frozen=True)
class Scrubbed:
    """How many documents were looked at, and the rows whose vector, text, id or metadata are damaged."""

    documents: int
    damaged: tuple[int, ...]


def scrub(view: View, documents: Documents, pause: Callable[[], None]) -> Scrubbed:
    """Check every live row of a view and its document; `pause` is called every few milliseconds of work.

    What `pause` raises ends it. Raises ViewGone when a compaction renumbers the rows, StoreCorrupt when SQLite finds
    its own file damaged.
    """
    seen, damaged = 0, set[int]()
    for start in range(0, view.rows, BLOCK):
        stop = min(start + BLOCK, view.rows)
        live = bits.between(view.live, start, stop)
        rows = start + np.flatnonzero(live)
        if len(rows):
            wrong = row_checksums(view.matrix[start:stop], start) != view.checksums[start:stop]
            damaged.update((start + np.flatnonzero(wrong & live)).tolist())
            with documents.reader(view.generation) as db:
                damaged.update(_documents(db, view, rows.tolist()))
            seen += len(rows)
        pause()
    return Scrubbed(seen, tuple(sorted(damaged)))


def _documents(db: sqlite3.Connection, view: View, rows: list[int]) -> list[int]:
    """Those of a block's live rows whose documents are damaged, or missing though nothing was written since."""
    sql = f"SELECT d.row, i.row, {FIELDS} {BOTH} WHERE d.row >= ? AND d.row <= ?"
    found = {record[0]: record for record in db.execute(sql, (rows[0], rows[-1]))}
    missing = [row for row in rows if row not in found] if as_of(db, view) else []
    return missing + [row for row, record in found.items() if not (is_intact(*record) and _indexed(db, record))]


def _indexed(db: sqlite3.Connection, record: tuple[Any, ...]) -> bool:
    """Whether all metadata of a document are in the inverted table."""
    row, _, _, _, metadata, *_ = record
    sql = "SELECT 1 FROM metadata WHERE key = ? AND type = ? AND value = ? AND row = ?"
    return all(db.execute(sql, (*entry, row)).fetchone() for entry in entries_of(metadata))
