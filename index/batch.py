"""Several writes made one: what a commit changes, gathered while its SQLite transaction is open."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from index import documents as table
from index.document import Document, StoredDocument, canonical_json
from index.documents import Stored
from index.errors import DocumentExists, DocumentNotFound, FunnelError, InvalidInput

MODES = ("upsert", "insert_only", "update_only")
Change = Callable[[StoredDocument], Mapping[str, Any]]


@dataclass(frozen=True)
class Outcome:
    """What became of one document.

    `status` is created, updated, unchanged, exists (insert_only met a taken id), missing (update_only met an
    unknown one) or needs_vector (the stored content differs and no vector was given: embed it, write again).
    """

    doc_id: str
    status: str


class VectorsMissing(FunnelError):
    """An atomic write lacks vectors; nothing of it was stored."""

    def __init__(self, outcomes: list[Outcome]) -> None:
        super().__init__("some documents need a vector")
        self.outcomes = outcomes


@dataclass
class Batch:
    """Rows added and killed by the jobs of one commit; `first` is the first free row.

    Documents are stored many at a time: `flush` before anything looks for those that were added.
    """

    db: sqlite3.Connection
    first: int
    added: list[np.ndarray] = field(default_factory=list)  # (dim,) float32 each
    killed: list[int] = field(default_factory=list)
    repainted: list[int] = field(default_factory=list)  # rows whose metadata changed in place
    waiting: list[Document] = field(default_factory=list)  # added and not yet in a table

    @property
    def next_row(self) -> int:
        """The row the next added vector gets."""
        return self.first + len(self.added)

    def mark(self) -> tuple[int, int, int]:
        """Where the batch stands, for `rewind`; nothing waits."""
        return len(self.added), len(self.killed), len(self.repainted)

    def rewind(self, mark: tuple[int, int, int]) -> None:
        """Forget what was gathered since `mark`."""
        added, killed, repainted = mark
        del self.added[added:], self.killed[killed:], self.repainted[repainted:]
        self.waiting.clear()

    def flush(self) -> None:
        """Store the documents that wait."""
        table.insert(self.db, self.next_row - len(self.waiting), self.waiting)
        self.waiting.clear()

    def kill(self, old: Stored) -> None:
        """Remove the document at a row; the row is dead from this commit on."""
        self._settle(old)
        table.remove(self.db, old)
        self.killed.append(old.row)

    def add(self, document: Document, vector: np.ndarray) -> Stored:
        """Store a document at the next row, once `flush` is called."""
        row = self.next_row
        self.waiting.append(document)
        self.added.append(vector)
        return Stored(row, document.content_hash, document.document_hash, document.metadata_json)

    def repaint(self, old: Stored, metadata_json: str) -> Stored:
        """Give the document at a row new metadata in place."""
        self._settle(old)
        new = table.replace_metadata(self.db, old, metadata_json)
        self.repainted.append(old.row)
        return new

    def _settle(self, old: Stored) -> None:
        if old.row >= self.next_row - len(self.waiting):  # written twice by one job
            self.flush()


def write(
    batch: Batch, documents: Sequence[Document], vectors: Mapping[int, np.ndarray], mode: str, atomic: bool
) -> list[Outcome]:
    """Apply documents in order; `vectors` maps positions to (dim,) unit vectors.

    With `atomic`, raises DocumentExists or DocumentNotFound at the first refusal, VectorsMissing at the end.
    """
    known = table.stored(batch.db, list({document.doc_id for document in documents}))
    outcomes = []
    for position, document in enumerate(documents):
        status = _write_one(batch, known, document, vectors.get(position), mode)
        if atomic and status in ("exists", "missing"):
            raise _refused(document.doc_id, status)
        outcomes.append(Outcome(document.doc_id, status))
    batch.flush()
    if atomic and any(outcome.status == "needs_vector" for outcome in outcomes):
        raise VectorsMissing(outcomes)
    return outcomes


def delete(batch: Batch, doc_ids: Sequence[str]) -> int:
    """Remove documents; returns how many there were."""
    found = table.stored(batch.db, list(dict.fromkeys(doc_ids)))
    for old in found.values():
        batch.kill(old)
    return len(found)


def update_metadata(batch: Batch, doc_id: str, change: Change) -> Outcome:
    """Replace a document's metadata by what `change` makes of the document; row, vector and content stay."""
    old = table.stored(batch.db, [doc_id]).get(doc_id)
    if old is None:
        raise DocumentNotFound(f"no document has the id {doc_id!r}")
    (document,) = table.by_ids(batch.db, [doc_id])
    metadata = canonical_json(change(document))
    if metadata == old.metadata:
        return Outcome(doc_id, "unchanged")
    batch.repaint(old, metadata)
    return Outcome(doc_id, "updated")


def check_mode(mode: str) -> None:
    """Raise InvalidInput unless `mode` is one of MODES."""
    if mode not in MODES:
        raise InvalidInput(f"mode must be one of {', '.join(MODES)}, got {mode!r}")


def refusal(mode: str, exists: bool) -> str | None:
    """The status with which a mode refuses a document, or None."""
    if mode == "insert_only" and exists:
        return "exists"
    return "missing" if mode == "update_only" and not exists else None


def _refused(doc_id: str, status: str) -> DocumentExists | DocumentNotFound:
    if status == "exists":
        return DocumentExists(f"document {doc_id!r} exists already")
    return DocumentNotFound(f"document {doc_id!r} does not exist")


def _write_one(batch: Batch, known: dict[str, Stored], document: Document, vector: np.ndarray | None, mode: str) -> str:
    old = known.get(document.doc_id)
    if refused := refusal(mode, old is not None):
        return refused
    if old is not None and old.content_hash == document.content_hash:
        if old.document_hash == document.document_hash:
            return "unchanged"
        known[document.doc_id] = batch.repaint(old, document.metadata_json)
        return "updated"
    if vector is None:
        return "needs_vector"
    if old is not None:
        batch.kill(old)
    known[document.doc_id] = batch.add(document, vector)
    return "created" if old is None else "updated"
