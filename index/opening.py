"""Opening a data directory: lock, format, fingerprint, vectors, shortlist, and the first view."""

import logging
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

import numpy as np

from index import bits, seal
from index.codec import Codec, stored_codec
from index.database import Documents, peek
from index.documents import live_mask
from index.drift import energy_of
from index.encoding import fill, trained
from index.errors import FingerprintMismatch, StoreCorrupt, StoreFormat
from index.graph import Graph
from index.integrity import read_block
from index.layout import Layout, acquire_lock
from index.log_file import check_log_file
from index.making import make_documents
from index.matrices import Matrices, load_matrices
from index.merger import due, load_snapshot
from index.older import Older
from index.options import PACKED, StoreOptions
from index.rotation import check_prefix, fitted
from index.shortlist import Shortlist
from index.space import Space
from index.tables import State
from index.vectors import VectorFile
from index.verify_files import named_files
from index.view import View

BLOCK = 16_384  # rows read at a time when prefixes are made again
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Opened:
    """Everything a Store owns."""

    layout: Layout
    lock: IO[str]
    documents: Documents
    vectors: VectorFile
    view: View
    saved_rows: int  # rows of the shortlist snapshot that was read

    def close(self) -> None:
        """Give everything back: no store has been made of it."""
        self.vectors.close()
        self.documents.close()
        self.lock.close()


def peeked(path: Path) -> State | None:
    """The state of the index in a directory, without opening it; None when there is none."""
    layout = Layout(Path(path))
    return peek(layout.documents) if layout.exists() and layout.documents.exists() else None


def open_directory(path: Path, space: Space | None, options: StoreOptions) -> Opened:
    """Open or make a directory; everything taken is released again when that fails."""
    layout = Layout(path)
    if space is None and not layout.exists():
        raise StoreFormat(f"there is no index in {path}; name the vectors' width (FUNNEL_DIM) to make one")
    with ExitStack() as stack:
        lock = acquire_lock(layout)
        stack.callback(lock.close)
        _prepare(layout, space, options)
        check_log_file(layout.log)
        documents = Documents(layout.documents)
        stack.callback(documents.close)
        state = documents.state()
        actual = _agreed_space(Space.from_json(state.space), space)
        matrices = load_matrices(state.rotation, layout.collection, actual.dim)
        actual = fitted(actual, matrices.rotation)
        if matrices.rotation is not None:
            check_prefix(actual, matrices.rotation)
        codec = stored_codec(state.storage, actual.dim)
        if state.storage != options.storage:
            log.warning("the index stores %s vectors; storage=%s is for new ones", state.storage, options.storage)
        vectors = VectorFile(*layout.vector_files(state.generation), codec, create=state.rows == 0)
        stack.callback(vectors.close)
        empty = _empty_view(documents, state, actual, codec, vectors, matrices)
        shortlist, saved = _shortlist(layout, state, empty, options)
        view = replace(empty, shortlist=shortlist)
        if actual.to_json() != state.space:  # another prefix of the same vectors
            view = _remeasured(view, Space.from_json(state.space))
            _record(documents, view)
        _remove_strays(layout, state)  # now that all that the state names has been read
        stack.pop_all()
        return Opened(layout, lock, documents, vectors, view, saved)


@contextmanager
def offline(path: Path) -> Iterator[tuple[Layout, Documents]]:
    """An existing directory under its lock, for work that no store does; raises StoreFormat when there is none."""
    layout = Layout(path)
    if not layout.exists():
        raise StoreFormat(f"there is no index in {path}")
    with closing(acquire_lock(layout)):
        layout.check_format()
        check_log_file(layout.log)  # closing the documents empties it
        with closing(Documents(layout.documents)) as documents:
            yield layout, documents


def _prepare(layout: Layout, space: Space | None, options: StoreOptions) -> None:
    """Check the format; make what is not there yet."""
    if layout.exists():
        layout.check_format()
    else:
        if strangers := layout.strangers():
            named = ", ".join(strangers[:5])
            raise StoreFormat(f"{layout.root} is not a funnel-search directory (no manifest.json) and holds {named}")
        layout.create()
    there = layout.documents.exists() and layout.documents.stat().st_size > 0
    if not there and any(path.stat().st_size for path in layout.collection.glob("vectors-*")):
        raise StoreCorrupt(f"{layout.documents} is missing or empty, but its vectors are there; bring it back")
    if space is not None and not there:
        make_documents(layout, State(0, 1, options.storage, 0, space.to_json()))


