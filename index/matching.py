"""Which rows a search may find: the live ones that pass the filter, less the one that is left out."""

import sqlite3
from collections.abc import Sequence

import numpy as np

from index import bits, filters
from index.allowed import Allowed
from index.batch import Batch
from index.database import Documents
from index.document import StoredDocument
from index.documents import by_rows, stored
from index.errors import StoreCorrupt, ViewGone
from index.filters import Condition, Node
from index.postings import Postings
from index.seal import REPAIR
from index.view import View


class Matching:
    """Answers filters over a view, with a cache of their conditions' bitmaps. Raises ViewGone, see `index.newest`."""

    def __init__(self, documents: Documents) -> None:
        self._documents, self._postings = documents, Postings()

    @property
    def cached_bytes(self) -> int:
        """Bytes held by cached bitmaps."""
        return self._postings.cached_bytes

    def allowed(
        self, view: View, node: Node | None, exclude: str | None = None, strict: bool = False
    ) -> Allowed | None:
        """Rows that may be found, or None when that is all of them."""
        if node is None and exclude is None and view.all_live:
            return None
        allowed = view.every if node is None else self.filtered(view, node, strict)
        return allowed if exclude is None else self._without(view, allowed, exclude)

    def filtered(self, view: View, node: Node, strict: bool = False) -> Allowed:
        """The live rows that pass a filter; see `passing`."""
        with self._documents.reader(view.generation) as db:
            return self.passing(db, view, node, strict)

    def passing(self, db: sqlite3.Connection, view: View, node: Node, strict: bool) -> Allowed:
        """The same, as these documents tell. With `strict`, ViewGone when they are newer than the view: a document
        that was written again since is not at its row any more, and at none of the view's."""
        if strict and not as_of(db, view):
            raise ViewGone("documents were committed since the view was made")

        def rows_of(condition: Condition) -> np.ndarray:
            return self._postings.bitmap(db, condition, view.rows, view.epoch)

        packed = filters.bitmap(node, rows_of, view.live)
        return Allowed(packed, bits.count(packed), view.rows)

    def _without(self, view: View, allowed: Allowed, doc_id: str) -> Allowed:
        with self._documents.reader(view.generation) as db:
            found = stored(db, [doc_id])
        rows = [old.row for old in found.values() if old.row < allowed.rows]
        return allowed.without(rows)


def as_of(db: sqlite3.Connection, view: View) -> bool:
    """Whether nothing was committed since the view was made: what disagrees with it then is damaged."""
    return db.execute("SELECT commits FROM state").fetchone() == (view.commits,)


def own_matches(
    db: sqlite3.Connection, view: View, found: Sequence[StoredDocument], node: Node
) -> list[StoredDocument]:
    """Those of the documents found in a view by a filter that pass it by their own metadata: all of them, unless
    these changed in place meanwhile. StoreCorrupt when they did not."""
    passing = [document for document in found if filters.matches(node, document.metadata)]
    if len(passing) < len(found) and as_of(db, view):
        raise _disagree(next(document for document in found if document not in passing))
    return passing


def _disagree(document: StoredDocument) -> StoreCorrupt:
    return StoreCorrupt(
        f"the inverted metadata of the document {document.doc_id!r} (row {document.row}) are not its own; {REPAIR}"
    )


def ids_in_batch(batch: Batch, view: View, node: Node) -> list[str]:
    """Ids that pass a filter inside an open commit, whose earlier jobs are seen and which no cache may know of.

    Raises StoreCorrupt when a document does not pass by its own metadata: it must not be deleted for a flipped bit.
    """
    look_up, rows = Postings(budget=0), batch.next_row
    live = bits.changed(view.live, view.rows, rows, batch.killed)
    found = filters.bitmap(node, lambda condition: look_up.bitmap(batch.db, condition, rows, 0), live)
    passing = by_rows(batch.db, np.flatnonzero(bits.unpack(found, rows)).tolist()).values()
    for document in passing:
        if not filters.matches(node, document.metadata):
            raise _disagree(document)
    return [document.doc_id for document in passing]
