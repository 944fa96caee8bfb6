"""Documents from files: JSONL / NDJSON, CSV, TSV, Parquet; plain or gzipped; `-` is standard input.

A record has an id (`_id` or `id`), a `text`, perhaps a `title`, `metadata` (an object) and a `vector`; every
other field becomes metadata as well. Other names can be given with `Fields`. A record without an id gets the
hash of its content as one, so that reading the same file again gives the same ids.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.parquet import count_parquet, parquet_rows
from app.rows import (
    RecordError,
    Row,
    count_csv,
    count_lines,
    csv_rows,
    json_rows,
    kind_of_value,
    number,
)

Format = Literal["jsonl", "csv", "parquet"]
FORMATS: dict[str, Format] = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
}
RESERVED = frozenset({"_id", "id", "text", "title", "metadata", "vector"})


@dataclass(frozen=True)
class Fields:
    """Which fields of a record are what; `metadata` empty: all that are nothing else."""

    id: str | None = None  # None: "_id", then "id"
    text: str = "text"
    title: str = "title"
    metadata: tuple[str, ...] = ()


DEFAULT_FIELDS = Fields()


@dataclass(frozen=True)
class Record:
    """One record: where it stood, and the document made of it or why there is none."""

    line: int  # 1-based; the row of a Parquet file
    document: dict[str, Any] | None
    error: str | None = None


def read(source: str, fields: Fields = DEFAULT_FIELDS, form: Format | None = None) -> Iterator[Record]:
    """The records of a file, in order, without holding it in memory.

    Raises RecordError for a file that is not there, not of a known kind, or broken as a whole.
    """
    form = form or format_of(source)
    for line, row, error in rows(source, form):
        yield _record(line, row, fields, form) if row is not None else Record(line, None, error)


def rows(source: str, form: Format | None = None) -> Iterator[Row]:
    """The rows of a file as they are, each with its line or why it cannot be read. Raises RecordError."""
    readers = {"jsonl": json_rows, "csv": csv_rows, "parquet": parquet_rows}
    return readers[form or format_of(source)](source)


def count(source: str, form: Format | None = None) -> int | None:
    """How many records a file has; None for standard input, which can be read only once."""
    if source == "-":
        return None
    counters = {"jsonl": count_lines, "csv": count_csv, "parquet": count_parquet}
    return counters[form or format_of(source)](source)


def format_of(source: str) -> Format:
    """From the name: `a.csv.gz` is CSV; standard input is JSONL. Raises RecordError for other names."""
    if source == "-":
        return "jsonl"
    suffix = Path(source.removesuffix(".gz")).suffix.lower()
    if suffix not in FORMATS:
        known = ", ".join(FORMATS)
        raise RecordError(f"{source}: unknown kind of file {suffix!r}; known are {known} and .gz of them")
    return FORMATS[suffix]


def document(row: dict[str, Any], fields: Fields = DEFAULT_FIELDS) -> dict[str, Any]:
    """The document of one record, in the shape that `POST /ingest` takes. Raises RecordError."""
    title = _text(row, fields.title, needed=False)
    text = _text(row, fields.text, needed=not title and row.get("vector") is None) or ""
    made: dict[str, Any] = {"id": _id(row, fields) or content_id(title, text), "text": text}
    if title is not None:
        made["title"] = title
    if metadata := _metadata(row, fields):
        made["metadata"] = metadata
    if row.get("vector") is not None:
        made["vector"] = row["vector"]
    return made


def content_id(title: str | None, text: str) -> str:
    """32 hexadecimal digits that stand for title and text."""
    content = f"{title}\n{text}" if title else text
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _record(line: int, row: dict[str, Any], fields: Fields, form: Format) -> Record:
    try:
        made = document(row, fields)
    except RecordError as problem:
        return Record(line, None, str(problem))
    if form == "csv" and "metadata" in made:
        made["metadata"] = {name: number(value) for name, value in made["metadata"].items()}
    return Record(line, made)


def _text(row: dict[str, Any], name: str, needed: bool = True) -> str | None:
    value = row.get(name)
    if isinstance(value, str) or (value is None and not needed):
        return value
    raise RecordError(f"field {name!r} must be a text, got {kind_of_value(value)}")


def _id(row: dict[str, Any], fields: Fields) -> str | None:
    names = [fields.id] if fields.id else ["_id", "id"]
    value = next((row[name] for name in names if row.get(name) not in (None, "")), None)
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    raise RecordError(f"an id must be a text or an integer, got {kind_of_value(value)}")


def _metadata(row: dict[str, Any], fields: Fields) -> dict[str, Any]:
    if fields.metadata:
        return {name: row[name] for name in fields.metadata if row.get(name) is not None}
    inner = row.get("metadata")
    if inner is not None and not isinstance(inner, dict):
        raise RecordError(f"field 'metadata' must be an object, got {kind_of_value(inner)}")
    used = RESERVED | {fields.id, fields.text, fields.title}
    return {name: value for name, value in row.items() if name not in used} | (inner or {})
