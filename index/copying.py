"""The documents file of the next generation: made beside the live one, with nothing of what was deleted in it."""

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from index import documents as table
from index import seal
from index.connections import connect, discard
from index.document import entries_of
from index.documents import BOTH, FIELDS, INSERT, Stored
from index.integrity import damaged
from index.renumbering import Renumbering
from index.told import told

FILE = "documents.compact"
PRAGMAS = ("journal_mode=OFF", "synchronous=OFF", "locking_mode=EXCLUSIVE", "secure_delete=ON", "cache_size=-65536")
SCHEMA = "SELECT sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite_%' ORDER BY rowid"


class Copy:
    """One file under construction. It has no journal: after an error it is of no use. Rows are given by old numbers.

    Raises StorageFull, StoreUnavailable, and StoreCorrupt for a damaged document, which must not pass for a sound one.
    """

    def __init__(self, path: Path, source: sqlite3.Connection, numbers: Renumbering) -> None:
        """Make the file with the tables of `source`, and no documents."""
        self.path, self._numbers, self._failed = path, numbers, f"writing {path} failed"
        discard(path)
        with told(self._failed):
            self._db = connect(path, "rwc")
            for pragma in PRAGMAS:
                self._db.execute(f"PRAGMA {pragma}")
            (version,) = source.execute("PRAGMA user_version").fetchone()
            self._db.execute(f"PRAGMA user_version={int(version)}")
            for (sql,) in source.execute(SCHEMA):
                self._db.execute(sql)
            seal.make_seal(self._db)

    def add(self, source: sqlite3.Connection, start: int, stop: int) -> None:
        """Copy the documents that are in rows [start, stop) now."""
        sql = f"SELECT d.row, i.row, doc_id, {FIELDS} {BOTH} WHERE d.row >= ? AND d.row < ? ORDER BY d.row"
        found = source.execute(sql, (start, stop)).fetchall()
        _check([row for row, indexed, _, *fields in found if not table.is_intact(row, indexed, *fields)])
        rows = self._numbers.of([row for row, *_ in found]).tolist()
        with self._transaction():
            self._db.executemany(INSERT, ((row, *rest) for row, (_, _, *rest) in zip(rows, found, strict=True)))
            metadata = (entries_of(record[5]) for record in found)
            table.index_metadata(self._db, zip(rows, metadata, strict=True))

    def remove(self, rows: Sequence[int]) -> None:
        """Forget the documents of these rows, where they were copied."""
        with self._transaction():
            for old in self._stored(rows):
                table.remove(self._db, old)

    def repaint(self, source: sqlite3.Connection, rows: Sequence[int]) -> None:
        """Take over the metadata that these rows have now, where they were copied."""
        sql = f"SELECT {FIELDS} FROM documents d WHERE row = ?"
        found = {row: source.execute(sql, (row,)).fetchone() for row in rows}
        _check([row for row, fields in found.items() if fields and not table.is_sound(*fields)])
        metadata = {row: fields[2] for row, fields in found.items() if fields}
        with self._transaction():
            for row, now in metadata.items():
                for old in self._stored([row]):
                    table.replace_metadata(self._db, old, now)

    def state(self, source: sqlite3.Connection, **changes: int | str | None) -> None:
        """The state of `source`, but for these columns."""
        state = source.execute("SELECT * FROM state").fetchone()
        marks = ", ".join("?" * len(state))
        settings = ", ".join(f"{column} = ?" for column in changes)
        with self._transaction():
            self._db.execute("DELETE FROM state")
            self._db.execute(f"INSERT INTO state VALUES ({marks})", state)
            self._db.execute(f"UPDATE state SET {settings}", tuple(changes.values()))
            seal.press(self._db)
        with told(self._failed):
            self._db.execute("PRAGMA journal_mode=WAL")  # as every file of ours: nothing is left to do at its opening

    def check(self, live: np.ndarray) -> None:
        """Raise StoreCorrupt unless there is a document for each row of a (n,) bool mask, by new numbers."""
        seal.check_rows(self._db, live)

    def sync(self) -> None:
        """What was copied so far is on disk."""
        with told(self._failed):
            descriptor = os.open(self.path, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Give the file back."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with told(self._failed):
            self._db.execute("BEGIN")
            yield
            self._db.execute("COMMIT")

    def _stored(self, rows: Sequence[int]) -> list[Stored]:
        """What the copies of these rows were made of."""
        return table.stored_at(self._db, self._numbers.of(rows).tolist())


def _check(wrong: Sequence[int]) -> None:
    if wrong:
        raise damaged("documents do not match their hashes or the index of their ids, nothing was changed", wrong)
