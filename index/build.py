"""The next first stage under construction: prefixes of every row under another rotation, in a graph or packed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from sqlite3 import Connection

import faiss
import numpy as np

from index import bits
from index.encoding import fill, trained
from index.integrity import read_block
from index.matrices import Matrices
from index.matryoshka import turned, unit
from index.merger import chosen_codes, due
from index.options import StoreOptions
from index.paging import prefetch_range
from index.progress import Progress
from index.rotation import Rotation, fitted
from index.shortlist import Shortlist
from index.view import View

BLOCK = 4_096  # rows read at a time: 12 MB of float32 at 768 dimensions
CATCH_UP = 512  # rows committed meanwhile that may be left to the writer's thread: a millisecond of it


@dataclass
class Build:
    """The next first stage: `view` is the view it began with, made over for the new rotation as far as it is done."""

    view: View
    rotation: Rotation | None
    options: StoreOptions
    progress: Progress
    check_open: Callable[[], None]
    live: View = field(init=False)
    total: int = 0  # steps, for progress
    energy: float = 0.0  # of the squared norms seen in live rows, the part in the prefix
    norm: float = 0.0

    def __post_init__(self) -> None:
        faiss.omp_set_num_threads(1)  # in this thread; the other cores answer searches
        self.live = self.view
        space = fitted(self.view.space, self.rotation)
        empty = Shortlist.empty(space.prefix_dim, CATCH_UP)
        self.view = replace(self.view, space=space, rotation=self.rotation, shortlist=empty)

    def run(self, newest: Callable[[], View]) -> None:
        """Read the rows of the view, make a graph or codes if there are to be any, then catch up with commits since."""
        total = self.total = self.live.rows
        if self._encodes():
            self._encode()
        else:
            self.view = replace(self.view, shortlist=Shortlist.empty(self.view.space.prefix_dim, total + CATCH_UP))
            self.read(self.live, total)
        if self.rotation is not None:
            energy = self.energy / self.norm if self.norm else 0.0
            self.rotation = replace(self.rotation, energy=energy)
            self.view = replace(self.view, rotation=self.rotation)
        self.catch_up(newest)

    def catch_up(self, newest: Callable[[], View]) -> None:
        """Take in what was committed meanwhile, but for what the writer's thread can do in a moment."""
        while newest().rows - self.view.shortlist.rows > CATCH_UP:
            self.read(newest())

    def ready(self) -> None:
        """The last moment at which somebody may stop it."""
        self.check_open()
        if self.total:
            self.progress(self.total, self.total)

    def swap(self, db: Connection, newest: View, snapshot: str | None) -> View:
        """In the writer's thread: the newest view with these prefixes, and the rows committed meanwhile.

        Nothing stops it any more: an error that says the store is closed would end all writing.
        """
        self.read(newest, stoppable=False)
        view = replace(
            newest,
            commits=newest.commits + 1,
            space=self.view.space,
            rotation=self.rotation,
            shortlist=self.view.shortlist,
        )
        record = Matrices(self.rotation, newest.query_map).to_json()
        sql = "UPDATE state SET commits = commits + 1, rotation = ?, snapshot = ?, space = ?"
        db.execute(sql, (record, snapshot, view.space.to_json()))
        return view

    def read(self, source: View, total: int = 0, stoppable: bool = True) -> None:
        """Make the prefixes of the rows that a later view has more."""
        for start in range(self.view.shortlist.rows, source.rows, BLOCK):
            if stoppable:
                self.check_open()
            stop = min(start + BLOCK, source.rows)
            rows = self._prefixes(source, start, stop, first=total > 0)
            self.view = replace(self.view, shortlist=self.view.shortlist.appended(rows))
            if total:
                self.progress(stop, total)

    def _prefixes(self, source: View, start: int, stop: int, first: bool) -> np.ndarray:
        prefetch_range(source.matrix, start, stop)
        full = read_block(source, start, stop)
        rows = turned(full, self.view.space.prefix_dim, self.rotation.matrix if self.rotation else None)
        if first:
            alive = bits.between(source.live, start, stop)
            self.energy += float(np.square(rows[alive], dtype=np.float64).sum())
            self.norm += float(np.square(full[alive], dtype=np.float64).sum())
        return unit(rows)

    def _encodes(self) -> bool:
        """As the live first stage, or as the merger would soon make it."""
        if self.view.searched.exact_only:
            return False
        tail = Shortlist(1, self.live.rows, np.empty((self.live.rows, 0), dtype=np.float32))
        return self.live.shortlist.older is not None or due(replace(self.view, shortlist=tail), self.options)

    def _encode(self) -> None:
        """The rows of the view, encoded as they are read: nothing holds all prefixes as floats."""
        older = trained(self.view, chosen_codes(self.options, self.live), self.total)
        fill(older, self._read_first())
        self.view = replace(self.view, shortlist=self.view.shortlist.with_older(older))

    def _read_first(self) -> Iterator[np.ndarray]:
        for start in range(0, self.total, BLOCK):
            self.check_open()
            stop = min(start + BLOCK, self.total)
            yield self._prefixes(self.live, start, stop, first=True)
            self.progress(stop, self.total)
