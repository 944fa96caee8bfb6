"""Setting one flipped bit back: every bit is tried until a checksum or a hash agrees again.

That is proof enough: a row of 3 KB has 24,576 bits and a CRC-32, whose chance to agree by accident is then 6 in a
million, and its norm has to agree as well; the hashes of a document have 96 and 128 bits.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np

from index.codec import Codec
from index.documents import is_sound
from index.seal import checksum_of
from index.tables import State
from index.vectors import row_checksum

MOST_BYTES = 16_384  # of a document in which every bit is tried: some seconds
INTEGER_BITS = 48  # of a number in the state
NORM = {"float32": 1e-5, "bfloat16": 5e-3, "int16": 1e-5, "int8": 1e-5}  # of a stored row: how far from 1


def one_bit(data: bytes, sound: Callable[[bytes], bool]) -> bytes | None:
    """`data` with the one bit flipped that makes it sound; None when there is none."""
    tried = bytearray(data)
    for place in range(len(tried)):
        for bit in range(8):
            tried[place] ^= 1 << bit
            if sound(bytes(tried)):
                return bytes(tried)
            tried[place] ^= 1 << bit
    return None


def mended_row(raw: bytes, checksum: int, row: int, codec: Codec) -> bytes | None:
    """The bytes of a stored vector that its checksum and its norm vouch for; None when they do not.

    The flipped bit may be one of the checksum: then the vector is as it was.
    """
    if not any(raw):
        return None  # as where a file ends too early: many rows, none of them one bit from a unit vector
    if (row_checksum(raw, row) ^ checksum).bit_count() <= 1:
        return raw if has_norm(raw, codec) else None
    found = one_bit(raw, lambda tried: row_checksum(tried, row) == checksum)
    return found if found is not None and has_norm(found, codec) else None


def has_norm(raw: bytes, codec: Codec) -> bool:
    """Whether the decoded row has the norm of a unit vector."""
    with np.errstate(all="ignore"):
        norm = np.linalg.norm(codec.decode(np.frombuffer(raw, dtype=np.uint8)[None])[0].astype(np.float64))
    return bool(abs(norm - 1) <= NORM[codec.name])


Fields = tuple[bytes | None, bytes, bytes, bytes, bytes]  # title, text, metadata, content_hash, document_hash


def mended_document(fields: Fields) -> Fields | None:
    """What is stored of a document, with at most one bit set back; None when its hashes disagree all the same."""
    if _agree(fields):
        return fields
    if sum(len(field or b"") for field in fields) > MOST_BYTES:
        return None
    for place, field in enumerate(fields):
        if field is None:
            continue

        def among(tried: bytes, place: int = place) -> Fields:
            return (*fields[:place], tried, *fields[place + 1 :])  # type: ignore[return-value]

        if (found := one_bit(field, lambda tried, among=among: _agree(among(tried)))) is not None:  # type: ignore[misc]
            return among(found)
    return None


def _agree(fields: Fields) -> bool:
    title, text, metadata, content_hash, document_hash = fields
    try:
        texts = None if title is None else title.decode(), text.decode(), metadata.decode()
    except (UnicodeDecodeError, AttributeError):
        return False
    return is_sound(*texts, content_hash, document_hash)


def mended_state(state: State, tables: list[tuple[object, ...]], checksum: int) -> State | None:
    """The state with the one bit set back that makes its checksum agree; itself when it does; None for neither."""

    def sound(tried: State) -> bool:
        return checksum_of((1, *vars(tried).values()), tables) == checksum

    if (checksum_of((1, *vars(state).values()), tables) ^ checksum).bit_count() <= 1:
        return state
    return next((tried for name in vars(state) for tried in _neighbours(state, name) if sound(tried)), None)


def _neighbours(state: State, name: str) -> Iterator[State]:
    """Every state that differs in one bit of one field."""
    value: int | str | None = getattr(state, name)
    changes: Iterator[Any]
    if isinstance(value, int):
        changes = (value ^ 1 << bit for bit in range(INTEGER_BITS))
    else:
        data = (value or "").encode("utf-8", "surrogateescape")
        whole, bits = int.from_bytes(data), range(8 * len(data))
        flipped = ((whole ^ 1 << bit).to_bytes(len(data)) for bit in bits)
        changes = (tried.decode("utf-8", "surrogateescape") for tried in flipped)
    return (replace(state, **{name: change}) for change in changes)
