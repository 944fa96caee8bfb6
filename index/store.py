"""The local store: one directory, one process, everything a service needs of it."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from index import batch, filters
from index.batch import Outcome
from index.calibrating import Asked, calibrate
from index.calibration import Calibration
from index.calibrations import Calibrations
from index.document import Document, StoredDocument
from index.drift import Drift
from index.durations import Durations
from index.errors import DocumentNotFound, InvalidInput
from index.jobs import Job
from index.matching import Matching, ids_in_batch
from index.matrices import parts
from index.matryoshka import unit_rows
from index.measuring import Measuring
from index.merger import Merger
from index.newest import on_newest
from index.opening import Opened, open_directory, peeked
from index.options import StoreOptions
from index.progress import Progress, silent
from index.query import Answer, Query
from index.reader import Reader
from index.sampling import sample
from index.searching import Searcher
from index.shadow import Shadow, shadow
from index.space import Space
from index.statistics import statistics
from index.told import told
from index.upkeep import Upkeep
from index.vectors import VectorFile
from index.view import View
from index.words import Words
from index.writer import Writer

DEFAULTS = StoreOptions()
__all__ = ["Outcome", "Store", "StoreOptions"]


class Store(Upkeep):
    """Documents and vectors of one collection. Every method may be called from any thread and blocks."""

    def __init__(self, opened: Opened, options: StoreOptions) -> None:
        """Use `Store.open`."""
        self.options, self.layout = options, opened.layout
        self._lock, self._documents = opened.lock, opened.documents
        self._matching, self._drift, self._closed = Matching(opened.documents), Drift(), False
        self._writer = Writer(opened.documents, opened.vectors, opened.view)
        written = {"commit": self._writer.commits, "vectors": self._writer.syncs, "documents": opened.documents.syncs}
        self.durations: Mapping[str, Durations] = written  # whole commits; in them the fsyncs of vectors and documents
        self._merger = Merger(self._writer, opened.layout, options, opened.saved_rows)
        self._words = Words(opened.documents, opened.layout, lambda: self._writer.view)
        self._writer.committed = self._committed
        self._calibrations = Calibrations(opened.layout)
        super().__init__(self._writer, opened.documents, self._merger, self._calibrations, opened.layout, options)
        self._reader = Reader(opened.documents, lambda: self._vectors, self._matching, lambda: self._writer.view)
        seen = (opened.documents, self._matching, self._calibrations, options, lambda: self._writer.view)
        self._searcher, self.measuring = Searcher(*seen, self._words), Measuring(*seen)
        self._merger.notify()

    @classmethod
    def open(cls, path: Path, space: Space | None, options: StoreOptions = DEFAULTS) -> "Store":
        """Open a data directory, making it if there is none.

        `space` None opens what is there with its own space. Raises FingerprintMismatch when the index was made
        in another space, StoreLocked, StoreCorrupt, StoreFormat, StorageFull, StoreUnavailable.
        """
        with told(f"{path} cannot be opened"), ExitStack() as stack:
            opened = open_directory(Path(path), space, options)
            stack.callback(opened.close)
            store = cls(opened, options)
            stack.pop_all()
            return store

    @staticmethod
    def stored_space(path: Path) -> Space | None:
        """The space of the index in a directory, without opening it; None when there is no index."""
        state = peeked(path)
        return None if state is None else Space.from_json(state.space)

    @staticmethod
    def stored_rotation(path: Path) -> tuple[int, ...]:
        """The widths that the rotation in a directory was learned for, without opening it; () when there is none."""
        state = peeked(path)
        rotation = None if state is None else parts(state.rotation)[0]
        return () if rotation is None else tuple(rotation["widths"])

    @property
    def space(self) -> Space:
        """The embedding space of the index."""
        return self._writer.view.space

    @property
    def _vectors(self) -> VectorFile:
        return self._writer.vectors

    @property
    def view(self) -> View:
        """The newest committed view."""
        return self._writer.view

    def search(self, vectors: np.ndarray, query: Query) -> list[Answer]:
        """One Answer for each row of (q, dim) or (dim,) vectors, which need not be unit vectors.

        Raises InvalidVector, InvalidPlan, InvalidFilter, SearchTimeout, WordsBusy.
        """
        return self._searcher.search(vectors, query)

    def shadow(self, view: View, vector: np.ndarray, query: Query, answer: Answer) -> Shadow:
        """What `index.shadow.recalls` compares later with exact search; see `index.shadow.shadow`."""
        return shadow(view, self._matching, vector, query, answer)

    def vector_of(self, doc_id: str) -> np.ndarray:
        """The stored (dim,) float32 unit vector of a document; raises DocumentNotFound."""
        for document in self.get([doc_id], with_vector=True):
            if document.vector is not None:
                return document.vector
        raise DocumentNotFound(f"no document has the id {doc_id!r}")

    def changed(self, documents: Sequence[Document], mode: str = "upsert") -> list[bool]:
        """Which documents need a vector before `write`: content new or different, and the mode accepts them."""
        return self._reader.changed(documents, mode)

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
        units = dict(zip(given, unit_rows(given.values(), self.space.dim), strict=True))
        job = Job(lambda work: batch.write(work, documents, units, mode, atomic), len(documents))
        try:
            return list(self._writer.submit(job))
        except batch.VectorsMissing as missing:
            return missing.outcomes

    def update_metadata(self, doc_id: str, change: batch.Change) -> Outcome:
        """Replace a document's metadata by `change(document)`, called in the writer's thread; nothing else changes.

        Raises DocumentNotFound, InvalidDocument, and whatever FunnelError `change` raises.
        """
        outcome: Outcome = self._writer.submit(Job(lambda work: batch.update_metadata(work, doc_id, change)))
        return outcome

    def delete(self, doc_ids: Sequence[str]) -> int:
        """Delete documents durably; returns how many existed."""
        return int(self._writer.submit(Job(lambda work: batch.delete(work, doc_ids), len(doc_ids))))

    def delete_where(self, filter: Mapping[str, Any]) -> int:
        """Delete every document that matches a filter, as of the moment of the commit."""
        node = filters.parse(filter)
        if not filter:
            raise InvalidInput("an empty filter matches everything; delete by ids, or name a condition")
        job = Job(lambda work: batch.delete(work, ids_in_batch(work, self.view, node)))
        return int(self._writer.submit(job))

    def get(self, doc_ids: Sequence[str], with_vector: bool = False) -> list[StoredDocument]:
        """Documents by id in the order asked for; missing ones are left out."""
        return self._reader.get(doc_ids, with_vector)

    def scroll(
        self,
        limit: int,
        after: str | None = None,
        filter: Mapping[str, Any] | None = None,
        with_vector: bool = False,
    ) -> tuple[list[StoredDocument], str | None]:
        """Up to `limit` documents in order of id, fewer when their texts are long, and the `after` of the next page,
        None at the end."""
        return self._reader.scroll(limit, after, filter, with_vector)

    def count(self, filter: Mapping[str, Any] | None = None) -> int:
        """Number of live documents that match."""
        if filter is None:
            return self.view.count
        node = filters.parse(filter)
        return on_newest(lambda: self.view, lambda view, strict: self._matching.filtered(view, node, strict)).count

    @property
    def calibration(self) -> Calibration | None:
        """What target recalls go by; None when there is none for the model, prefix and first stage in force."""
        return self._calibrations.of(self.view)

    def calibrate(self, asked: Asked, progress: Progress | None = None, seed: int = 0) -> Calibration:
        """Learn from queries how deep a search has to go, and put that in force; searches and writes go on.

        `progress` gets (steps done, steps) every few milliseconds of work; it may wait, and what it raises stops the
        work with nothing changed. Raises InvalidInput for too few queries or documents, StorageFull, StoreUnavailable.
        """
        made = calibrate(self.view, asked, self.options.max_shortlist, progress or silent, seed)
        self._calibrations.put(made)
        return made

    def forget_calibration(self) -> None:
        """Search with the default shortlist again."""
        self._calibrations.forget()

    def sample(self, size: int, seed: int = 0) -> np.ndarray:
        """(n, dim) float32 stored vectors of n = min(size, count) documents, drawn without replacement, by row."""
        return sample(self.view, size, seed)

    def stats(self) -> dict[str, Any]:
        """Counts, the shortlist's make, bytes on disk and in memory."""
        about = statistics(self.view, self.layout, self._merger, self._matching.cached_bytes, self._writer.broken)
        return about | self._drift.describe(self.view) | self._calibrations.describe(self.view)

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
            stack.callback(self._words.close)
            stack.callback(self.close_upkeep)

    def _committed(self) -> None:
        self._merger.notify()
        self._words.notify()

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