def _agreed_space(stored: Space, asked: Space | None) -> Space:
    if asked is None:
        return stored
    if different := stored.differences(asked):
        raise FingerprintMismatch(
            "the index was made in another embedding space: "
            + "; ".join(different)
            + ". Start with the model that made it, embed its texts again with `funnel reindex`, or choose an "
            "empty data directory (FUNNEL_DATA_DIR)"
        )
    return asked


def _remove_strays(layout: Layout, state: State) -> None:
    """Delete vectors, graphs and matrices that the state does not name, and what an interrupted repair left."""
    named = named_files(layout, state)
    shutil.rmtree(layout.collection / "repair.tmp", ignore_errors=True)  # a copy of the documents, deleted ones too
    for pattern in (
        "vectors-*",
        "shortlist-*",
        "words-*",
        "rotation-*",
        "query-map-*",
        "documents.compact*",
        "repairing",
    ):
        for path in layout.collection.glob(pattern):
            if path.name not in named:
                log.info("removing %s, which no generation names", path.name)
                path.unlink()


def _shortlist(layout: Layout, state: State, view: View, options: StoreOptions) -> tuple[Shortlist, int]:
    """Prefixes of every committed row: the snapshot, and the rows since made again from the vectors."""
    shortlist, saved = view.shortlist, 0
    if options.shortlist_index != "flat" and not view.searched.exact_only:
        older = load_snapshot(state.snapshot, layout.collection, view.space.prefix_dim, state.rows)
        if older is not None and fits(older, options):
            shortlist, saved = shortlist.with_older(older), older.rows
    if state.rows - shortlist.rows > BLOCK:
        log.info("making the prefixes of %d rows again", state.rows - shortlist.rows)
    if options.codes == PACKED and due(_unread(view, shortlist), options):
        shortlist = shortlist.with_older(_packed(view, shortlist.older))
    for start in range(shortlist.rows, state.rows, BLOCK):
        shortlist = shortlist.appended(view.prefixes(read_block(view, start, min(start + BLOCK, state.rows))))
    return shortlist, saved


def _unread(view: View, shortlist: Shortlist) -> View:
    """The view as if the rows that the snapshot leaves were in the tail."""
    tail = np.empty((view.rows - shortlist.rows, 0), dtype=np.float32)
    return replace(view, shortlist=Shortlist(0, view.rows, tail, shortlist.older))


def _packed(view: View, older: Older | None) -> Older:
    """All rows of the view packed as they are read: as floats they would take ten times the room."""
    older = older or trained(view, PACKED, view.rows)
    starts = range(older.rows, view.rows, BLOCK)
    fill(older, (view.prefixes(read_block(view, start, min(start + BLOCK, view.rows))) for start in starts))
    return older


def _remeasured(view: View, before: Space) -> View:
    """The view whose rotation tells the energy in this prefix, of a sample; it was measured in that of `before`."""
    if view.rotation is None or view.space.prefix_dim == before.prefix_dim:
        return view
    energy = energy_of(view, view.rotation, 0, view.rotation.through)
    return replace(view, rotation=replace(view.rotation, energy=energy or 0.0))


def _record(documents: Documents, view: View) -> None:
    matrices = Matrices(view.rotation, view.query_map).to_json()
    with documents.transaction() as db:
        db.execute("UPDATE state SET space = ?, rotation = ?", (view.space.to_json(), matrices))


def fits(older: Older, options: StoreOptions) -> bool:
    """Whether a snapshot is of the kind that is asked for, in codes that it may have."""
    return older.kind == Graph.kind if options.codes is None else older.codes == options.codes


def _empty_view(
    documents: Documents, state: State, space: Space, codec: Codec, vectors: VectorFile, matrices: Matrices
) -> View:
    """The view without its prefixes."""
    with documents.reader() as db:
        live: np.ndarray = live_mask(db, state.rows)
        seal.check_rows(db, live)
    return View(
        space=space,
        codec=codec,
        commits=state.commits,
        generation=state.generation,
        rows=state.rows,
        count=int(live.sum()),
        epoch=0,
        live=bits.pack(live),
        matrix=vectors.matrix(state.rows),
        checksums=vectors.checksums(state.rows),
        shortlist=Shortlist.empty(space.prefix_dim),
        rotation=matrices.rotation,
        query_map=matrices.query_map,
    )
