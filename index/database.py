"""The SQLite file: its tables, its one-row `state`, and its connections.

One writer connection, used by the writer's thread alone; readers borrow read-only connections from a pool.
`state.commits` counts commits; the transaction that raises it is the commit point of a batch.
"""

import queue
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from index import seal
from index.errors import FunnelError, StorageFull, StoreBusy, StoreCorrupt, StoreUnavailable

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
            if not seal.is_whole(self._writer):  # of an earlier program, or changed by hand
                with self.transaction() as db:
                    seal.make_seal(db)
        except (sqlite3.DatabaseError, TypeError) as error:
            self._writer.close()
            raise _failure(error, path) or StoreCorrupt(f"{path} cannot be read: {error}") from None
        except FunnelError:
            self._writer.close()
            raise
        self._pool: queue.LifoQueue[sqlite3.Connection | None] = queue.LifoQueue()  # None: closed
        for _ in range(readers):
            self._pool.put(_connect(path, "ro"))
        self._readers, self._closing = readers, False

    def _create(self, state: State) -> None:
        with self.transaction() as db:
            if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'state'").fetchone():
                seal.make_seal(db)
                return
            for statement in SCHEMA.split(";"):
                db.execute(statement)
            db.execute(
                "INSERT INTO state VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)",
                (state.commits, state.generation, state.storage, state.rows, state.space,
                 state.rotation, state.snapshot, state.pending),
            )  # fmt: skip
            seal.make_seal(db)

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The writer's connection inside BEGIN IMMEDIATE ... COMMIT; rolled back on any error."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                seal.press(self._writer)
                self._writer.execute("COMMIT")
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
        except sqlite3.DatabaseError as error:
            raise _failure(error, self.path) or StoreUnavailable(f"writing {self.path} failed: {error}") from error

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
            raise _failure(error, self.path) or StoreCorrupt(f"reading {self.path} failed: {error}") from error
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
            self._pool.put(db)

    def state(self) -> State:
        """The state as the writer's connection sees it; raises StoreCorrupt."""
        seal.check_state(self._writer)
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
            seal.check_state(db)
            return State(*db.execute(f"SELECT {COLUMNS} FROM state").fetchone())
    except (sqlite3.DatabaseError, TypeError) as error:
        raise StoreCorrupt(f"{path} cannot be read: {error}") from None


def _failure(error: Exception, path: Path) -> FunnelError | None:
    """What has nothing to do with the bytes of the file: a full disk, or a lock of another process."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # without the extended part
    if code == sqlite3.SQLITE_FULL:
        return StorageFull(f"no space left for {path}: {error}")
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return StoreBusy(f"another process has locked {path}: {error}")
    return None


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"file:{path.absolute().as_posix().replace('%', '%25').replace('?', '%3f').replace('#', '%23')}?mode={mode}"
    db = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=30)
    db.execute("PRAGMA mmap_size=0")
    return db
