"""The words of one generation's texts: an inverted index by SQLite's FTS5, derived, in a file of its own.

Rows are only added. Those of documents that died stay until the next generation; who asks leaves them out.
"""

import queue
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from index.connections import connect, failure
from index.errors import SearchTimeout, StoreUnavailable
from index.question import Question

TABLES = (
    """CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5(
    text, content='', tokenize='porter unicode61 remove_diacritics 2')""",
    "CREATE TABLE IF NOT EXISTS done (id INTEGER PRIMARY KEY CHECK (id = 1), rows INTEGER NOT NULL)",
    "INSERT OR IGNORE INTO done VALUES (1, 0)",
)
RANKED = "SELECT rowid, -rank FROM words WHERE words MATCH ? ORDER BY rank"
STEPS = 10_000  # instructions of SQLite between two looks at the clock
FETCHED = 1_000  # rows taken from SQLite at a time
COMMON, COMMON_ROWS = 0.2, 1_000  # share of the rows, and number, up to which a word is looked for: see docs/hybrid.md
GROWN = 1.1  # times the rows, after which common words are counted again

Ranked = tuple[np.ndarray, np.ndarray]  # (n,) int64 rows and (n,) float64 BM25 scores, best first


class WordsFile:
    """`rows` says up to which row the texts are in. One thread adds; any number of threads ask meanwhile."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it. Raises sqlite3.DatabaseError when it is none of ours."""
        self.path, self._closed = path, False
        self._counted, self._counts = 0, dict[str, int]()  # rows at which common words were counted
        self._writer = connect(path, "rwc")
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        try:
            self._writer.execute("PRAGMA journal_mode=WAL")
            self._writer.execute("PRAGMA synchronous=NORMAL")  # a power failure may cost what can be made again
            for statement in TABLES:
                self._writer.execute(statement)
            (self.rows,) = self._writer.execute("SELECT rows FROM done").fetchone()
        except BaseException:
            self._writer.close()
            raise

    def add(self, texts: Sequence[tuple[int, str]], rows: int) -> None:
        """Add (row, text), after which all texts below `rows` are in. Raises sqlite3.DatabaseError."""
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            self._writer.executemany("INSERT INTO words (rowid, text) VALUES (?, ?)", texts)
            self._writer.execute("UPDATE done SET rows = ?", (rows,))
            self._writer.execute("COMMIT")
        except BaseException:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise
        self.rows = rows

    def ranked(self, question: Question, live: np.ndarray, most: int, deadline: float | None) -> Ranked:
        """The best `most` rows that share a word with the question, of those set in a (rows,) bool mask.

        Raises SearchTimeout at the deadline (seconds of time.monotonic), sqlite3.DatabaseError for a damaged file.
        """
        with self._reader(deadline) as db:
            common = max(COMMON_ROWS, COMMON * self.rows)
            expression = question.expression(lambda part: self._rows_of(db, part, common), common)
            return _taken(db, expression, live, most) if expression else _none()

    def close(self) -> None:
        """Close every connection; one that is borrowed, when it is given back."""
        self._closed = True
        while not self._readers.empty():
            self._readers.get_nowait().close()
        self._writer.close()

    def _rows_of(self, db: sqlite3.Connection, part: str, common: float) -> int:
        """In how many rows a quoted word or phrase is; of a common one, which takes long to count, lately."""
        if self.rows > GROWN * self._counted:
            self._counts, self._counted = {}, self.rows
        if (known := self._counts.get(part)) is not None:
            return known
        counts = self._counts
        (number,) = db.execute("SELECT count(*) FROM words WHERE words MATCH ?", (part,)).fetchone()
        if number > common:
            counts[part] = number
        return int(number)

    @contextmanager
    def _reader(self, deadline: float | None) -> Iterator[sqlite3.Connection]:
        try:
            db = self._readers.get_nowait()
        except queue.Empty:
            db = connect(self.path, "ro")
        late = None if deadline is None else (lambda: int(time.monotonic() > deadline))
        db.set_progress_handler(late, STEPS)
        try:
            yield db
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
                raise SearchTimeout("the time ran out while the words were looked up") from None
            raise failure(error, self.path) or StoreUnavailable(f"reading {self.path} failed: {error}") from error
        finally:
            db.close() if self._closed else self._readers.put(db)


def _taken(db: sqlite3.Connection, expression: str, live: np.ndarray, most: int) -> Ranked:
    rows: list[int] = []
    scores: list[float] = []
    cursor = db.execute(RANKED, (expression,))
    try:
        while len(rows) < most and (found := cursor.fetchmany(FETCHED)):
            passing = [(row, score) for row, score in found if row < len(live) and live[row]]
            rows += [row for row, _ in passing]
            scores += [score for _, score in passing]
    finally:
        cursor.close()
    return np.array(rows[:most], dtype=np.int64), np.array(scores[:most], dtype=np.float64)


def _none() -> Ranked:
    return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)
