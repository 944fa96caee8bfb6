"""The truth: texts, metadata, hashes and the one-row `state`, in SQLite.

One writer connection, used by the writer's thread alone; readers borrow read-only connections from a pool.
`state.commits` counts commits; the transaction that raises it is the commit point of a batch.
"""

import bisect
import itertools
import json
import queue
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from index.allowed import Allowed
from index.document import Document, StoredDocument, is_unicode
from index.errors import StorageFull, StoreCorrupt, StoreUnavailable
from index.metadata import entries

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
CHUNK = 500  # bound parameters a statement
FEW = 10_000  # matches whose ids are read and sorted rather than met in order of id


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


@dataclass(frozen=True)
class Stored:
    """Where a document is and what it was made of."""

    row: int
    content_hash: bytes
    document_hash: bytes
    metadata: str


class Documents:
    """The SQLite file of one collection."""

    def __init__(self, path: Path, initial: State | None = None, readers: int = 8) -> None:
        """Open the file; with `initial`, make it first."""
        self.path = path
        try:
            self._writer = _connect(path, "rwc" if initial else "rw")
        except sqlite3.DatabaseError as error:
            raise StoreCorrupt(f"{path} cannot be opened: {error}") from None
        try:
            self._writer.execute("PRAGMA journal_mode=WAL")
            self._writer.execute("PRAGMA synchronous=FULL")
            if initial is not None:
                self._create(initial)
            self.state()
        except (sqlite3.DatabaseError, TypeError) as error:
            self._writer.close()
            raise StoreCorrupt(f"{path} cannot be read: {error}") from None
        self._pool: queue.LifoQueue[sqlite3.Connection | None] = queue.LifoQueue()  # None: closed
        for _ in range(readers):
            self._pool.put(_connect(path, "ro"))
        self._readers, self._closing = readers, False

    def _create(self, state: State) -> None:
        with self.transaction() as db:
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'state'").fetchone():
                return
            for statement in SCHEMA.split(";"):
                db.execute(statement)
            db.execute(
                "INSERT INTO state VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
                (state.commits, state.generation, state.storage, state.rows, state.space,
                 state.rotation, state.snapshot, state.pending),
            )  # fmt: skip

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The writer's connection inside BEGIN IMMEDIATE ... COMMIT; rolled back on any error."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
                raise StorageFull(f"no space left for {self.path}: {error}") from None
            raise StoreUnavailable(f"writing {self.path} failed: {error}") from error

    @contextmanager
    def reader(self) -> Iterator[sqlite3.Connection]:
        """A read-only connection inside one read transaction: one consistent moment of the file.

        Not to be nested: `close` waits for every connection, and one that waits for another would wait for ever.
        """
        db = self._borrow()
        try:
            db.execute("BEGIN")
            yield db
        except sqlite3.DatabaseError as error:
            raise StoreCorrupt(f"reading {self.path} failed: {error}") from error
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
            self._pool.put(db)

    def state(self) -> State:
        """The state as the writer's connection sees it."""
        return State(*self._writer.execute(f"SELECT {COLUMNS} FROM state").fetchone())

    def close(self) -> None:
        """Close every connection; waits for readers to return theirs."""
        self._closing = True
        for _ in range(self._readers):
            if (db := self._pool.get()) is not None:
                db.close()
        self._pool.put(None)
        self._writer.close()

    def _borrow(self) -> sqlite3.Connection:
        if self._closing:
            raise StoreUnavailable("the store is closed")
        if (db := self._pool.get()) is None:
            self._pool.put(None)  # for the next that waits
            raise StoreUnavailable("the store is closed")
        return db


def peek(path: Path) -> State:
    """The state of a file that nobody needs to have open; raises StoreCorrupt."""
    try:
        with closing(_connect(path, "ro")) as db:
            return State(*db.execute(f"SELECT {COLUMNS} FROM state").fetchone())
    except (sqlite3.DatabaseError, TypeError) as error:
        raise StoreCorrupt(f"{path} cannot be read: {error}") from None


def stored(db: sqlite3.Connection, doc_ids: Sequence[str]) -> dict[str, Stored]:
    """Rows and hashes of those of `doc_ids` that exist."""
    found: dict[str, Stored] = {}
    for chunk, marks in _chunks(filter(is_unicode, doc_ids)):
        sql = f"SELECT doc_id, row, content_hash, document_hash, metadata FROM documents WHERE doc_id IN ({marks})"
        found.update((doc_id, Stored(*rest)) for doc_id, *rest in db.execute(sql, chunk))
    return found


def insert(db: sqlite3.Connection, row: int, document: Document) -> None:
    """Store a document and its inverted metadata at a row."""
    db.execute(
        "INSERT INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)",
        (row, document.doc_id, document.title, document.text, document.metadata_json,
         document.content_hash, document.document_hash),
    )  # fmt: skip
    _index_metadata(db, row, document)


