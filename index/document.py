"""A document as it comes in and as it is stored."""

import json
import struct
from collections.abc import Mapping
from dataclasses import InitVar, dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np

from index.errors import InvalidDocument
from index.matryoshka import check_vector
from index.metadata import Entry, entries

MAX_ID_BYTES = 512
PIECE = 2_047  # bytes that hashlib hashes without letting other threads run
_CANONICAL = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
_LENGTH = struct.Struct("<Q").pack
NO_VECTOR = bytes(8)  # the end of the content hash of a document whose vector is made from its text


@dataclass(frozen=True, eq=False)
class Document:
    """A document to be stored.

    `doc_id` is 1-512 bytes of UTF-8; `metadata` is a JSON object; `vector`, when given, is the user's own
    (dim,) float32 vector and replaces the embedding of the text; `checked` says that it is known to be finite and not
    zero, as somebody knows who has looked at a whole matrix.
    Raises InvalidDocument or InvalidVector on construction.
    """

    doc_id: str
    text: str
    title: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    vector: np.ndarray | None = None
    checked: InitVar[bool] = False
    # made of them: canonical JSON; entries of the inverted table; 20 bytes over what decides the vector, 12 of title
    # and text, 8 of the user's own vector or zeros; 16 bytes over the whole document
    metadata_json: str = field(init=False, repr=False)
    metadata_entries: tuple[Entry, ...] = field(init=False, repr=False)
    content_hash: bytes = field(init=False, repr=False)
    document_hash: bytes = field(init=False, repr=False)

    def __post_init__(self, checked: bool) -> None:
        check_id(self.doc_id)
        if self.vector is None and not self.embedded_text.strip():
            raise InvalidDocument("a document needs a text, a title or a vector")
        vector = self.vector if self.vector is None or checked else check_vector(self.vector)
        own = NO_VECTOR if vector is None else _vector_hash(vector)
        content_hash, metadata_json = text_hash(self.title, self.text) + own, canonical_json(self.metadata)
        vars(self).update(  # all that can be wrong is told now, not in the writer
            vector=vector,
            metadata_json=metadata_json,
            metadata_entries=entries_of(metadata_json),
            content_hash=content_hash,
            document_hash=metadata_hash(metadata_json, content_hash),
        )

    @property
    def embedded_text(self) -> str:
        """What a model reads: title, newline, text."""
        return joined(self.title, self.text)


@dataclass(frozen=True, eq=False)
class StoredDocument:
    """A live document as read back; `vector` is (dim,) float32 when it was asked for."""

    doc_id: str
    text: str
    title: str | None
    metadata: dict[str, Any]
    row: int
    vector: np.ndarray | None = None

    @property
    def embedded_text(self) -> str:
        """What a model read, or reads when the text is embedded again."""
        return joined(self.title, self.text)


def joined(title: str | None, text: str) -> str:
    """Title, newline, text; the text alone when there is no title."""
    return f"{title}\n{text}" if title else text


def check_id(doc_id: str) -> None:
    """Raise InvalidDocument unless `doc_id` is a string of 1-512 bytes of UTF-8 without NUL."""
    if not isinstance(doc_id, str):
        raise InvalidDocument(f"an id is a string, got {type(doc_id).__name__}")
    if not is_unicode(doc_id):
        raise InvalidDocument("an id must be valid Unicode, got a lone surrogate")
    size = len(doc_id.encode())
    if not 1 <= size <= MAX_ID_BYTES:
        raise InvalidDocument(f"an id has 1 to {MAX_ID_BYTES} bytes, got {size}")
    if "\0" in doc_id:
        raise InvalidDocument("an id must not contain the NUL character")


def is_unicode(text: str) -> bool:
    """Whether a string can be stored: False when it holds a lone surrogate."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def canonical_json(metadata: Mapping[str, Any]) -> str:
    """Metadata as it is stored; InvalidDocument unless it is a JSON object."""
    if not isinstance(metadata, Mapping):
        raise InvalidDocument(f"metadata is a JSON object, got {type(metadata).__name__}")
    try:
        encoded = _CANONICAL.encode(dict(metadata))
        encoded.encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidDocument(f"metadata is not JSON: {error}") from None
    return encoded


def entries_of(metadata_json: str) -> tuple[Entry, ...]:
    """Entries of the inverted table; InvalidDocument when the metadata is nested too deeply."""
    if metadata_json == "{}":
        return ()
    try:
        return tuple(entries(json.loads(metadata_json)))
    except ValueError as error:
        raise InvalidDocument(str(error)) from None


def is_embedded(content_hash: bytes) -> bool:
    """Whether the vector of a document with this content hash is made from its text, not the user's own."""
    return content_hash.endswith(NO_VECTOR)


def text_hash(title: str | None, text: str) -> bytes:
    """The first 12 bytes of a content hash."""
    return _digest(12, title, text)


def metadata_hash(metadata_json: str, content_hash: bytes) -> bytes:
    """The 16 bytes of a document hash."""
    return _digest(16, metadata_json, content_hash.hex())


def _vector_hash(vector: np.ndarray) -> bytes:
    """8 bytes of a contiguous float32 vector, hashed in pieces for which hashlib keeps Python's lock: to wait for it
    again after every row takes longer."""
    data = vector.view(np.uint8).data
    made = blake2b(data[:PIECE], digest_size=8)
    for start in range(PIECE, len(data), PIECE):
        made.update(data[start : start + PIECE])
    return made.digest()


def _digest(size: int, first: str | None, second: str) -> bytes:
    """Made for every document that is written or read."""
    try:
        one = b"\xff" if first is None else first.encode()  # 0xff never begins valid UTF-8
        two = second.encode()
    except UnicodeEncodeError:
        raise InvalidDocument("the text is not valid Unicode: it holds a lone surrogate") from None
    return blake2b(b"".join((_LENGTH(len(one)), one, _LENGTH(len(two)), two)), digest_size=size).digest()
