"""Documents with vectors as record batches of Arrow: the quick way, for vectors that somebody else has made."""

import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import httpx
import numpy as np

from app.client_http import Connection, checked
from app.client_ingest import Totals, events
from app.client_retry import once, resumable

KIND = "application/vnd.apache.arrow.stream"
END = b"\xff\xff\xff\xff\0\0\0\0"  # of a stream
BATCH_BYTES = 8 << 20
REQUEST_BYTES = 256 << 20  # a second or some of work, after which nothing of it is sent again


class ArrowCalls(Connection):
    """The part of the client that sends record batches; needs pyarrow."""

    async def ingest_arrow(
        self,
        data: Any,
        mode: Literal["upsert", "insert_only", "update_only"] = "upsert",
        progress: Callable[[Totals], None] | None = None,
    ) -> Totals:
        """Send a table, a reader, record batches, or whatever exports them (polars, pandas, DuckDB, datasets).

        Columns are id, text, title, metadata (JSON texts or structs) and vector (lists of floats). Rows count as the
        positions of documents; `progress` is called whenever more are durable. What has not changed is not written.
        """
        totals = Totals()
        again = resumable if mode == "upsert" else once
        for part in _requests(_batches(data)):
            tell = partial(_tell, progress, totals)
            totals = totals.plus(await self._patiently(partial(self._send_batches, part, mode, tell), again))
        return totals

    async def ingest_vectors(
        self,
        ids: Sequence[str],
        vectors: np.ndarray,
        texts: Sequence[str | None] | None = None,
        titles: Sequence[str | None] | None = None,
        metadata: Sequence[Mapping[str, Any] | None] | None = None,
        mode: Literal["upsert", "insert_only", "update_only"] = "upsert",
        progress: Callable[[Totals], None] | None = None,
    ) -> Totals:
        """Send n documents with their (n, dim) vectors, as `ingest_arrow` does; a memory map is read piece by piece."""
        if len(vectors) != len(ids):
            raise ValueError(f"{len(ids)} ids need as many vectors, got {len(vectors)}")
        columns = {"id": ids, "text": texts, "title": titles, "metadata": metadata}
        return await self.ingest_arrow(record_batches(columns, vectors), mode, progress)

    async def _send_batches(
        self, batches: list[Any], mode: str, tell: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        headers = {"content-type": KIND, "accept": "application/x-ndjson", "transfer-encoding": "chunked"}
        plain = self._http.build_request("POST", "/ingest", params={"mode": mode}, headers=headers)
        body = _Body(batches)  # httpx takes what may be sent by either of its clients only like this
        request = httpx.Request(
            plain.method, plain.url, headers=plain.headers, stream=body, extensions=plain.extensions
        )
        response = await self._http.send(request, stream=True)
        try:
            async for event in events((await checked(response)).aiter_lines()):
                tell(event)
        finally:
            await response.aclose()
        return event


class _Body(httpx.SyncByteStream, httpx.AsyncByteStream):
    """Record batches of one schema as an Arrow stream, made while it is sent; the same each time."""

    def __init__(self, batches: list[Any]) -> None:
        self._batches = batches

    def __iter__(self) -> Iterator[bytes]:
        yield self._batches[0].schema.serialize().to_pybytes()
        for batch in self._batches:
            yield batch.serialize().to_pybytes()
        yield END

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in iter(self):
            yield piece


def _batches(data: Any) -> Iterator[Any]:
    """Small record batches without dictionaries."""
    import pyarrow

    if isinstance(data, pyarrow.RecordBatch):
        data = [data]
    elif hasattr(data, "__arrow_c_stream__"):
        data = pyarrow.RecordBatchReader.from_stream(data)
    for batch in data:
        for start, stop in _slices(batch.num_rows, batch.nbytes):
            yield _plain(pyarrow, batch.slice(start, stop - start))


def _slices(rows: int, size: int) -> Iterator[tuple[int, int]]:
    step = max(1, rows * BATCH_BYTES // max(size, 1))
    yield from ((start, min(start + step, rows)) for start in range(0, rows, step))


def _plain(arrow: Any, batch: Any) -> Any:
    """The batch with every column of texts as such, however they were encoded."""
    fields = []
    for field in batch.schema:
        kind = field.type.value_type if arrow.types.is_dictionary(field.type) else field.type
        fields.append(field.with_type(arrow.string() if arrow.types.is_string_view(kind) else kind))
    schema = arrow.schema(fields)
    return batch if schema == batch.schema else batch.cast(schema)


def _requests(batches: Iterable[Any]) -> Iterator[list[Any]]:
    """Batches of one schema that go in one request."""
    part: list[Any] = []
    size = 0
    for batch in batches:
        if part and (size >= REQUEST_BYTES or batch.schema != part[0].schema):
            yield part
            part, size = [], 0
        part.append(batch)
        size += batch.nbytes
    if part:
        yield part


def record_batches(columns: Mapping[str, Sequence[Any] | None], vectors: np.ndarray) -> Iterator[Any]:
    """Lists of n texts (None is null, metadata are objects) and (n, dim) vectors as batches of a few MiB; a column that
    is None is left out."""
    import pyarrow

    step = max(1, BATCH_BYTES // (4 * vectors.shape[1]))
    texts = pyarrow.string()
    for start in range(0, len(vectors), step):
        rows = np.ascontiguousarray(vectors[start : start + step], dtype=np.float32)
        made = {"vector": pyarrow.FixedSizeListArray.from_arrays(rows.ravel(), rows.shape[1])}
        for name, column in columns.items():
            if column is not None:
                values = list(column[start : start + step])
                if name == "metadata":
                    values = [None if value is None else json.dumps(value) for value in values]
                made[name] = pyarrow.array(values, type=texts)
        yield pyarrow.record_batch(made)


def _tell(progress: Callable[[Totals], None] | None, before: Totals, event: dict[str, Any]) -> None:
    if progress:
        progress(before.plus(event))
