"""BM25 over the stored texts: words kept up to the newest view by a thread, from the first time that somebody asks."""

import logging
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from index import bits, leftovers
from index.allowed import Allowed
from index.database import Documents
from index.document import joined
from index.documents import FIELDS, is_sound
from index.errors import FunnelError, ViewGone, WordsBusy
from index.integrity import damaged
from index.layout import Layout
from index.question import Question
from index.view import View
from index.words_file import Ranked, WordsFile

BATCH = 1_000  # texts read and added at a time
PATIENCE = 1.0  # seconds that a search waits for words that are not there yet
AGAIN = 5.0  # seconds after which what failed is tried again
log = logging.getLogger(__name__)


class Words:
    """Of one store; its file is derived from the documents and made again whenever it cannot be used."""

    def __init__(self, documents: Documents, layout: Layout, newest: Callable[[], View]) -> None:
        self._documents, self._layout, self._newest = documents, layout, newest
        self._changed, self._wake = threading.Condition(), threading.Event()
        self._file: WordsFile | None = None
        self._generation, self._done, self._error = 0, 0, ""
        self._stopped, self._thread = False, threading.Thread(target=self._run, name="funnel-words", daemon=True)
        if layout.words(newest().generation).exists():
            self._thread.start()

    def notify(self) -> None:
        """There may be new texts; never blocks."""
        self._wake.set()

    def ranked(self, view: View, text: str, allowed: Allowed | None, most: int, deadline: float | None) -> Ranked:
        """The best `most` rows of a view by the words of a text, among those allowed (None: all that live).

        Raises WordsBusy with both numbers while texts of the view are still to come, SearchTimeout, ViewGone.
        """
        file = self._up_to(view, deadline)
        live = bits.unpack(view.live, view.rows) if allowed is None else allowed.mask()
        try:
            return file.ranked(Question(text), live, most, deadline)
        except sqlite3.DatabaseError as error:
            if self._file is not file:
                raise ViewGone("the words were put aside for those of another generation") from error
            self._give_up(file, error)
            raise WordsBusy(f"the words cannot be read and are made again: {error}") from error

    def close(self) -> None:
        """Stop the thread, and close the file."""
        with self._changed:
            self._stopped = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._file is not None:
            self._file.close()

    def _up_to(self, view: View, deadline: float | None) -> WordsFile:
        with self._changed:
            if self._thread.ident is None:
                self._thread.start()
            self._wake.set()
            until = min(time.monotonic() + PATIENCE, deadline or np.inf)
            self._changed.wait_for(lambda: self._covers(view) or self._generation > view.generation, _left(until))
            if self._generation > view.generation:
                raise ViewGone(f"the words are of generation {self._generation}, the view of {view.generation}")
            if self._file is None or not self._covers(view):
                why = f" ({self._error})" if self._error else ""
                raise WordsBusy(f"the words of {self._done:,} of {view.rows:,} rows are indexed{why}; try again")
            return self._file

    def _covers(self, view: View) -> bool:
        return self._file is not None and self._generation == view.generation and self._done >= view.rows

    def _run(self) -> None:
        self._wake.set()
        while not self._stopped:
            self._wake.wait(AGAIN if self._error else None)
            self._wake.clear()
            try:
                self._catch_up(self._newest())
                self._error = ""
            except ViewGone:
                self._wake.set()
            except (FunnelError, sqlite3.DatabaseError, OSError) as error:
                self._error = str(error)
                log.warning("words could not be indexed: %s", error)
                if _is_damage(error) and self._file is not None:
                    self._give_up(self._file, error)

    def _catch_up(self, view: View) -> None:
        file = self._opened(view)
        while file.rows < view.rows and not self._stopped:
            stop = min(file.rows + BATCH, view.rows)
            with self._documents.reader(view.generation) as db:
                texts = _texts(db, file.rows, stop)
            file.add(texts, stop)
            with self._changed:
                self._done = stop
                self._changed.notify_all()

    def _opened(self, view: View) -> WordsFile:
        """The file of a view's generation; those of others go."""
        if self._file is not None and self._generation == view.generation:
            return self._file
        path = self._layout.words(view.generation)
        left = (one for one in self._layout.collection.glob("words-*") if not one.name.startswith(path.name))
        leftovers.remove(left)
        file = _made(path, view.rows)
        with self._changed:
            self._retire()
            self._file, self._generation, self._done = file, view.generation, file.rows
            self._changed.notify_all()
        return file

    def _give_up(self, file: WordsFile, error: Exception) -> None:
        """Make the file again: what is in it cannot be used."""
        with self._changed:
            if self._file is file:
                log.warning("%s is made again: %s", file.path, error)
                self._retire()
                self._generation = self._done = 0
                leftovers.remove(file.path.parent.glob(f"{file.path.name}*"))
        self._wake.set()

    def _retire(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _made(path: Path, rows: int) -> WordsFile:
    """The file, made again when it is damaged or tells of more rows than there are."""
    try:
        file = WordsFile(path)
        if file.rows <= rows:
            return file
        file.close()
    except sqlite3.DatabaseError as error:
        log.warning("%s cannot be used: %s", path, error)
    leftovers.remove(path.parent.glob(f"{path.name}*"))
    return WordsFile(path)


def _texts(db: sqlite3.Connection, start: int, stop: int) -> list[tuple[int, str]]:
    """(row, text) of the documents in rows [start, stop); StoreCorrupt where one does not match its hash."""
    found = db.execute(
        f"SELECT d.row, {FIELDS} FROM documents d WHERE d.row >= ? AND d.row < ?", (start, stop)
    ).fetchall()
    if wrong := [row for row, *fields in found if not is_sound(*fields)]:
        raise damaged("documents do not match their hashes, their words are not indexed", wrong)
    return [(row, joined(title, text)) for row, title, text, *_ in found]


def _is_damage(error: Exception) -> bool:
    """Of the file itself: what the system or a full disk does to it is an OperationalError."""
    return isinstance(error, sqlite3.DatabaseError) and not isinstance(error, sqlite3.OperationalError)


def _left(until: float) -> float:
    return max(0.0, until - time.monotonic())
