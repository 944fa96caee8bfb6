"""Documents as they are stored: by id, page by page, with their vectors; which of them have to be embedded."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from index import batch, filters
from index import documents as table
from index.database import Documents
from index.document import Document, StoredDocument, check_id
from index.errors import InvalidInput, StoreCorrupt
from index.integrity import check_vectors
from index.matching import Matching, own_matches
from index.newest import on_newest
from index.seal import REPAIR
from index.vectors import VectorFile
from index.view import View

PAGE_BYTES = 16 << 20  # of texts, after which a page ends early: a thousand documents may have gigabytes
FIRST = 16  # documents that are read before their size is known


class Reader:
    """Reads what was committed; may be called from any thread."""

    def __init__(
        self,
        documents: Documents,
        vectors: Callable[[], VectorFile],
        matching: Matching,
        newest: Callable[[], View],
    ) -> None:
        """`vectors` are those of the documents' generation, as long as these are read."""
        self._documents, self._vectors, self._matching, self._newest = documents, vectors, matching, newest

    def get(self, doc_ids: Sequence[str], with_vector: bool) -> list[StoredDocument]:
        """See `Store.get`."""
        with self._documents.reader() as db:
            found = table.by_ids(db, doc_ids)
            return self._with_vectors(found) if with_vector else found

    def scroll(
        self, limit: int, after: str | None, filter: Mapping[str, Any] | None, with_vector: bool
    ) -> tuple[list[StoredDocument], str | None]:
        """See `Store.scroll`."""
        if limit < 1:
            raise InvalidInput(f"limit must be at least 1, got {limit}")
        if after:
            check_id(after)
        node = None if filter is None else filters.parse(filter)
        return on_newest(self._newest, lambda view, strict: self._page(view, strict, limit, after, node, with_vector))

    def _page(
        self, view: View, strict: bool, limit: int, after: str | None, node: filters.Node | None, with_vector: bool
    ) -> tuple[list[StoredDocument], str | None]:
        with self._documents.reader(view.generation) as db:
            allowed = None if node is None else self._matching.passing(db, view, node, strict)
            ids = table.page(db, after, limit + 1, allowed)
            found = _first(db, ids[:limit])
            last = len(found)
            if node is not None:
                found = own_matches(db, view, found, node)
            page = self._with_vectors(found) if with_vector else found
        return page, ids[last - 1] if len(ids) > last else None

    def changed(self, documents: Sequence[Document], mode: str) -> list[bool]:
        """See `Store.changed`."""
        batch.check_mode(mode)
        with self._documents.reader() as db:
            known = table.stored(db, list({document.doc_id for document in documents}))
        return [
            document.vector is None
            and not batch.refusal(mode, document.doc_id in known)
            and (document.doc_id not in known or known[document.doc_id].content_hash != document.content_hash)
            for document in documents
        ]

    def _with_vectors(self, found: list[StoredDocument]) -> list[StoredDocument]:
        # Not the view's matrix: a document can be read a moment before its view is published.
        rows = [document.row for document in found]
        vectors = self._vectors()
        needed = max(rows, default=-1) + 1
        matrix = vectors.matrix(needed)
        check_vectors(matrix, vectors.checksums(needed), rows)
        stored = vectors.codec.decode(np.take(matrix, np.array(rows, dtype=np.int64), axis=0))
        return [replace(document, vector=vector) for document, vector in zip(found, stored, strict=True)]


def _first(db: sqlite3.Connection, ids: Sequence[str]) -> list[StoredDocument]:
    """The documents of the first of these ids: one at least, and no more once their texts have PAGE_BYTES."""
    found: list[StoredDocument] = []
    size, step = 0, FIRST
    while len(found) < len(ids) and size < PAGE_BYTES:
        asked = ids[len(found) : len(found) + step]
        part = _checked(table.by_ids(db, asked), asked)
        found += part
        size += sum(len(document.text) for document in part)
        step = max(1, (PAGE_BYTES - size) * len(found) // max(size, 1))
    return found


def _checked(found: list[StoredDocument], ids: Sequence[str]) -> list[StoredDocument]:
    """All of a page: its ids were read in the same moment."""
    if len(found) < len(ids):
        missing = next(doc_id for doc_id in ids if doc_id not in {document.doc_id for document in found})
        raise StoreCorrupt(f"the document {missing!r} is not in the index of the ids; {REPAIR}")
    return found
