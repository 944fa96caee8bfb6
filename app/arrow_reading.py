"""From a body of Arrow record batches to documents: each row is checked on its own, a bad one fails alone."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

from anyio.to_thread import run_sync

from app.arrow_batches import Batches, Row, metadata_of, rows_of
from app.arrow_messages import RECORD_BATCH, SCHEMA, Messages, malformed
from app.inbox import Item
from app.problems import Refused
from app.reading import Reader
from index.document import Document

SLICE = 1_024  # rows made documents of in one go: 15 ms of a thread
MAX_MESSAGE = 32 << 20  # bytes of a record batch, of which one or two are in memory


class ArrowReader(Reader):
    """Makes documents of rows, which are counted from 1 like lines."""

    async def batches(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[list[Item]]:
        """Documents of an Arrow stream as they arrive; Refused for what is none, or has columns of no documents."""
        batches: Batches | None = None
        async for message in Messages(chunks, MAX_MESSAGE):
            if message.kind == SCHEMA and batches is None:
                batches = await run_sync(Batches, message.data, self._dim)
            elif message.kind == RECORD_BATCH and batches is not None:
                batch = await run_sync(batches.read, message.data)
                for start in range(0, batch.num_rows, SLICE):
                    yield await run_sync(self._rows, batch.slice(start, SLICE))
            else:
                raise malformed("a message is neither its first schema nor a record batch after it")
        if batches is None:
            raise malformed("it is empty")
        self._report.arrived.set()

    def _rows(self, batch: Any) -> list[Item]:
        return [item for row in rows_of(batch) for item in self._next(row)]

    def _next(self, row: Row) -> Iterator[Item]:
        self._report.seen += 1
        yield from self._made(self._report.seen, row)

    def _document(self, value: Row) -> Document:
        doc_id, text, title, metadata, vector, sound = value
        size = len(text) + len(title or "") + (len(metadata) if isinstance(metadata, str) else 0)
        if size > self._max_bytes:
            raise Refused("body-too-large", f"the texts have {size} characters, the limit is {self._max_bytes}")
        return self._checked(Document(doc_id, text, title, metadata_of(metadata), vector, sound))

    def _id_of(self, value: Row) -> Any:
        return value[0]