def remove(db: sqlite3.Connection, old: Stored) -> None:
    """Forget the document at a row, and its inverted metadata."""
    _unindex_metadata(db, old)
    db.execute("DELETE FROM documents WHERE row = ?", (old.row,))


def replace_metadata(db: sqlite3.Connection, old: Stored, document: Document) -> None:
    """Give the document at a row new metadata; the row and its vector stay."""
    _unindex_metadata(db, old)
    db.execute(
        "UPDATE documents SET metadata = ?, document_hash = ? WHERE row = ?",
        (document.metadata_json, document.document_hash, old.row),
    )
    _index_metadata(db, old.row, document)


def by_rows(db: sqlite3.Connection, rows: Sequence[int]) -> dict[int, StoredDocument]:
    """The documents at these rows, by row; rows without a live document are left out."""
    found: dict[Any, StoredDocument] = {}
    for chunk, marks in _chunks(rows):
        sql = f"SELECT doc_id, text, title, metadata, row FROM documents WHERE row IN ({marks})"
        found.update((record[4], _document(record)) for record in db.execute(sql, chunk))
    return found


def by_ids(db: sqlite3.Connection, doc_ids: Sequence[str]) -> list[StoredDocument]:
    """The documents with these ids in the order asked for; missing ones are left out."""
    found: dict[Any, StoredDocument] = {}
    for chunk, marks in _chunks(filter(is_unicode, doc_ids)):
        sql = f"SELECT doc_id, text, title, metadata, row FROM documents WHERE doc_id IN ({marks})"
        found.update((record[0], _document(record)) for record in db.execute(sql, chunk))
    return [found[doc_id] for doc_id in doc_ids if doc_id in found]


def ids_of(db: sqlite3.Connection, rows: Sequence[int]) -> dict[int, str]:
    """doc_id by row, for the live ones of these rows."""
    found: dict[int, str] = {}
    for chunk, marks in _chunks(rows):
        found.update(db.execute(f"SELECT row, doc_id FROM documents WHERE row IN ({marks})", chunk))
    return found


def page(db: sqlite3.Connection, after: str | None, limit: int, allowed: Allowed | None) -> list[str]:
    """Up to `limit` ids greater than `after`, ascending, of the allowed rows (None: all)."""
    if allowed is not None and allowed.count <= FEW:
        ids = sorted(ids_of(db, allowed.positions.tolist()).values(), key=str.encode)
        start = bisect.bisect_right(ids, (after or "").encode(), key=str.encode)
        return ids[start : start + limit]
    mask = None if allowed is None else allowed.mask()
    cursor = db.execute("SELECT row, doc_id FROM documents WHERE doc_id > ? ORDER BY doc_id", (after or "",))
    passing = (doc_id for row, doc_id in cursor if mask is None or (row < len(mask) and mask[row]))
    return list(itertools.islice(passing, limit))


def live_mask(db: sqlite3.Connection, rows: int) -> np.ndarray:
    """(rows,) bool of the rows that hold a document; raises StoreCorrupt if one is past them."""
    mask = np.zeros(rows, dtype=bool)
    cursor = db.execute("SELECT row FROM documents")
    while chunk := cursor.fetchmany(65_536):
        found = np.array(chunk, dtype=np.int64).reshape(-1)
        if found.max() >= rows:
            raise StoreCorrupt(f"a document is at row {found.max()}, but only {rows} rows are committed")
        mask[found] = True
    return mask


def _document(record: tuple[str, str, str | None, str, int]) -> StoredDocument:
    doc_id, text, title, metadata, row = record
    return StoredDocument(doc_id=doc_id, text=text, title=title, metadata=json.loads(metadata), row=row)


def _index_metadata(db: sqlite3.Connection, row: int, document: Document) -> None:
    values = [(*entry, row) for entry in document.metadata_entries]
    db.executemany("INSERT OR IGNORE INTO metadata VALUES (?, ?, ?, ?)", values)


def _unindex_metadata(db: sqlite3.Connection, old: Stored) -> None:
    values = [(*entry, old.row) for entry in entries(json.loads(old.metadata))]
    db.executemany("DELETE FROM metadata WHERE key = ? AND type = ? AND value = ? AND row = ?", values)


def _chunks(values: Iterable[int] | Iterable[str]) -> Iterator[tuple[list[int | str], str]]:
    listed = [int(value) if not isinstance(value, str) else value for value in values]
    for start in range(0, len(listed), CHUNK):
        chunk = listed[start : start + CHUNK]
        yield chunk, ",".join("?" * len(chunk))


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{path.absolute().as_posix().replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    db.execute("PRAGMA mmap_size=0")
    return db
