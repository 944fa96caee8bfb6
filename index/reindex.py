"""Embed every stored text again, in another space, beside the live generation; then swap in one transaction.

Works on a directory that no server has open. Interrupted, it goes on where it stopped: `state.pending` names
the space being built and how many rows are done. Rows keep their numbers; dead ones stay zero.
"""

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from index.codec import Codec, make_codec
from index.database import Documents
from index.document import NO_VECTOR
from index.documents import by_rows, live_mask
from index.errors import InvalidInput, InvalidVector
from index.layout import Layout
from index.matrices import parts
from index.matryoshka import check_vector, normalise
from index.opening import offline
from index.options import StoreOptions
from index.progress import Progress
from index.space import Space
from index.tables import State
from index.vectors import VectorFile

Embed = Callable[[list[str]], np.ndarray]
DEFAULTS = StoreOptions()
BLOCK = 4_096  # rows looked at together
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pending:
    """A generation being built: its space, its storage, and the rows done."""

    space: str
    storage: str
    rows: int = 0

    @classmethod
    def of(cls, state: State, space: Space, storage: str) -> "Pending":
        """What an earlier run left, if it built the same; else a fresh start."""
        fresh = cls(space.to_json(), storage)
        if state.pending is None:
            return fresh
        left = cls(**json.loads(state.pending))
        return left if (left.space, left.storage) == (fresh.space, fresh.storage) else fresh

    def to_json(self) -> str:
        """JSON for `state.pending`."""
        return json.dumps({"space": self.space, "storage": self.storage, "rows": self.rows})


def reindex(
    path: Path,
    space: Space,
    embed: Embed,
    options: StoreOptions = DEFAULTS,
    batch: int = 256,
    progress: Progress | None = None,
) -> int:
    """Re-embed a directory into `space`; returns the number of documents.

    `embed` maps up to `batch` texts to (n, dim) vectors. `progress` gets (documents done, documents).
    Raises InvalidInput when documents carry vectors of their own, whose texts no model has seen.
    """
    with offline(Path(path)) as (layout, documents):
        return _build(layout, documents, space, embed, options, batch, progress)


def _build(
    layout: Layout,
    documents: Documents,
    space: Space,
    embed: Embed,
    options: StoreOptions,
    batch: int,
    progress: Progress | None,
) -> int:
    state = documents.state()
    with documents.reader() as db:
        rows = np.flatnonzero(live_mask(db, state.rows))
    _check_texts(documents, rows)
    pending = Pending.of(state, space, options.storage)
    _note(documents, pending)
    codec = make_codec(options.storage, space.dim)
    vectors = VectorFile(*layout.vector_files(state.generation + 1), codec, create=True)
    try:
        if not _is_whole(vectors, pending.rows):
            log.warning("what an interrupted run left is damaged or gone: everything is embedded again")
            pending = replace(pending, rows=0)
            _note(documents, pending)
        for start in range(pending.rows, state.rows, batch):
            stop = min(start + batch, state.rows)
            first, last = np.searchsorted(rows, (start, stop))
            vectors.write(start, _encoded(documents, codec, embed, rows[first:last], start, stop))
            pending = Pending(pending.space, pending.storage, stop)
            _note(documents, pending)
            if progress:
                progress(int(last), len(rows))
    finally:
        vectors.close()
    _swap(layout, documents, state, pending)
    return len(rows)


def _is_whole(vectors: VectorFile, rows: int) -> bool:
    """Whether the rows that are done are still there: the generation before them goes at the end."""
    spans = ((start, min(start + BLOCK, rows)) for start in range(0, rows, BLOCK))
    return vectors.capacity >= rows and not any(vectors.damaged(start, stop) for start, stop in spans)


def _encoded(documents: Documents, codec: Codec, embed: Embed, chunk: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Stored rows (stop - start, row_bytes): the embedded documents of `chunk`, zeros where rows are dead."""
    raw = np.zeros((stop - start, codec.row_bytes), dtype=np.uint8)
    if not len(chunk):
        return raw
    with documents.reader() as db:
        found = by_rows(db, chunk.tolist())
    texts = [found[row].embedded_text for row in chunk.tolist()]
    vectors = embed(texts)
    if len(vectors) != len(texts):
        raise InvalidVector(f"expected {len(texts)} vectors for as many texts, got {len(vectors)}")
    ids = (found[row].doc_id for row in chunk.tolist())
    checked = [_checked(vector, codec.dim, doc_id) for vector, doc_id in zip(vectors, ids, strict=True)]
    raw[chunk - start] = codec.encode(normalise(np.stack(checked)))
    return raw


def _checked(vector: np.ndarray, dim: int, doc_id: str) -> np.ndarray:
    try:
        return check_vector(vector, dim)
    except InvalidVector as error:
        raise InvalidVector(f"the text of document {doc_id!r}: {error}") from None


def _check_texts(documents: Documents, rows: np.ndarray) -> None:
    with documents.reader() as db:
        sql = "SELECT count(*) FROM documents WHERE substr(content_hash, -8) != ?"
        (own,) = db.execute(sql, (NO_VECTOR,)).fetchone()
    if own:
        raise InvalidInput(
            f"{own} of {len(rows)} documents carry vectors of their own, which no model can make again; "
            "delete them first or ingest them into a new directory"
        )


def _note(documents: Documents, pending: Pending) -> None:
    with documents.transaction() as db:
        db.execute("UPDATE state SET pending = ?", (pending.to_json(),))


def _swap(layout: Layout, documents: Documents, state: State, pending: Pending) -> None:
    same = not Space.from_json(state.space).differences(Space.from_json(pending.space))
    rotation = state.rotation if same else None  # both matrices belong to the space; of another type they stay right
    with documents.transaction() as db:
        db.execute(
            "UPDATE state SET generation = ?, space = ?, storage = ?, commits = commits + 1, "
            "rotation = ?, snapshot = NULL, pending = NULL",
            (state.generation + 1, pending.space, pending.storage, rotation),
        )
    for old in layout.vector_files(state.generation):
        old.unlink(missing_ok=True)
    kept = {part["file"] for part in parts(rotation) if part}
    for pattern in ("shortlist-*.faiss", "words-*", "rotation-*", "query-map-*"):
        for path in layout.collection.glob(pattern):
            if path.name not in kept:
                path.unlink()
