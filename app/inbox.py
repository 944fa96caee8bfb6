"""Documents between the reader of a body and the model: bounded, and handed on in batches."""

import asyncio
from collections import deque
from contextlib import suppress
from dataclasses import dataclass

from index.document import Document

LINGER = 0.05  # seconds that a small batch waits for more
TOGETHER = 8_192  # documents in a batch at most, when they bring vectors
MAX_BYTES = 16 << 20  # of texts and vectors waiting, so that large documents wait in smaller numbers


@dataclass(frozen=True)
class Item:
    """A document and its place in the request: index in JSON, line in NDJSON, row from 1 in Arrow."""

    place: int
    document: Document

    @property
    def size(self) -> int:
        """Roughly its bytes in memory."""
        vector = self.document.vector
        return len(self.document.text) + len(self.document.metadata_json) + (0 if vector is None else vector.nbytes)


class Inbox:
    """One task puts, one takes. The putter waits while it is full, the taker while it is empty."""

    def __init__(self, least: int, most: int) -> None:
        """A batch has `least` items or more, unless no more come for a while; `most` of them may want the model."""
        self._least, self._most = least, most
        self._items: deque[Item] = deque()
        self._bytes = self._texts = 0
        self._closed = False
        self._changed = asyncio.Condition()

    async def put(self, items: list[Item]) -> None:
        """Add items; returns when there is room for more."""
        async with self._changed:
            self._items.extend(items)
            self._bytes += sum(item.size for item in items)
            self._texts += sum(item.document.vector is None for item in items)
            self._changed.notify_all()
            await self._changed.wait_for(self._has_room)

    async def close(self) -> None:
        """No more items come."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def take(self) -> list[Item]:
        """The next batch; empty at the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._items or self._closed)
            await self._linger()
            taken: list[Item] = []
            size = texts = 0
            while self._items and len(taken) < TOGETHER and texts < self._most and size < MAX_BYTES:
                item = self._items.popleft()
                taken.append(item)
                size += item.size
                texts += item.document.vector is None
            self._bytes -= size
            self._texts -= texts
            self._changed.notify_all()
            return taken

    def _has_room(self) -> bool:
        return len(self._items) < TOGETHER and self._texts < 2 * self._most and self._bytes < MAX_BYTES

    async def _linger(self) -> None:
        """Give a small batch a moment to grow."""
        with suppress(TimeoutError):
            async with asyncio.timeout(LINGER):
                await self._changed.wait_for(
                    lambda: self._closed or len(self._items) >= self._least or self._bytes >= MAX_BYTES
                )
