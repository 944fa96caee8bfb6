"""The files of rotation and query map, and the record in `state.rotation` that names them.

A file is written under another name, synced, renamed and its directory synced before a transaction names it:
a kill at any instant leaves the old matrix or the new one. Its name has the CRC-32 of its bytes.
"""

import io
import json
import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np

from index import leftovers
from index.errors import StorageFull, StoreCorrupt, StoreUnavailable
from index.layout import Layout, sync_directory
from index.record import read_record
from index.rotation import QueryMap, Rotation
from index.told import is_full

WHAT = "the record of rotation and query map"
FORGET = "Its vectors and texts are whole: bring the file back, or give it up with `funnel verify --forget-damaged`"


@dataclass(frozen=True)
class Matrices:
    """What `state.rotation` names."""

    rotation: Rotation | None = None
    query_map: QueryMap | None = None

    def to_json(self) -> str | None:
        """The record; None when there is neither."""
        if self.rotation is None and self.query_map is None:
            return None
        return json.dumps({"rotation": rotation_record(self.rotation), "query_map": map_record(self.query_map)})


def rotation_record(rotation: Rotation | None) -> dict[str, Any] | None:
    """Everything about a rotation but its matrix, and the name of its file."""
    if rotation is None:
        return None
    return {
        "file": Layout.rotation_name(rotation.checksum),
        "crc32": rotation.checksum,
        "widths": list(rotation.widths),
        "method": rotation.method,
        "measured": dict(rotation.measured),
        "rows": rotation.rows,
        "through": rotation.through,
        "energy": rotation.energy,
        "applied": rotation.applied,
    }


def map_record(query_map: QueryMap | None) -> dict[str, Any] | None:
    """Everything about a query map but its matrix, and the name of its file."""
    if query_map is None:
        return None
    return {
        "file": Layout.query_map_name(query_map.checksum),
        "crc32": query_map.checksum,
        "measured": dict(query_map.measured),
        "applied": query_map.applied,
    }


def parts(record: str | None) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The records of rotation and query map in `state.rotation`, each naming a file and its CRC-32; StoreCorrupt."""
    if record is None:
        return None, None
    both = read_record(record, WHAT)
    for name in ("rotation", "query_map"):
        part = both.get(name)
        if not isinstance(part, dict | None):
            raise StoreCorrupt(f"{WHAT} cannot be read: {name} is no object but {type(part).__name__}")
        if part is not None and not (type(part.get("file")) is str and type(part.get("crc32")) is int):
            raise StoreCorrupt(f"{WHAT} cannot be read: {name} names no file with its checksum")
    return both.get("rotation"), both.get("query_map")


def load_matrices(record: str | None, directory: Path, dim: int) -> Matrices:
    """Rotation and query map with their matrices; StoreCorrupt, with the way out, when a file is lost or damaged."""
    rotation, query_map = parts(record)
    try:
        return Matrices(_rotation(rotation, directory, dim), _query_map(query_map, directory, dim))
    except (ValueError, KeyError, TypeError) as error:
        raise StoreCorrupt(f"{WHAT} cannot be read: {error!r}") from None


def _rotation(record: dict[str, Any] | None, directory: Path, dim: int) -> Rotation | None:
    if record is None:
        return None
    return Rotation(
        matrix=load_part(record, directory, dim),
        widths=tuple(record["widths"]),
        method=record["method"],
        measured=record["measured"],
        rows=record["rows"],
        energy=record["energy"],
        applied=record["applied"],
        through=record["through"],
        checksum=record["crc32"],
    )


def _query_map(record: dict[str, Any] | None, directory: Path, dim: int) -> QueryMap | None:
    if record is None:
        return None
    return QueryMap(load_part(record, directory, dim), record["measured"], record["applied"], record["crc32"])


def load_part(part: dict[str, Any], directory: Path, dim: int) -> np.ndarray:
    """The (dim, dim) float32 matrix that a record of `parts` names; StoreCorrupt."""
    return load_matrix(directory / Path(part["file"]).name, part["crc32"], dim)


def load_matrix(path: Path, expected: int, dim: int) -> np.ndarray:
    """The (dim, dim) float32 matrix of a file whose bytes have this CRC-32; StoreCorrupt otherwise."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise StoreCorrupt(f"cannot read {path}: {error.strerror}. {FORGET}") from None
    if (actual := zlib.crc32(data)) != expected:
        raise StoreCorrupt(f"{path} does not match its checksum: expected {expected}, found {actual}. {FORGET}")
    try:
        shape, dtype = _described(data)
    except (ValueError, SyntaxError, TokenError) as error:
        raise StoreCorrupt(f"{path} is no .npy file: {error}. {FORGET}") from None
    if shape != (dim, dim) or dtype != np.float32:
        found = f"a matrix of {dtype} and shape {shape}"
        raise StoreCorrupt(f"{path} holds {found}, expected {(dim, dim)} of float32. {FORGET}")
    try:
        return np.asarray(np.load(io.BytesIO(data), allow_pickle=False))
    except ValueError as error:
        raise StoreCorrupt(f"{path} cannot be read: {error}. {FORGET}") from None


def _described(data: bytes) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type by the header of a .npy file, before there is memory for so many numbers."""
    file = io.BytesIO(data)
    if (version := np.lib.format.read_magic(file)) != (1, 0):
        raise ValueError(f"version {version}, expected (1, 0)")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    return shape, dtype


def packed(matrix: np.ndarray) -> tuple[bytes, int]:
    """The bytes of a matrix's file and their CRC-32."""
    buffer = io.BytesIO()
    np.save(buffer, matrix, allow_pickle=False)
    data = buffer.getvalue()
    return data, zlib.crc32(data)


def write_durably(path: Path, data: bytes) -> None:
    """Put a whole file in place. Raises StorageFull when it is not, StoreUnavailable when it may not be for good."""
    temporary = path.with_suffix(".tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        leftovers.remove([temporary])
        if is_full(error):
            raise StorageFull(f"no space left for {len(data)} bytes of {path}; nothing was changed") from None
        raise StoreUnavailable(f"writing {path} failed, nothing was changed: {error}") from error
    try:
        sync_directory(path.parent)
    except OSError as error:
        raise StoreUnavailable(f"nobody knows whether {path} will be there after a power failure: {error}") from error
