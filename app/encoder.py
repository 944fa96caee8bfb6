"""Text to vectors for many requests at once: a lane for queries, a lane for documents, a cache of queries."""

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.embedder import Embedded, Embedder
from app.worker import EncoderBusy, Worker

__all__ = ["Encoded", "Encoder", "EncoderBusy"]

QUERY_BATCH = 64  # waiting queries that are embedded together
DOCUMENT_BATCH = 256
CACHED_CHARACTERS = 2_048  # longer queries are not remembered, so that the cache stays small


@dataclass(frozen=True)
class Encoded:
    """Vectors of queries and where their time went, in milliseconds."""

    vectors: np.ndarray  # (n, dim) float32, unit rows
    queue_ms: float
    embed_ms: float


class Encoder:
    """Embeds in two threads, so that a query never waits behind documents. Called from one event loop."""

    def __init__(self, embedder: Embedder, query_queue: int, ingest_queue: int, query_cache: int) -> None:
        self._cache: OrderedDict[str, np.ndarray] = OrderedDict()  # text -> (dim,), the last used at the end
        self._cache_size = query_cache
        self._queries = Worker("query", embedder.embed_queries, _rows, query_queue, QUERY_BATCH)
        self._documents = Worker("document", embedder.embed_documents, _part, ingest_queue, DOCUMENT_BATCH)

    @property
    def depths(self) -> dict[str, int]:
        """Jobs that wait, by lane."""
        return {"query": self._queries.depth, "document": self._documents.depth}

    async def queries(self, texts: Sequence[str]) -> Encoded:
        """Vectors of query texts, one row each; EncoderBusy when too many are waiting."""
        known = {text: self._remembered(text) for text in texts}
        new = [text for text, vector in known.items() if vector is None]
        if not new:
            return Encoded(_stack(known, texts), 0.0, 0.0)
        done = await self._queries.do(new)
        for text, vector in zip(new, done.value, strict=True):
            known[text] = vector
            self._remember(text, vector)
        return Encoded(_stack(known, texts), done.queue_ms, done.run_ms)

    async def unasked(self, texts: Sequence[str]) -> np.ndarray:
        """(n, dim) vectors of query texts that nobody asked for, which are not remembered in place of what was."""
        return (await self._queries.do(texts)).value

    async def documents(self, texts: Sequence[str]) -> Embedded:
        """Vectors of document texts; EncoderBusy when too many batches are waiting."""
        return (await self._documents.do(texts)).value

    def close(self) -> None:
        """Finish what runs, refuse what waits, end both threads."""
        self._queries.close()
        self._documents.close()

    def _remembered(self, text: str) -> np.ndarray | None:
        if text in self._cache:
            self._cache.move_to_end(text)
        return self._cache.get(text)

    def _remember(self, text: str, vector: np.ndarray) -> None:
        if len(text) > CACHED_CHARACTERS:
            return
        self._cache[text] = vector.copy()  # a row would keep its whole batch alive
        while len(self._cache) > self._cache_size:
            self._cache.popitem(last=False)


def _stack(known: dict[str, np.ndarray | None], texts: Sequence[str]) -> np.ndarray:
    return np.stack([vector for text in texts if (vector := known[text]) is not None])


def _rows(vectors: np.ndarray, start: int, stop: int) -> np.ndarray:
    return vectors[start:stop]


def _part(embedded: Embedded, start: int, stop: int) -> Embedded:
    return Embedded(embedded.vectors[start:stop], embedded.truncated[start:stop])
