"""The truth: texts, metadata and hashes, as they are kept in the SQLite file."""

import bisect
import itertools
import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from index.allowed import Allowed
from index.document import Document, StoredDocument, entries_of, is_unicode, metadata_hash, text_hash
from index.errors import StoreCorrupt
from index.metadata import Entry, entries
from index.seal import REPAIR

BOTH = "FROM documents d LEFT JOIN documents i USING (doc_id)"  # the table, and its index of the ids
FIELDS = "d.title, d.text, d.metadata, d.content_hash, d.document_hash"  # what the hashes are over, and the hashes
WHOLE = "row, doc_id, title, text, metadata, content_hash, document_hash"
INSERT = f"INSERT INTO documents ({WHOLE}) VALUES (?, ?, ?, ?, ?, ?, ?)"
CHUNK = 500  # ids or rows asked for by a statement
TOGETHER = 1_024  # records stored by a statement; prepared, it takes half a megabyte
JOINED = 10_000_000  # rows listed in one text, of which SQLite allows a gigabyte
FEW = 10_000  # matches whose ids are read and sorted rather than met in order of id


@dataclass(frozen=True)
class Stored:
    """Where a document is and what it was made of."""

    row: int
    content_hash: bytes
    document_hash: bytes
    metadata: str


def stored(db: sqlite3.Connection, doc_ids: Sequence[str]) -> dict[str, Stored]:
    """Rows and hashes of those of `doc_ids` that exist; StoreCorrupt where the index of the ids names the row of
    another document, which would be written over, or deleted."""
    found: dict[str, Stored] = {}
    for chunk, marks in _chunks(filter(is_unicode, doc_ids)):
        sql = (
            "SELECT i.doc_id, d.doc_id, i.row, d.content_hash, d.document_hash, d.metadata "
            f"FROM documents i LEFT JOIN documents d NOT INDEXED ON d.row = i.row WHERE i.doc_id IN ({marks})"
        )
        for doc_id, own, row, *rest in db.execute(sql, chunk):
            if own != doc_id:
                raise _disagree([(doc_id, row)])
            found[doc_id] = Stored(row, *rest)
    return found


def stored_at(db: sqlite3.Connection, rows: Sequence[int]) -> list[Stored]:
    """What the documents at these rows were made of; rows without a document are left out."""
    found: list[Stored] = []
    for chunk, marks in _chunks(rows):
        sql = f"SELECT row, content_hash, document_hash, metadata FROM documents WHERE row IN ({marks})"
        found += [Stored(*record) for record in db.execute(sql, chunk)]
    return found


def insert(db: sqlite3.Connection, first: int, documents: Sequence[Document]) -> None:
    """Store documents and their inverted metadata at the rows first, first + 1, ..."""
    records = [
        (row, document.doc_id, document.title, document.text, document.metadata_json,
         document.content_hash, document.document_hash)
        for row, document in enumerate(documents, first)
    ]  # fmt: skip
    _insert_all(db, f"INSERT INTO documents ({WHOLE})", records)
    index_metadata(db, ((row, document.metadata_entries) for row, document in enumerate(documents, first)))


def remove(db: sqlite3.Connection, old: Stored) -> None:
    """Forget the document at a row, and its inverted metadata."""
    _unindex_metadata(db, old)
    db.execute("DELETE FROM documents WHERE row = ?", (old.row,))


def replace_metadata(db: sqlite3.Connection, old: Stored, metadata_json: str) -> Stored:
    """Give the document at a row new metadata (canonical JSON); its row, content and vector stay.

    Raises InvalidDocument when the metadata is nested too deeply.
    """
    new = replace(old, document_hash=metadata_hash(metadata_json, old.content_hash), metadata=metadata_json)
    fresh = entries_of(metadata_json)
    _unindex_metadata(db, old)
    db.execute(
        "UPDATE documents SET metadata = ?, document_hash = ? WHERE row = ?",
        (new.metadata, new.document_hash, new.row),
    )
    index_metadata(db, ((new.row, fresh),))
    return new


def by_rows(db: sqlite3.Connection, rows: Sequence[int]) -> dict[int, StoredDocument]:
    """The documents at these rows, by row; rows without a live document are left out."""
    found: dict[Any, StoredDocument] = {}
    for chunk, marks in _chunks(rows):
        sql = f"SELECT {WHOLE} FROM documents WHERE row IN ({marks})"
        found.update((record[0], _document(*record)) for record in db.execute(sql, chunk))
    return found


def by_ids(db: sqlite3.Connection, doc_ids: Sequence[str]) -> list[StoredDocument]:
    """The documents with these ids in the order asked for; missing ones are left out."""
    rows = rows_of(db, doc_ids)
    found = by_rows(db, list(rows.values()))
    if wrong := [place for place in rows.items() if place[1] not in found or found[place[1]].doc_id != place[0]]:
        raise _disagree(wrong)
    return [found[rows[doc_id]] for doc_id in doc_ids if doc_id in rows]


def rows_of(db: sqlite3.Connection, doc_ids: Iterable[str]) -> dict[str, int]:
    """Row by doc_id, as SQLite's index of the ids has them: a second copy of both."""
    found: dict[str, int] = {}
    for chunk, marks in _chunks(filter(is_unicode, doc_ids)):
        found.update(db.execute(f"SELECT doc_id, row FROM documents WHERE doc_id IN ({marks})", chunk))
    return found


def _disagree(about: Iterable[tuple[str, int]]) -> StoreCorrupt:
    named = ", ".join(f"{doc_id!r} (row {row})" for doc_id, row in itertools.islice(about, 5))
    return StoreCorrupt(f"documents and the index of their ids disagree about {named}; {REPAIR}")


