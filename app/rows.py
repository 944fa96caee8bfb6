"""Rows of JSONL and CSV files as plain values, with their lines; a broken one comes with the reason."""

import csv
import gzip
import json
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

MAX_LINE = 64 << 20  # bytes; a small .gz may hold a line of any length
MAX_CSV_FIELD = 64 << 20  # characters; the csv module's own limit of 128 Ki is shorter than many texts
NUMBER = re.compile(r"-?(0|[1-9]\d{0,15})(\.\d+)?", re.ASCII)

Row = tuple[int, dict[str, Any] | None, str | None]  # line (1-based), row, error


class RecordError(ValueError):
    """A file that cannot be read, or a record of one that is no document; says where and why."""


def json_rows(source: str) -> Iterator[Row]:
    """One row a line; empty lines do not count. Raises RecordError when the file cannot be read."""
    with binary(source) as stream:
        for line, data in _lines(stream):
            if data is None:
                yield line, None, f"longer than {MAX_LINE} bytes"
            elif data.strip():
                yield _json_row(line, data.removeprefix(b"\xef\xbb\xbf") if line == 1 else data)


def csv_rows(source: str) -> Iterator[Row]:
    """One row a record, its first line naming the columns; empty cells are left out.

    In a .tsv file tabs part the cells, a line is a record and quotes are text, as that format has it.
    Every cell is a text here (see `number`); a cell of the columns `metadata` and `vector` may hold JSON.
    Raises RecordError when the file cannot be read.
    """
    for line, names, cells in _csv_records(source):
        if len(cells) != len(names):
            yield line, None, f"expected {len(names)} columns, got {len(cells)}"
        else:
            yield with_json(line, {n: c for n, c in zip(names, cells, strict=True) if c != ""})


def number(cell: Any) -> Any:
    """A number where a text is exactly how one is written: 7 and -0.5, not 007, 1e3 or +1; else the value."""
    match = NUMBER.fullmatch(cell) if isinstance(cell, str) else None
    if match is None:
        return cell
    return float(cell) if match[2] else int(cell)


def count_lines(source: str) -> int:
    """How many lines of a JSONL file hold something."""
    with binary(source) as stream:
        return sum(1 for _, data in _lines(stream) if data is None or data.strip())


def count_csv(source: str) -> int:
    """How many records a CSV file has, the line that names the columns left out."""
    return sum(1 for _ in _csv_records(source))


def kind_of_value(value: Any) -> str:
    """What an error message calls a value."""
    return "nothing" if value is None else type(value).__name__


@contextmanager
def binary(source: str) -> Iterator[IO[bytes]]:
    """The bytes of a file, decompressed by its name, or of standard input. Raises RecordError."""
    if source == "-":
        yield sys.stdin.buffer
        return
    try:
        with cast(IO[bytes], gzip.open(source) if source.endswith(".gz") else open(source, "rb")) as stream:
            yield stream
    except OSError as error:
        raise RecordError(f"{source}: {error.strerror or error}") from None
    except (EOFError, zlib.error) as error:
        raise RecordError(f"{source}: {error}") from None


def _lines(stream: IO[bytes]) -> Iterator[tuple[int, bytes | None]]:
    """Lines with their numbers; None for one that is longer than MAX_LINE, of which no more is kept in memory."""
    line = 0
    while data := stream.readline(MAX_LINE + 1):
        line += 1
        yield line, data if len(data) <= MAX_LINE else None
        while len(data) > MAX_LINE and not data.endswith(b"\n"):
            data = stream.readline(MAX_LINE + 1)


def _json_row(line: int, data: bytes) -> Row:
    try:
        row = json.loads(data)
    except (ValueError, RecursionError) as error:  # ValueError: not UTF-8, or not JSON
        return line, None, f"not JSON: {error}"
    if not isinstance(row, dict):
        return line, None, f"not an object but {kind_of_value(row)}"
    return line, row, None


def _csv_records(source: str) -> Iterator[tuple[int, list[str], list[str]]]:
    csv.field_size_limit(MAX_CSV_FIELD)
    with binary(source) as stream:
        reader = csv.reader(_decoded(stream, source), **_dialect(source))
        try:
            names = next(reader, [])
            for cells in reader:
                if cells:
                    yield reader.line_num, names, cells
        except csv.Error as error:
            raise RecordError(f"{source} line {reader.line_num}: {error}") from None


def _dialect(source: str) -> dict[str, Any]:
    if source.removesuffix(".gz").endswith(".tsv"):
        return {"delimiter": "\t", "quoting": csv.QUOTE_NONE}
    return {}


def with_json(line: int, row: dict[str, Any]) -> Row:
    """The row of a table, its columns `metadata` and `vector` read as JSON where they hold it as text."""
    for name in ("metadata", "vector"):
        cell = row.get(name)
        if isinstance(cell, str) and cell[:1] in ("{", "["):
            try:
                row[name] = json.loads(cell)
            except (ValueError, RecursionError) as error:
                return line, None, f"column {name!r} is not JSON: {error}"
    return line, row, None


def _decoded(stream: IO[bytes], source: str) -> Iterator[str]:
    for line, data in _lines(stream):
        if data is None:
            raise RecordError(f"{source} line {line}: longer than {MAX_LINE} bytes")
        try:
            yield data.decode("utf-8-sig" if line == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise RecordError(f"{source} line {line}: not UTF-8: {error}") from None
