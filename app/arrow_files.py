"""Parquet and Arrow files as record batches of documents, their columns as they are; needs pyarrow."""

from collections.abc import Iterator
from typing import Any

from app.parquet import needs_pyarrow, told
from app.records import RESERVED, Fields
from app.rows import RecordError

ROWS = 4_096  # of a batch


class ArrowFile:
    """A .parquet, .arrow or .feather file; its own names of columns become those of documents.

    Columns that are nothing else go into `metadata`. Raises RecordError for a file that cannot be read so.
    """

    def __init__(self, source: str, fields: Fields) -> None:
        with needs_pyarrow(source):
            import pyarrow
            from pyarrow import parquet
        self._arrow, self._source = pyarrow, source
        with told(source):
            if source.endswith(".parquet"):
                self._file: Any = parquet.ParquetFile(source)
                self._schema, self.rows = self._file.schema_arrow, self._file.metadata.num_rows
            elif source.endswith((".arrow", ".feather")):
                self._file = pyarrow.ipc.open_file(pyarrow.memory_map(source))
                self._schema, self.rows = self._file.schema, None
            else:
                raise RecordError(f"{source}: --arrow reads .parquet, .arrow and .feather files")
        self._columns = self._chosen(fields)

    def batches(self) -> Iterator[Any]:
        """Record batches with columns id, text, title, metadata and vector, as far as there are such."""
        with told(self._source):
            yield from map(self._documents, self._read())

    def _read(self) -> Iterator[Any]:
        if self.rows is not None:
            return self._file.iter_batches(ROWS)
        return (self._file.get_batch(place) for place in range(self._file.num_record_batches))

    def _chosen(self, fields: Fields) -> dict[str, str]:
        """Name of a document's column -> that of the file."""
        names = self._schema.names
        ids = [name for name in ([fields.id] if fields.id else ["_id", "id"]) if name in names]
        if not ids:
            raise RecordError(f"{self._source}: no column {fields.id or 'id'!r}; there are {', '.join(names)[:500]}")
        wanted = {"id": ids[0], "text": fields.text, "title": fields.title, "vector": "vector"}
        return {name: column for name, column in wanted.items() if column in names} | self._metadata(fields, wanted)

    def _metadata(self, fields: Fields, wanted: dict[str, str]) -> dict[str, str]:
        names = self._schema.names
        used = RESERVED | set(wanted.values())
        self._others = list(fields.metadata) or [name for name in names if name not in used]
        if "metadata" not in names:
            return {}
        if self._others:
            raise RecordError(
                f"{self._source}: column 'metadata' and {', '.join(self._others)[:500]} cannot both be the metadata of "
                "record batches; leave out --arrow"
            )
        return {"metadata": "metadata"}

    def _documents(self, batch: Any) -> Any:
        made = {name: batch.column(column) for name, column in self._columns.items()}
        if not self._arrow.types.is_string(made["id"].type):
            made["id"] = made["id"].cast(self._arrow.string())
        if self._others:
            columns = [batch.column(name) for name in self._others]
            made["metadata"] = self._arrow.StructArray.from_arrays(columns, self._others)
        return self._arrow.record_batch(made)
