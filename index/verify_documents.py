"""Checks of the documents file: SQLite's own, then every document, its id, its hashes and its inverted metadata."""

import json
import sqlite3

import numpy as np

from index.check import Check
from index.documents import FIELDS, is_sound
from index.errors import StoreCorrupt
from index.integrity import some
from index.metadata import entries
from index.seal import check_rows

DOCUMENTS_LOST = "`funnel repair` mends what single flipped bits did, and saves in a file what cannot be kept"
REBUILT = "derived from the documents: `funnel repair` makes it again"


def check_documents(db: sqlite3.Connection, live: np.ndarray, rows: int) -> list[Check]:
    """All checks of the file; `live` is the (n,) mask of rows with a document, of which `rows` are committed."""
    return [_sqlite(db), _rows(db, live, rows), _ids(db), _texts(db), _metadata(db)]


def last_row(db: sqlite3.Connection) -> int:
    """The highest row of a document; -1 when there is none."""
    (last,) = db.execute("SELECT max(row) FROM documents").fetchone()
    return -1 if last is None else int(last)


def _sqlite(db: sqlite3.Connection) -> Check:
    found = [line for (line,) in db.execute("PRAGMA integrity_check(5)")]
    return Check("documents file", found == ["ok"], "; ".join(found), DOCUMENTS_LOST)


def _rows(db: sqlite3.Connection, live: np.ndarray, rows: int) -> Check:
    beyond = (np.flatnonzero(live[rows:]) + rows).tolist()
    if beyond:
        detail = f"documents name rows past the {rows} committed: {some(beyond)}"
        return Check("rows", False, detail, DOCUMENTS_LOST)
    try:
        check_rows(db, live)
    except StoreCorrupt as error:
        return Check("rows", False, str(error), DOCUMENTS_LOST)
    return Check("rows", True, f"{int(live.sum())} documents in {rows} rows")


def _ids(db: sqlite3.Connection) -> Check:
    sql = (
        "SELECT d.row FROM documents d NOT INDEXED LEFT JOIN documents i USING (doc_id) "
        "WHERE i.row IS NOT d.row ORDER BY d.row"
    )
    wrong = [row for (row,) in db.execute(sql)]
    detail = f"the index of the ids disagrees about rows {some(wrong)}" if wrong else "their index agrees"
    return Check("ids", not wrong, detail, DOCUMENTS_LOST)


def _texts(db: sqlite3.Connection) -> Check:
    stored = db.execute(f"SELECT d.row, {FIELDS} FROM documents d ORDER BY d.row")
    wrong = [row for row, *fields in stored if not is_sound(*fields)]
    detail = f"hash mismatch in rows {some(wrong)}" if wrong else "hashes agree"
    return Check("texts and metadata", not wrong, detail, DOCUMENTS_LOST)


def _metadata(db: sqlite3.Connection) -> Check:
    expected, missing = 0, []
    for row, metadata in db.execute("SELECT row, metadata FROM documents"):
        try:
            wanted = {(*entry, row) for entry in entries(json.loads(metadata))}
        except (ValueError, TypeError, AttributeError):  # found by its hash
            continue
        expected += len(wanted)
        for entry in wanted:
            sql = "SELECT count(*) FROM metadata WHERE key = ? AND type = ? AND value = ? AND row = ?"
            if not db.execute(sql, entry).fetchone()[0]:
                missing.append(row)
    (actual,) = db.execute("SELECT count(*) FROM metadata").fetchone()
    detail = f"{actual} entries, {expected} expected" + (f"; wrong in rows {some(missing)}" if missing else "")
    return Check("inverted metadata", not missing and actual == expected, detail, REBUILT)
