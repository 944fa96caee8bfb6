"""The background thread that moves rows from the flat tail into the graph or the packed codes, and saves those.

The new one is a copy of the live one with the tail added, built while searches go on and put in its place by
the writer. That costs its memory twice for the time of the merge, and never stalls a search.
"""

import json
import logging
import threading
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from index import leftovers
from index.batch import Batch
from index.coding import load_older, make_older
from index.errors import FunnelError, StoreCorrupt
from index.jobs import Adopt, Job
from index.layout import Layout, sync_directory
from index.older import Older
from index.options import StoreOptions
from index.record import read_record
from index.view import View
from index.writer import Writer

MIN_MERGE = 1_000  # rows of tail
MAX_MERGE = 50_000  # scanning these takes about a millisecond
MAX_PACKED = 5_000  # the same of wide prefixes; packing a row takes five microseconds
MERGE_SHARE = 20  # merge when the tail is a twentieth of the rows
INT8_ROWS = 1_000_000  # above, codes of a quarter of the size: same recall, at most 1.4 times the search time
SAVE_SHARE = 10  # save when a tenth of the older rows is not in the snapshot
log = logging.getLogger(__name__)


class Merger:
    """Watches the writer's views; `notify` after each commit."""

    def __init__(self, writer: Writer, layout: Layout, options: StoreOptions, saved_rows: int) -> None:
        self._writer, self._layout, self._options = writer, layout, options
        self._saved_rows = saved_rows
        self._wake, self._stop = threading.Event(), threading.Event()
        self.files = threading.Lock()  # held while a snapshot is written and until the state names it
        self.merging = False
        self.error: str | None = None
        self._thread = threading.Thread(target=self._run, name="funnel-merger", daemon=True)
        self._thread.start()

    @property
    def merged_from(self) -> int | None:
        """Rows of tail from which on they are merged; None where they are not."""
        return merged_from(self._writer.view, self._options)

    def notify(self) -> None:
        """There may be something to merge; never blocks."""
        self._wake.set()

    def close(self) -> None:
        """Give up a merge in progress and save the older rows if their snapshot is old."""
        self._stop.set()
        self._wake.set()
        self._thread.join()
        view = self._writer.view
        if view.shortlist.older_rows not in (0, self._saved_rows) and self._writer.broken is None:
            self._save(view)

    def _run(self) -> None:
        faiss.omp_set_num_threads(1)  # the other cores answer searches
        while not self._stop.is_set():
            self._wake.wait()
            self._wake.clear()
            while not self._stop.is_set() and due(self._writer.view, self._options):
                self.merging = True
                done = self._merge(self._writer.view)
                self.merging = False
                if not done:
                    break

    def _merge(self, view: View) -> bool:
        try:
            older = merged(view, self._options, self._stop.is_set)
            if older is None:
                return False
            if not self._writer.submit(Adopt(older, view)):
                return True  # made from what is not there any more: look again
        except (MemoryError, RuntimeError, FunnelError) as error:  # FAISS raises RuntimeError
            self.error = str(error)
            log.warning("merging the tail of the shortlist failed: %s", error)
            return False
        self.error = None
        view = self._writer.view
        if view.shortlist.older is older and (older.rows - self._saved_rows) * SAVE_SHARE >= older.rows:
            self._save(view)
        return True

    def saved(self, view: View, path: Path | None) -> None:
        """The state names this snapshot of the view's older rows, or none: delete the others."""
        self._saved_rows = view.shortlist.older_rows
        leftovers.remove(old for old in self._layout.collection.glob("shortlist-*.faiss") if old != path)

    def _save(self, view: View) -> None:
        path = snapshot_path(self._layout, view)
        with self.files:
            newest = self._writer.view
            if newest.rotation is not view.rotation or newest.generation != view.generation:
                return  # its prefixes are of another rotation, which may have saved its own under the same name
            try:
                record = save_snapshot(view, path)
                self._writer.submit(Job(lambda batch: _record(batch, record), size=0))
            except (OSError, RuntimeError, FunnelError) as error:
                leftovers.remove((path, path.with_suffix(".tmp")))
                log.warning("the shortlist snapshot was not saved, it will be rebuilt at the next start: %s", error)
                return
            self.saved(view, path)


def _record(batch: Batch, record: str | None) -> None:
    """In the writer's thread: name a snapshot."""
    batch.db.execute("UPDATE state SET snapshot = ?", (record,))


def due(view: View, options: StoreOptions) -> bool:
    """Whether the tail has outgrown a flat scan."""
    rows = merged_from(view, options)
    return rows is not None and len(view.shortlist.tail) >= rows


def merged_from(view: View, options: StoreOptions) -> int | None:
    """Rows of tail from which on they are merged; None where they are not, at this size or ever."""
    if options.shortlist_index == "flat" or view.searched.exact_only:
        return None
    if view.shortlist.older is None and options.shortlist_index == "auto":
        return MIN_MERGE if view.rows > options.flat_limit else None
    most = MAX_PACKED if options.shortlist_index == "packed" else MAX_MERGE
    return min(max(MIN_MERGE, view.rows // MERGE_SHARE), most)


def merged(view: View, options: StoreOptions, stop: Any = lambda: False) -> Older | None:
    """The graph, or the packed codes, of all rows of a view; None when stopped."""
    older, rows = view.shortlist.older, view.shortlist.tail
    codes = chosen_codes(options, view)
    if older is not None and older.codes == codes:
        return older.extended(rows, stop)
    if older is not None:  # the collection has outgrown float32: build anew
        rows = np.concatenate([older.prefixes(slice(None)), rows])
    return make_older(rows, codes, len(rows)).extended(rows, stop)


def chosen_codes(options: StoreOptions, view: View) -> str:
    """The codes of the next graph; `auto` goes from float32 to int8 as the collection grows, never back."""
    if options.codes is not None:
        return options.codes
    if view.rows > INT8_ROWS:
        return "int8"
    return view.shortlist.older.codes if view.shortlist.older else "float32"


def snapshot_path(layout: Layout, view: View) -> Path:
    """Where the older rows of a view are saved."""
    rotation = None if view.rotation is None else view.rotation.checksum
    return layout.shortlist(view.generation, view.shortlist.older_rows, rotation)


def save_snapshot(view: View, path: Path) -> str | None:
    """Write the older rows durably; returns the record for `state.snapshot`, None when all rows are tail."""
    older = view.shortlist.older
    if older is None:
        return None
    temporary = path.with_suffix(".tmp")
    checksum = older.save(temporary)
    temporary.replace(path)
    sync_directory(path.parent)
    return json.dumps({"file": path.name, "rows": older.rows, "codes": older.codes, "checksum": checksum})


def load_snapshot(record: str | None, directory: Path, dim: int, rows: int) -> Older | None:
    """The saved graph or codes, or None (and why, in the log) when there is none that fits."""
    if record is None:
        return None
    try:
        snapshot = read_record(record, "its record")
        older = load_older(directory / Path(snapshot["file"]).name, snapshot["checksum"])
    except (StoreCorrupt, KeyError, TypeError, ValueError) as error:
        log.warning("the shortlist snapshot cannot be used and will be rebuilt: %s", error)
        return None
    if older.dim != dim or older.rows > rows:
        log.warning("the shortlist snapshot is of another prefix width; it will be rebuilt")
        return None
    return older
