"""Documents into the index: read, embed what changed, commit; each step works while the next one does."""

from asyncio import Queue, TaskGroup
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import numpy as np

from app.busy import Busy, ShuttingDown
from app.inbox import Inbox, Item
from app.problems import Refused
from app.report import Report
from app.service import Service
from index.document import Document
from index.errors import DocumentExists, DocumentNotFound, StorageFull, StoreUnavailable
from index.store import Outcome

LARGE = 4  # times batch_size: what is embedded together when documents arrive faster than that
PIECE = 256
ATTEMPTS = 10  # writes of a document that others change at the same time
STOPPING = (StorageFull, StoreUnavailable, Busy, ShuttingDown)  # what is stored stays, and is counted
REFUSALS = {"exists": DocumentExists("the id is taken"), "missing": DocumentNotFound("there is no such document")}


@dataclass(frozen=True)
class Ready:
    """Documents with the vectors that they need: position -> (dim,), and the positions that were cut."""

    items: list[Item]
    vectors: dict[int, np.ndarray]
    truncated: set[int]

    @property
    def documents(self) -> list[Document]:
        return [item.document for item in self.items]


class Ingest:
    """One request's documents on their way; the report is complete when `run` returns."""

    def __init__(self, service: Service, report: Report, mode: str) -> None:
        self._service, self._report, self._mode = service, report, mode

    async def run(self, arriving: AsyncIterator[list[Item]], committed: Callable[[], None]) -> None:
        """Store documents as they arrive; `committed` is called after each commit and must not block.

        A full disk, or a store that refuses writes, ends it early and is noted in the report.
        """
        size = self._service.settings.batch_size
        inbox, ready = Inbox(size, LARGE * size), Queue[Ready | None](1)
        try:
            async with TaskGroup() as group:
                group.create_task(self._read(arriving, inbox))
                group.create_task(self._embed(inbox, ready))
                group.create_task(self._commit(ready, committed))
        except ExceptionGroup as group:
            error = first_of(group)
            if not isinstance(error, STOPPING):
                raise error from None
            self._report.stopped = error
        else:
            self._report.processed = self._report.seen

    async def all_or_nothing(self, items: list[Item]) -> None:
        """Store all documents in one commit; raises DocumentExists or DocumentNotFound and stores nothing."""
        documents = [item.document for item in items]
        vectors, truncated = await self._vectors(documents, await self._changed(documents))
        for _ in range(ATTEMPTS):
            outcomes = await self._write(documents, vectors, atomic=True)
            missing = [i for i, outcome in enumerate(outcomes) if outcome.status == "needs_vector"]
            if not missing:
                for i, outcome in enumerate(outcomes):
                    self._report.count(outcome.status, i in truncated)
                return
            more, cut = await self._vectors(documents, missing)
            vectors, truncated = vectors | more, truncated | cut
        raise Refused("write-conflict", f"the documents changed {ATTEMPTS} times while they were embedded")

    async def _read(self, arriving: AsyncIterator[list[Item]], inbox: Inbox) -> None:
        async for items in arriving:
            if items:
                await inbox.put(items)
        await inbox.close()

    async def _embed(self, inbox: Inbox, ready: "Queue[Ready | None]") -> None:
        while batch := await inbox.take():
            await ready.put(await self._prepare(batch))
        await ready.put(None)

    async def _commit(self, ready: "Queue[Ready | None]", committed: Callable[[], None]) -> None:
        while (batch := await ready.get()) is not None:
            await self._store(batch)
            self._report.processed = batch.items[-1].place
            committed()

    async def _prepare(self, batch: list[Item]) -> Ready:
        """The batch without documents that a later one replaces, and the vectors of those that changed."""
        last = {item.document.doc_id: item for item in batch}
        self._report.superseded += len(batch) - len(last)
        items = sorted(last.values(), key=lambda item: item.place)
        documents = [item.document for item in items]
        return Ready(items, *await self._vectors(documents, await self._changed(documents)))

    async def _store(self, batch: Ready) -> None:
        """Write a batch; what changed meanwhile is embedded and written again."""
        for attempt in range(ATTEMPTS):
            outcomes = await self._write(batch.documents, batch.vectors)
            again = [i for i, outcome in enumerate(outcomes) if outcome.status == "needs_vector"]
            self._count(batch, outcomes)
            if not again:
                return None
            items = [batch.items[i] for i in again]
            if attempt == ATTEMPTS - 1:
                return self._give_up(items)
            documents = [item.document for item in items]
            batch = Ready(items, *await self._vectors(documents, list(range(len(items)))))
        return None

    def _count(self, batch: Ready, outcomes: list[Outcome]) -> None:
        for i, (item, outcome) in enumerate(zip(batch.items, outcomes, strict=True)):
            if outcome.status in REFUSALS:
                self._report.fail_with(item.place, item.document.doc_id, REFUSALS[outcome.status])
            elif outcome.status != "needs_vector":
                self._report.count(outcome.status, i in batch.truncated)

    def _give_up(self, items: list[Item]) -> None:
        error = Refused("write-conflict", f"it changed {ATTEMPTS} times while it was embedded")
        for item in items:
            self._report.fail_with(item.place, item.document.doc_id, error)

    async def _changed(self, documents: list[Document]) -> list[int]:
        """Positions of the documents that need a vector."""
        flags = await self._service.calls.run(self._service.store.changed, documents, self._mode)
        return [position for position, changed in enumerate(flags) if changed]

    async def _vectors(self, documents: list[Document], wanted: list[int]) -> tuple[dict[int, np.ndarray], set[int]]:
        """Vectors of the wanted positions, and which of them were cut."""
        encoder, vectors, truncated = self._service.encoder, dict[int, np.ndarray](), set[int]()
        size = LARGE * self._service.settings.batch_size
        for start in range(0, len(wanted), size):
            part = wanted[start : start + size]
            if encoder is None:
                raise Refused("no-model", "this service has no model: documents bring vectors")
            embedded = await encoder.documents([documents[position].embedded_text for position in part])
            vectors |= zip(part, embedded.vectors, strict=True)
            truncated |= {position for position, cut in zip(part, embedded.truncated, strict=True) if cut}
        return vectors, truncated

    async def _write(
        self, documents: list[Document], vectors: dict[int, np.ndarray], atomic: bool = False
    ) -> list[Outcome]:
        return await self._service.calls.run(
            self._service.store.write, documents, vectors, mode=self._mode, atomic=atomic
        )


def first_of(group: ExceptionGroup[Exception]) -> Exception:
    """The first error inside a group of errors."""
    error = group.exceptions[0]
    return first_of(error) if isinstance(error, ExceptionGroup) else error


async def pieces(items: list[Item]) -> AsyncIterator[list[Item]]:
    """Documents that are all there already, as if they were arriving."""
    for start in range(0, len(items), PIECE):
        yield items[start : start + PIECE]
