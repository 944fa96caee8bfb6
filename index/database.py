"""The SQLite file and its connections.

One writer connection, used by the writer's thread alone; readers borrow read-only connections from a pool.
`state.commits` counts commits; the transaction that raises it is the commit point of a batch.
"""

import queue
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from index import seal
from index.connections import connect, failure
from index.durations import Durations
from index.errors import FunnelError, StoreBusy, StoreCorrupt, StoreUnavailable, ViewGone
from index.layout import sync_directory
from index.tables import COLUMNS, State, make_tables


class StillRead(StoreBusy):
    """Readers kept the documents file longer than somebody would wait who wants it alone."""


class Documents:
    """The SQLite file of one collection. `generation` is that of its rows; it is fixed while a reader is open."""

    def __init__(self, path: Path, initial: State | None = None, readers: int = 8) -> None:
        """Open the file; with `initial`, make it first."""
        self.path, self.syncs = path, Durations()  # of COMMIT, which syncs SQLite's log
        self._open(initial)
        self._pool: queue.LifoQueue[sqlite3.Connection | None] = queue.LifoQueue()  # None: closed
        self._readers, self._closing = 0, False
        try:
            for _ in range(readers):
                self._pool.put(connect(path, "ro"))
                self._readers += 1
        except sqlite3.DatabaseError as error:
            self.close()
            raise StoreUnavailable(f"{path} cannot be opened for reading: {error}") from error
        self._held: list[sqlite3.Connection] = []  # the readers' connections, while nobody else has any

    def _open(self, initial: State | None = None) -> None:
        try:
            self._writer = connect(self.path, "rwc" if initial else "rw")
        except sqlite3.DatabaseError as error:
            raise failure(error, self.path) or StoreCorrupt(f"{self.path} cannot be opened: {error}") from None
        try:
            self._writer.execute("PRAGMA journal_mode=WAL")
            self._writer.execute("PRAGMA synchronous=FULL")
            self._writer.execute("PRAGMA secure_delete=ON")  # what is deleted is overwritten
            if initial is not None:
                self._create(initial)
            self.generation = self.state().generation
            if not seal.is_whole(self._writer):  # of an earlier program, or changed by hand
                with self.transaction() as db:
                    seal.make_seal(db)
        except (sqlite3.DatabaseError, TypeError) as error:
            self._writer.close()
            raise failure(error, self.path) or StoreCorrupt(f"{self.path} cannot be read: {error}") from None
        except FunnelError:
            self._writer.close()
            raise

    def _create(self, state: State) -> None:
        with self.transaction() as db:
            make_tables(db)
            marks = ", ".join("?" * len(vars(state)))
            db.execute(f"INSERT INTO state (id, {COLUMNS}) VALUES (1, {marks})", tuple(vars(state).values()))

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """The writer's connection inside BEGIN IMMEDIATE ... COMMIT; rolled back on any error."""
        try:
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                seal.press(self._writer)
                begun = time.perf_counter()
                self._writer.execute("COMMIT")
                self.syncs.note(time.perf_counter() - begun)
            except BaseException:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")
                raise
        except sqlite3.DatabaseError as error:
            raise failure(error, self.path) or StoreUnavailable(f"writing {self.path} failed: {error}") from error

    @contextmanager
    def reader(self, generation: int | None = None, moment: bool = True) -> Iterator[sqlite3.Connection]:
        """A read-only connection inside one read transaction: one consistent moment of the file.

        Without `moment` every statement sees one of its own, none before that of the statement before it.
        Who brings rows of a view names its generation: raises ViewGone when the file is of another by now.
        Not to be nested: `close` waits for every connection, and one that waits for another would wait for ever.
        """
        db = self._borrow()
        try:
            if generation not in (None, self.generation):
                raise ViewGone(f"the rows are of generation {self.generation} now, of {generation} before")
            if moment:
                db.execute("BEGIN")
            yield db
        except sqlite3.DatabaseError as error:
            raise failure(error, self.path) or StoreCorrupt(f"reading {self.path} failed: {error}") from error
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
            self._pool.put(db)

    @contextmanager
    def alone(self, seconds: float) -> Iterator[None]:
        """Nobody reads meanwhile; raises StillRead when readers do not end within so many seconds."""
        end = time.monotonic() + seconds
        try:
            while len(self._held) < self._readers:
                try:
                    db = self._pool.get(timeout=max(end - time.monotonic(), 0.001))
                except queue.Empty:
                    raise StillRead(f"{self.path} was still read after {seconds} s") from None
                assert db is not None  # it is closed by the thread that asks for this
                self._held.append(db)
            yield
        finally:
            while self._held:
                self._pool.put(self._held.pop())

    def move_log(self, mode: str) -> bool:
        """Move the WAL into the file, as far as that hinders nobody (PASSIVE), or wholly, emptying it (TRUNCATE);
        whether that was done. Old versions of pages are in it."""
        with closing(connect(self.path, "rw")) as db:
            db.execute("PRAGMA busy_timeout=1000")
            busy, _, _ = db.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        return not busy

    @property
    def read(self) -> bool:
        """Whether anybody reads at this moment."""
        return self._pool.qsize() < self._readers

    def replace(self, made: Path) -> None:
        """Put another SQLite file, closed and synced, in the place of this one, durably; only inside `alone`.

        Whether it happened tells `generation`, whatever is raised. Raises StoreBusy when another process has the
        file open, StoreUnavailable when the names on disk are unknown or nothing can be opened.
        """
        for reader in self._held:
            reader.close()
        try:
            self.checkpoint()
            self._writer.close()  # the last one: SQLite removes the WAL
            if (wal := self.path.with_name(f"{self.path.name}-wal")).exists():
                raise StoreBusy(f"{wal} stays: another process has {self.path} open; close it there")
            sync_directory(self.path.parent)  # a WAL that came back would be read into the new file
            made.replace(self.path)
            sync_directory(self.path.parent)
        except OSError as error:
            raise StoreUnavailable(f"{made} could not be renamed to {self.path}: {error}") from error
        finally:
            self._reopen()

    def checkpoint(self) -> None:
        """Move the WAL into the file, synced. Raises StorageFull or StoreUnavailable, which `close` does not."""
        try:
            self._writer.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.DatabaseError as error:
            raise failure(error, self.path) or StoreUnavailable(f"writing {self.path} failed: {error}") from error

    def _reopen(self) -> None:
        self._writer.close()
        try:
            self._open()
            self._held[:] = [connect(self.path, "ro") for _ in self._held]
        except (FunnelError, sqlite3.DatabaseError) as error:
            self._closing = True
            raise StoreUnavailable(f"{self.path} cannot be opened again: {error}") from error

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
    """The state of a file that nobody needs to have open; raises StoreCorrupt, StoreUnavailable."""
    try:
        with closing(connect(path, "ro")) as db:
            seal.check_state(db)
            return State(*db.execute(f"SELECT {COLUMNS} FROM state").fetchone())
    except (sqlite3.DatabaseError, TypeError) as error:
        raise failure(error, path) or StoreCorrupt(f"{path} cannot be read: {error}") from None
