"""From request bodies to documents: each is checked on its own, a bad one fails alone."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import islice
from typing import Any

from app.body import decode, validate
from app.inbox import Item
from app.ndjson import Line, LineReader, slices
from app.problems import PROBLEMS, Refused
from app.report import Report
from app.requests import DocumentBody
from index.document import Document
from index.errors import InvalidInput
from index.matryoshka import check_width

TURN = 256  # documents that are checked before other requests get their turn


class Reader:
    """Makes documents; what cannot be one goes into the report."""

    def __init__(self, report: Report, dim: int, needs_vector: bool, max_document_bytes: int) -> None:
        self._report, self._dim, self._needs_vector = report, dim, needs_vector
        self._max_bytes = max_document_bytes

    async def lines(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[list[Item]]:
        """Documents of an NDJSON body as they arrive."""
        reader = LineReader(self._max_bytes)
        async for chunk in chunks:
            for piece in slices(chunk):
                yield list(self._items(reader.feed(piece)))
                await asyncio.sleep(0)
        self._report.arrived.set()
        yield list(self._items(reader.end()))

    async def values(self, values: Sequence[Any]) -> list[Item]:
        """Documents of a JSON body, all of them; of those with the same id only the last."""
        self._report.arrived.set()
        self._report.seen = len(values)
        items: dict[str, Item] = {}
        numbered = iter(enumerate(values))
        while turn := list(islice(numbered, TURN)):
            for index, value in turn:
                for item in self._made(index, value):
                    self._report.superseded += items.pop(item.document.doc_id, None) is not None
                    items[item.document.doc_id] = item
            await asyncio.sleep(0)
        return list(items.values())

    def _items(self, lines: Iterator[Line]) -> Iterator[Item]:
        for line in lines:
            self._report.seen = line.number
            if line.data is None:
                self._report.received += 1
                detail = f"the line has {line.size} bytes, the limit is {self._max_bytes}"
                self._report.fail(line.number, None, PROBLEMS["body-too-large"], detail)
                continue
            try:
                value = decode(line.data)
            except Refused as error:
                self._report.received += 1
                self._report.fail_with(line.number, None, error)
                continue
            yield from self._made(line.number, value)

    def _made(self, place: int, value: Any) -> Iterator[Item]:
        """The document, unless it is a bad one."""
        self._report.received += 1
        try:
            yield Item(place, self._document(value))
        except (Refused, InvalidInput) as error:
            given = self._id_of(value)
            self._report.fail_with(place, given[:512] if isinstance(given, str) else None, error)

    def _id_of(self, value: Any) -> Any:
        return value.get("id") if isinstance(value, dict) else None

    def _document(self, value: Any) -> Document:
        body = validate(DocumentBody, value)
        return self._checked(Document(body.id, body.text, body.title, body.metadata, body.vector))

    def _checked(self, document: Document) -> Document:
        if document.vector is not None:
            check_width(document.vector, self._dim)
        elif self._needs_vector:
            where = [{"pointer": "/vector", "detail": f"this service has no model: {self._dim} numbers are needed"}]
            raise Refused("no-model", where[0]["detail"], where)
        return document
