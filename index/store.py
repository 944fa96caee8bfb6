"""The local store: one directory, one process, everything a service needs of it."""

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from index import batch, filters, funnel, results
from index import documents as table
from index.batch import Outcome
from index.database import peek
from index.document import Document, StoredDocument, check_id
from index.errors import DocumentNotFound, InvalidInput, SearchTimeout
from index.layout import Layout
from index.matching import Matching, ids_in_batch
from index.matryoshka import check_vector, normalise
from index.merger import Merger
from index.opening import Opened, open_directory
from index.options import StoreOptions
from index.plan import make_plan
from index.query import Answer, Query
from index.space import Space
from index.statistics import statistics
from index.view import View
from index.writer import Job, Writer

DEFAULTS = StoreOptions()
ATTEMPTS = 4  # searches of ever newer views while documents move under the reader
__all__ = ["Outcome", "Store", "StoreOptions"]
log = logging.getLogger(__name__)


class Store:
    """Documents and vectors of one collection. Every method may be called from any thread and blocks."""

    def __init__(self, opened: Opened, options: StoreOptions) -> None:
        """Use `Store.open`."""
        self.options, self.layout = options, opened.layout
        self._lock, self._documents, self._vectors = opened.lock, opened.documents, opened.vectors
        self._matching = Matching(opened.documents)
        self._thread = threading.local()
        self._closed = False
        self._writer = Writer(opened.documents, opened.vectors, opened.view)
        self._merger = Merger(self._writer, opened.layout, options, opened.saved_rows)
        self._writer.committed = self._merger.notify
        self._merger.notify()

    @classmethod
    def open(cls, path: Path, space: Space | None, options: StoreOptions = DEFAULTS) -> "Store":
        """Open a data directory, making it if there is none.

        `space` None opens what is there with its own space. Raises FingerprintMismatch when the index was made
        in another space, StoreLocked, StoreCorrupt, StoreFormat.
        """
        return cls(open_directory(Path(path), space, options), options)

    @staticmethod
    def stored_space(path: Path) -> Space | None:
        """The space of the index in a directory, without opening it; None when there is no index."""
        layout = Layout(Path(path))
        if not layout.exists() or not layout.documents.exists():
            return None
        return Space.from_json(peek(layout.documents).space)

    @property
    def space(self) -> Space:
        """The embedding space of the index."""
        return self._writer.view.space

    @property
    def view(self) -> View:
        """The newest committed view."""
        return self._writer.view

    def search(self, vectors: np.ndarray, query: Query) -> list[Answer]:
        """One Answer for each row of (q, dim) or (dim,) vectors, which need not be unit vectors.

        Raises InvalidVector, InvalidPlan, InvalidFilter, SearchTimeout.
        """
        self._single_threaded()
        rows = [check_vector(vector, self.space.dim) for vector in np.atleast_2d(vectors)]
        unit = normalise(np.stack(rows)) if rows else np.empty((0, self.space.dim), dtype=np.float32)
        node = filters.parse(query.filter) if query.filter is not None else None
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return self._search(unit, query, node, strict=attempt < ATTEMPTS)
            except results.RowsMoved:
                log.debug("documents moved during the search; attempt %d", attempt)
        raise AssertionError("the last attempt leaves out what moved")

    def _search(self, unit: np.ndarray, query: Query, node: filters.Node | None, strict: bool) -> list[Answer]:
        view = self._writer.view
        plan = make_plan(query, view.space, view.count, self.options)
        if query.deadline is not None:
            _check_deadline(query.deadline)
        allowed = self._matching.allowed(view, node, query.exclude)
        rankings = funnel.search(view, unit, plan, allowed, query.deadline)
        with self._documents.reader() as db:
            return [
                results.answer(db, view, vector, query, plan, ranking, allowed, strict)
                for vector, ranking in zip(unit, rankings, strict=True)
            ]

    def vector_of(self, doc_id: str) -> np.ndarray:
        """The stored (dim,) float32 unit vector of a document; raises DocumentNotFound."""
        found = self.get([doc_id], with_vector=True)
        if not found or found[0].vector is None:
            raise DocumentNotFound(f"no document has the id {doc_id!r}")
        return found[0].vector

    def changed(self, documents: Sequence[Document], mode: str = "upsert") -> list[bool]:
        """Which documents need a vector before `write`: content new or different, and the mode accepts them."""
        batch.check_mode(mode)
        with self._documents.reader() as db:
            known = table.stored(db, list({document.doc_id for document in documents}))
        return [
            document.vector is None
            and not batch.refusal(mode, document.doc_id in known)
            and (document.doc_id not in known or known[document.doc_id].content_hash != document.content_hash)
            for document in documents
        ]

    def write(
        self,
        documents: Sequence[Document],
        vectors: Mapping[int, np.ndarray],
        mode: str = "upsert",
        atomic: bool = False,
    ) -> list[Outcome]:
        """Store documents; returns when they are fsynced, committed and searchable, one Outcome each.

        `vectors` maps positions in `documents` to (dim,) vectors; documents with their own need none. `mode` is
        upsert, insert_only or update_only. With `atomic` a refusal raises DocumentExists or DocumentNotFound
        and nothing is stored; nor is anything when an outcome is needs_vector. Raises InvalidVector,
        StorageFull, StoreUnavailable.
        """
        batch.check_mode(mode)
        given = dict(vectors) | {i: d.vector for i, d in enumerate(documents) if d.vector is not None}
        units = {i: normalise(check_vector(v, self.space.dim)[None])[0] for i, v in given.items()}
        job = Job(lambda work: batch.write(work, documents, units, mode, atomic), len(documents))
        try:
            answer: list[Outcome] = self._writer.submit(job)
        except batch.VectorsMissing as missing:
            return missing.outcomes
        return answer

    def update_metadata(self, doc_id: str, change: batch.Change) -> Outcome:
        """Replace a document's metadata by `change(document)`, called in the writer's thread; nothing else changes.

        Raises DocumentNotFound, InvalidDocument, and whatever FunnelError `change` raises.
        """
        outcome: Outcome = self._writer.submit(Job(lambda work: batch.update_metadata(work, doc_id, change)))
        return outcome

    def delete(self, doc_ids: Sequence[str]) -> int:
        """Delete documents durably; returns how many existed."""
        count: int = self._writer.submit(Job(lambda work: batch.delete(work, doc_ids), len(doc_ids)))
        return count

    def delete_where(self, filter: Mapping[str, Any]) -> int:
        """Delete every document that matches a filter, as of the moment of the commit."""
        node = filters.parse(filter)
        if not filter:
            raise InvalidInput("an empty filter matches everything; delete by ids, or name a condition")

        def apply(work: batch.Batch) -> int:
            return batch.delete(work, ids_in_batch(work, self._writer.view, node))

        count: int = self._writer.submit(Job(apply))
        return count

    def get(self, doc_ids: Sequence[str], with_vector: bool = False) -> list[StoredDocument]:
        """Documents by id in the order asked for; missing ones are left out."""
        with self._documents.reader() as db:
            found = table.by_ids(db, doc_ids)
            return self._with_vectors(found) if with_vector else found

    def scroll(
        self,
        limit: int,
        after: str | None = None,
        filter: Mapping[str, Any] | None = None,
        with_vector: bool = False,
    ) -> tuple[list[StoredDocument], str | None]:
        """Up to `limit` documents in order of id, and the `after` of the next page, None at the end."""
        if limit < 1:
            raise InvalidInput(f"limit must be at least 1, got {limit}")
        if after:
            check_id(after)
        node = None if filter is None else filters.parse(filter)
        allowed = None if node is None else self._matching.filtered(self._writer.view, node)
        with self._documents.reader() as db:
            ids = table.page(db, after, limit + 1, allowed)
            found = table.by_ids(db, ids[:limit])
            page = self._with_vectors(found) if with_vector else found
        return page, ids[limit - 1] if len(ids) > limit else None

    def count(self, filter: Mapping[str, Any] | None = None) -> int:
        """Number of live documents that match."""
        view = self._writer.view
        return view.count if filter is None else self._matching.filtered(view, filters.parse(filter)).count

    def stats(self) -> dict[str, Any]:
        """Counts, the shortlist's make, bytes on disk and in memory."""
        cached, broken = self._matching.cached_bytes, self._writer.broken
        return statistics(self._writer.view, self.layout, self._merger, cached, broken)

    def close(self) -> None:
        """Finish waiting writes, save the shortlist, release the directory."""
        if self._closed:
            return
        self._closed = True
        with ExitStack() as stack:  # from the last line to the first; what fails does not keep the rest open
            stack.callback(self._lock.close)
            stack.callback(lambda: self._vectors.close(None if self._writer.broken else self._writer.view.rows))
            stack.callback(self._documents.close)
            stack.callback(self._writer.close)
            stack.callback(self._merger.close)

    def _with_vectors(self, found: list[StoredDocument]) -> list[StoredDocument]:
        # Not the view's matrix: a document can be read a moment before its view is published.
        rows = [document.row for document in found]
        matrix = self._vectors.matrix(max(rows, default=-1) + 1)
        stored = self._vectors.codec.decode(np.take(matrix, np.array(rows, dtype=np.int64), axis=0))
        return [replace(document, vector=vector) for document, vector in zip(found, stored, strict=True)]

    def _single_threaded(self) -> None:
        # FAISS opens an OpenMP region even for one query; two searches at once want one core each.
        if not getattr(self._thread, "ready", False):
            faiss.omp_set_num_threads(1)
            self._thread.ready = True

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _check_deadline(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise SearchTimeout("the deadline passed before the search began")
