"""Documents into files that `funnel ingest` reads again: NDJSON, plain or gzipped, and Parquet."""

import base64
import gzip
import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol, cast

import numpy as np

from app.parquet import needs_pyarrow
from app.partial import whole
from app.records import format_of
from app.rows import RecordError

GROUP = 4_096  # documents of a Parquet row group: with vectors of 768 numbers 12 MB

Document = Mapping[str, Any]


class Sink(Protocol):
    """Where documents go."""

    def write(self, document: Document) -> None: ...
    def close(self) -> None: ...


@contextmanager
def opened(target: str, with_vectors: bool) -> Iterator[Sink]:
    """A sink by the ending of its name; `-` is standard output. The file has its name only when it is whole and synced.

    Raises RecordError for endings that are not known.
    """
    if target == "-":
        yield Lines(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    kind = _kind(target)
    with whole(Path(target)) as partial, partial.open("wb") as file:
        with closing(Table(file, with_vectors) if kind == "parquet" else Lines(file, target.endswith(".gz"))) as sink:
            yield sink
        file.flush()
        os.fsync(file.fileno())


class Lines:
    """A JSON object a line; a vector as base64 of little-endian float32."""

    def __init__(self, file: IO[bytes], compressed: bool = False) -> None:
        packed = gzip.GzipFile("", "wb", fileobj=file, mtime=0) if compressed else file
        self._file, self._compressed = cast(IO[bytes], packed), compressed

    def write(self, document: Document) -> None:
        """One document."""
        vector = {"vector": base64.b64encode(_numbers(document).tobytes()).decode()} if "vector" in document else {}
        self._file.write(json.dumps({**_said(document), **vector}, ensure_ascii=False).encode() + b"\n")

    def close(self) -> None:
        """End the compressed stream; the file itself is not ours."""
        if self._compressed:
            self._file.close()


class Table:
    """Columns id, title, text, metadata (JSON) and perhaps vector (a list of float32)."""

    def __init__(self, file: IO[bytes], with_vectors: bool) -> None:
        with needs_pyarrow("an export"):
            import pyarrow
            from pyarrow.parquet import ParquetWriter
        columns = {name: pyarrow.string() for name in ("id", "title", "text", "metadata")}
        if with_vectors:
            columns["vector"] = pyarrow.list_(pyarrow.float32())
        self._make, self._schema = pyarrow.Table.from_pylist, pyarrow.schema(columns)
        self._writer = ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def write(self, document: Document) -> None:
        """One document."""
        row = {**_said(document), "metadata": json.dumps(document["metadata"], ensure_ascii=False)}
        if "vector" in document:
            row["vector"] = _numbers(document)
        self._rows.append(row)
        if len(self._rows) >= GROUP:
            self._flush()

    def close(self) -> None:
        """Write the rest and the footer."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(self._make(self._rows, schema=self._schema))
            self._rows.clear()


def _kind(target: str) -> str:
    with suppress(RecordError):  # which names the kinds that can be read, and those are more
        kind = format_of(target)
        if kind != "csv" and not (kind == "parquet" and target.endswith(".gz")):
            return kind
    raise RecordError(f"{target}: an export is .jsonl or .ndjson, plain or .gz, or .parquet")


def _said(document: Document) -> dict[str, Any]:
    """Everything but the vector; a title that is none is left out."""
    title = {} if document["title"] is None else {"title": document["title"]}
    return {"id": document["id"], **title, "text": document["text"], "metadata": document["metadata"]}


def _numbers(document: Document) -> np.ndarray:
    return np.array(document["vector"], dtype="<f4")