def ids_of(db: sqlite3.Connection, rows: Sequence[int]) -> dict[int, str]:
    """doc_id by row, for the live ones of these rows; StoreCorrupt where the index of the ids says otherwise."""
    found: dict[int, str] = {}
    for chunk, marks in _chunks(rows):
        sql = f"SELECT d.row, d.doc_id, i.row {BOTH} WHERE d.row IN ({marks})"
        for row, doc_id, indexed in db.execute(sql, chunk):
            if row != indexed:
                raise _disagree([(doc_id, row)])
            found[row] = doc_id
    return found


def page(db: sqlite3.Connection, after: str | None, limit: int, allowed: Allowed | None) -> list[str]:
    """Up to `limit` ids greater than `after`, ascending, of the allowed rows (None: all); StoreCorrupt for no text."""
    if allowed is not None and allowed.count <= FEW:
        ids = sorted(ids_of(db, allowed.positions.tolist()).values(), key=str.encode)
        start = bisect.bisect_right(ids, (after or "").encode(), key=str.encode)
        return ids[start : start + limit]
    mask = None if allowed is None else allowed.mask()
    cursor = db.execute("SELECT row, doc_id FROM documents WHERE doc_id > ? ORDER BY doc_id", (after or "",))
    passing = (doc_id for row, doc_id in cursor if mask is None or (row < len(mask) and mask[row]))
    ids = list(itertools.islice(passing, limit))
    if not all(isinstance(doc_id, str) for doc_id in ids):
        raise StoreCorrupt(f"an entry of the index of the ids is damaged; {REPAIR}")
    return ids


def live_mask(db: sqlite3.Connection, rows: int) -> np.ndarray:
    """(rows,) bool of the rows that hold a document; raises StoreCorrupt if one is past them."""
    mask = np.zeros(rows, dtype=bool)
    parts = rows // JOINED + 1
    for part in range(parts):  # joined by SQLite: a million rows one by one take six times as long
        sql = "SELECT group_concat(row) FROM documents" + (" WHERE row % ? = ?" if parts > 1 else "")
        (listed,) = db.execute(sql, (parts, part) if parts > 1 else ()).fetchone()
        found = np.fromstring(listed or "", dtype=np.int64, sep=",")
        if len(found) and found.max() >= rows:
            raise StoreCorrupt(f"a document is at row {found.max()}, but only {rows} rows are committed")
        mask[found] = True
    return mask


def _document(
    row: int, doc_id: str, title: str | None, text: str, metadata: str, content_hash: bytes, document_hash: bytes
) -> StoredDocument:
    if not is_sound(title, text, metadata, content_hash, document_hash):
        raise StoreCorrupt(f"the document {doc_id!r} (row {row}) does not match its hash; {REPAIR}")
    return StoredDocument(doc_id=doc_id, text=text, title=title, metadata=json.loads(metadata), row=row)


def is_sound(title: Any, text: Any, metadata: Any, content_hash: Any, document_hash: Any) -> bool:
    """Whether a document, whatever is stored for it, matches its hashes.

    Of the content hash only the part of the text: a vector of the user's own is kept rounded.
    """
    try:
        digest = text_hash(title, text)
        same: bool = content_hash[: len(digest)] == digest
    except (AttributeError, TypeError):  # a flipped bit in a record's header makes another type
        return False
    return same and _metadata_is_sound(metadata, content_hash, document_hash)


def is_intact(row: int, indexed: int | None, *fields: Any) -> bool:
    """Whether FIELDS are sound and the index of the ids, a second copy, has the document at this row too."""
    return indexed == row and is_sound(*fields)


def _metadata_is_sound(metadata: Any, content_hash: Any, document_hash: Any) -> bool:
    try:
        return metadata_hash(metadata, content_hash) == document_hash
    except (AttributeError, TypeError):
        return False


def index_metadata(db: sqlite3.Connection, fresh: Iterable[tuple[int, Iterable[Entry]]]) -> None:
    """Add (row, entries) to the inverted table, where they may be already."""
    values = sorted((*entry, row) for row, of_row in fresh for entry in of_row)  # neighbours share a page
    _insert_all(db, "INSERT OR IGNORE INTO metadata", values)


def _insert_all(db: sqlite3.Connection, into: str, records: Sequence[tuple[Any, ...]]) -> None:
    """Many records a statement: Python's lock is given up, and waited for, once for each of these.

    Their numbers are powers of two, so that few statements are kept prepared.
    """
    start = 0
    while left := len(records) - start:
        step = min(TOGETHER, 1 << left.bit_length() - 1)
        chunk = records[start : start + step]
        marks = f"({','.join('?' * len(chunk[0]))})"
        db.execute(f"{into} VALUES {','.join([marks] * step)}", list(itertools.chain.from_iterable(chunk)))
        start += step


def _unindex_metadata(db: sqlite3.Connection, old: Stored) -> None:
    if not _metadata_is_sound(old.metadata, old.content_hash, old.document_hash):  # nobody knows its entries
        db.execute("DELETE FROM metadata WHERE row = ?", (old.row,))
        return
    values = [(*entry, old.row) for entry in entries(json.loads(old.metadata))]
    db.executemany("DELETE FROM metadata WHERE key = ? AND type = ? AND value = ? AND row = ?", values)


def _chunks(values: Iterable[int] | Iterable[str]) -> Iterator[tuple[list[int | str], str]]:
    listed: list[int | str] = [*values]
    for start in range(0, len(listed), CHUNK):
        chunk = listed[start : start + CHUNK]
        yield chunk, ",".join("?" * len(chunk))
