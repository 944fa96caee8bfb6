"""The documents of an ingest as request bodies, from either kind of iterable."""

from collections.abc import AsyncIterable, AsyncIterator, Iterable, Mapping
from typing import Any

from app.client_ingest import CHUNK_DOCUMENTS, chunks

Document = Mapping[str, Any]


async def bodies(documents: Iterable[Document] | AsyncIterable[Document]) -> AsyncIterator[bytes]:
    """NDJSON of at most 500 documents and about 8 MiB each."""
    if isinstance(documents, Iterable):
        for body in chunks(documents):
            yield body
        return
    async for part in _parts(documents):
        for body in chunks(part):
            yield body


async def _parts(documents: AsyncIterable[Document]) -> AsyncIterator[list[Document]]:
    part: list[Document] = []
    async for document in documents:
        part.append(document)
        if len(part) == CHUNK_DOCUMENTS:
            yield part
            part = []
    yield part
