"""Record batches of Arrow as documents: columns id, text, title, metadata and vector. Needs pyarrow."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from app.arrow_messages import malformed
from app.body import decode
from app.parquet import plain
from app.problems import Refused
from app.rows import kind_of_value

Row = tuple[Any, str, str | None, Any, np.ndarray | None, bool]  # id, text, title, metadata, vector, is it sound
COLUMNS = ("id", "text", "title", "metadata", "vector")


class Batches:
    """Reads record batches of one schema; Refused (422) when its columns cannot be those of documents.

    `dim` is the width of the index. Nothing of pyarrow is imported before one is made.
    """

    def __init__(self, message: bytes, dim: int) -> None:
        with needs_pyarrow():
            import pyarrow
        self._arrow = pyarrow
        with _told(pyarrow):
            self._schema = pyarrow.ipc.read_schema(pyarrow.py_buffer(message))
        errors = list(_errors(pyarrow.types, self._schema, dim))
        if errors:
            raise Refused("validation", "; ".join(error["detail"] for error in errors), errors)

    def read(self, message: bytes) -> Any:
        """The checked record batch of a message, its numbers where they are; Refused (400)."""
        with _told(self._arrow):
            found = self._arrow.ipc.read_message(self._arrow.py_buffer(message))
            batch = self._arrow.ipc.read_record_batch(found, self._schema)
            batch.validate(full=True)
        return batch


def rows_of(batch: Any) -> Iterator[Row]:
    """The rows of a batch; vectors are views where they are float32."""
    names = batch.schema.names
    nothing = [None] * batch.num_rows

    def values(name: str) -> list[Any]:
        return batch.column(name).to_pylist() if name in names else nothing

    vectors = _vectors(batch.column("vector")) if "vector" in names else ((None, True) for _ in nothing)
    columns = (values("id"), values("text"), values("title"), values("metadata"), vectors)
    for doc_id, text, title, metadata, (vector, sound) in zip(*columns, strict=True):
        yield doc_id, text or "", title, metadata, vector, sound


def metadata_of(cell: Any) -> Any:
    """An object from a cell: JSON text, or a struct without its nulls. Refused (400) when the text is not JSON."""
    if cell is None:
        return {}
    if isinstance(cell, str):
        cell = decode(cell.encode())
    if not isinstance(cell, dict):
        raise Refused("validation", f"metadata is a JSON object, got {kind_of_value(cell)}")
    return {name: value for name, inner in cell.items() if (value := plain(inner)) is not None}


def _vectors(column: Any) -> Iterator[tuple[np.ndarray | None, bool]]:
    """(n,) float32 each, None for null, and whether it is finite and not zero for all that is known at once."""
    if hasattr(column, "offsets"):
        ends = column.offsets.to_numpy().tolist()
    else:
        width = column.type.list_size
        ends = list(range(column.offset * width, (column.offset + len(column)) * width + 1, width))
    numbers = column.values.slice(ends[0], ends[-1] - ends[0]).to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes Inf, which is refused later
        numbers = np.asarray(numbers, dtype=np.float32)  # a null among them is NaN
    ends = [end - ends[0] for end in ends]
    absent = column.is_null().to_pylist() if column.null_count else [False] * len(column)
    sound = _sound(numbers, ends)
    for place, start in enumerate(ends[:-1]):
        yield (None if absent[place] else numbers[start : ends[place + 1]]), sound[place]


def _sound(numbers: np.ndarray, ends: list[int]) -> list[bool]:
    """Which vectors are finite and not zero: looked at together, since Python's lock is given up for each look."""
    width = ends[-1] // max(len(ends) - 1, 1)
    if not width or ends != list(range(0, ends[-1] + 1, width)):
        return [False] * (len(ends) - 1)
    largest = np.abs(numbers.reshape(-1, width)).max(axis=1)
    found: list[bool] = ((largest > 0) & (largest < np.inf)).tolist()
    return found


def _errors(types: Any, schema: Any, dim: int) -> Iterator[dict[str, str]]:
    for name in sorted(set(schema.names)):
        if name not in COLUMNS:
            yield _error(name, f"unknown column {name[:100]!r}; known are {', '.join(COLUMNS)}")
        elif schema.names.count(name) > 1:
            yield _error(name, f"there are {schema.names.count(name)} columns {name!r}")
        elif wrong := _wrong_type(types, name, schema.field(name).type, dim):
            yield _error(name, f"column {name!r} {wrong}")
    if "id" not in schema.names:
        yield _error("id", "there is no column 'id'")


def _wrong_type(types: Any, name: str, kind: Any, dim: int) -> str | None:
    if name == "vector":
        lists = types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind)
        if not lists or not types.is_floating(kind.value_type):
            return f"holds lists of floats, got {kind!s:.100}"
        if types.is_fixed_size_list(kind) and kind.list_size != dim:
            return f"has {kind.list_size} dimensions, expected {dim}"
        return None
    if types.is_string(kind) or types.is_large_string(kind) or (name == "metadata" and types.is_struct(kind)):
        return None
    return f"holds {'JSON texts or structs' if name == 'metadata' else 'texts'}, got {kind!s:.100}"


def _error(name: str, detail: str) -> dict[str, str]:
    return {"pointer": f"/{name[:100]}", "detail": detail}


@contextmanager
def needs_pyarrow() -> Iterator[None]:
    """Around an import of it: Refused (415), with what to install, where it is missing."""
    try:
        yield
    except ImportError:
        detail = "Arrow needs pyarrow, which this service lacks: pip install 'funnel-search[parquet]', or send NDJSON"
        raise Refused("unsupported-media-type", detail) from None


@contextmanager
def _told(arrow: Any) -> Iterator[None]:
    """Around pyarrow reading what others made: Refused (400) instead of its errors."""
    try:
        yield
    except (arrow.ArrowException, OSError, ValueError, TypeError, NotImplementedError) as error:
        raise malformed(str(error)[:300]) from None
