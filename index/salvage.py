"""What can be read of a damaged documents file: its state, and every document that its hashes vouch for."""

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from index.documents import FIELDS
from index.errors import StoreCorrupt
from index.mending import Fields, mended_document, mended_state
from index.seal import definitions
from index.tables import COLUMNS, State, make_tables


@dataclass
class Found:
    """A document; `doubts` says why it cannot stay in the index, None when it can."""

    row: int
    doc_id: str
    fields: Fields
    mended: bool = False
    doubts: str | None = None


@dataclass
class Ids:
    """The index of the ids, as far as it can be read: the second copy of ids and rows, in the order of ids."""

    rows: dict[str, int] = field(default_factory=dict)
    ids: dict[int, str] = field(default_factory=dict)
    unordered: set[int] = field(default_factory=set)  # rows of entries that are not where their id belongs

    @classmethod
    def read(cls, db: sqlite3.Connection) -> "Ids":
        made, before, last = cls(), b"", -1
        with suppress(sqlite3.DatabaseError):
            for raw, row in db.execute("SELECT doc_id, row FROM documents INDEXED BY sqlite_autoindex_documents_1"):
                key = _bytes(raw) or b""
                if key <= before:
                    made.unordered |= {row, last}
                made.rows[_text(raw)], made.ids[row] = row, _text(raw)
                before, last = key, row
        return made

    def resolved(self, doc_id: str, row: int) -> tuple[str, str | None]:
        """The id of a document, and why it may be another; an index that lost the entry says nothing."""
        indexed = self.ids.get(row, doc_id)
        if indexed != doc_id and row not in self.unordered:
            if self.rows.get(doc_id, row) != row:
                return indexed, None  # another document has that id: the bit was flipped in the table
            return doc_id, f"its id is {doc_id!r} in the table and {indexed!r} in the index of the ids"
        if indexed == doc_id and self.rows.get(doc_id, row) != row:
            return doc_id, f"its row is {row} in the table and {self.rows[doc_id]} in the index of the ids"
        return doc_id, None


def readable_state(db: sqlite3.Connection) -> tuple[State, bool]:
    """The state, and whether it and the definitions are as they were written; StoreCorrupt when it is lost."""
    try:
        state = State(*(_plain(value) for value in db.execute(f"SELECT {COLUMNS} FROM state").fetchone()))
    except (sqlite3.DatabaseError, TypeError) as error:
        raise StoreCorrupt(
            f"the state of the index cannot be read, so that nobody knows what its files are: {error}. "
            "Restore a snapshot with `funnel restore`, or ingest the documents again"
        ) from None
    expected = None
    with suppress(sqlite3.DatabaseError, TypeError):
        (expected,) = db.execute("SELECT state FROM seal").fetchone()
    if not isinstance(expected, int):
        return state, False
    with suppress(sqlite3.DatabaseError):
        tables: list[tuple[Any, ...]] = [(_plain(name), _plain(sql)) for name, sql in definitions(db)]
        if (mended := mended_state(state, tables, expected)) is not None:
            return mended, mended == state
    if (mended := mended_state(state, _own_definitions(), expected)) is not None:  # a definition is damaged
        return mended, False
    raise StoreCorrupt(
        "the state of the index does not match its checksum, by more than one bit. Restore a snapshot with "
        "`funnel restore`, or ingest the documents again"
    )


def readable_documents(db: sqlite3.Connection, rows: int) -> Iterator[Found]:
    """Every document that can be read, row by row: a damaged page hides its own rows, not others."""
    ids, sql = Ids.read(db), f"SELECT doc_id, {FIELDS} FROM documents d NOT INDEXED WHERE row = ?"
    for row in range(rows):
        try:
            record = db.execute(sql, (row,)).fetchone()
        except sqlite3.DatabaseError:
            record = None
        if record is not None:
            yield _found(row, _text(record[0]), tuple(map(_bytes, record[1:])), ids)  # type: ignore[arg-type]
        elif row in ids.ids:
            nothing: Fields = (None, b"", b"{}", b"", b"")
            yield Found(row, ids.ids[row], nothing, doubts="its text cannot be read")


def _found(row: int, doc_id: str, fields: Fields, ids: Ids) -> Found:
    doc_id, doubts = ids.resolved(doc_id, row)
    if doubts is not None:
        return Found(row, doc_id, fields, doubts=doubts)
    mended = mended_document(fields)
    if mended is None:
        return Found(row, doc_id, fields, doubts="its text or metadata do not match their hashes")
    return Found(row, doc_id, mended, mended=mended != fields)


def _own_definitions() -> list[tuple[object, ...]]:
    """As this program makes them."""
    db = sqlite3.connect(":memory:")
    make_tables(db)
    found = definitions(db)
    db.close()
    return found


def _text(value: Any) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)


def _bytes(value: Any) -> bytes | None:
    """A field as it was written, when a damaged header makes another type of it."""
    return value if value is None or isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


def _plain(value: Any) -> Any:
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else value
