"""Documents into the index: read, embed what changed, commit; each step works while the next one does."""

from asyncio import Queue, TaskGroup
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

import numpy as np

from app.busy import Busy, ShuttingDown, Stalled
from app.embedding import Vectors, embed
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
    """Documents to be written, `upto` a place in the request, with what the model made of them."""

    items: list[Item]
    vectors: dict[int, np.ndarray]  # position in items -> (dim,)
    truncated: set[int]
    upto: int


class Ingest:
    """One request's documents on their way; the report is complete when a method returns."""

    def __init__(self, service: Service, report: Report, mode: str) -> None:
        self._service, self._report, self._mode = service, report, mode
        self._least = service.settings.batch_size
        self._most = LARGE * self._least

    async def run(self, arriving: AsyncIterator[list[Item]], committed: Callable[[], None]) -> None:
        """Store documents as they arrive; `committed` is called after each commit and must not block.

        A full disk, a store that refuses writes, or a body that stalls ends it early and is noted in the report.
        """
        inbox, ready = Inbox(self._least, self._most), Queue[Ready | None](1)
        try:
            async with TaskGroup() as group:
                group.create_task(self._read(arriving, inbox))
                group.create_task(self._prepare_all(inbox, ready))
                group.create_task(self._commit_all(ready, committed))
        except ExceptionGroup as errors:
            error = first_of(errors)
            if not isinstance(error, STOPPING):
                raise error from None
            self._report.stopped = error
        else:
            self._report.processed = self._report.seen

    async def all_or_nothing(self, items: list[Item]) -> None:
        """Store all documents in one commit, or none: DocumentExists, DocumentNotFound or InvalidVector."""
        documents = [item.document for item in items]
        made = await self._embed(documents, await self._changed(documents))
        for _ in range(ATTEMPTS):
            for error in made.refused.values():
                raise error
            outcomes = await self._write(documents, made.found, atomic=True)
            missing = _needing(outcomes)
            if not missing:
                for position, outcome in enumerate(outcomes):
                    self._report.count(outcome.status, position in made.truncated)
                return
            more = await self._embed(documents, missing)
            made = Vectors(made.found | more.found, made.truncated | more.truncated, more.refused)
        raise Refused("write-conflict", f"the documents changed {ATTEMPTS} times while they were embedded")

    async def _read(self, arriving: AsyncIterator[list[Item]], inbox: Inbox) -> None:
        try:
            async for items in arriving:
                if items:
                    await inbox.put(items)
        except (Stalled, ShuttingDown, Refused) as error:  # what has come is stored and counted
            if isinstance(error, Refused) and not self._report.seen:
                raise
            self._report.stopped = error
        await inbox.close()

    async def _prepare_all(self, inbox: Inbox, ready: "Queue[Ready | None]") -> None:
        while batch := await inbox.take():
            await ready.put(await self._prepare(batch))
        await ready.put(None)

    async def _commit_all(self, ready: "Queue[Ready | None]", committed: Callable[[], None]) -> None:
        while (batch := await ready.get()) is not None:
            await self._commit(batch)
            self._report.processed = batch.upto
            committed()

    async def _prepare(self, batch: list[Item]) -> Ready:
        """The batch without documents that a later one replaces, and the vectors of those that changed."""
        last = {item.document.doc_id: item for item in batch}
        self._report.superseded += len(batch) - len(last)
        items = sorted(last.values(), key=lambda item: item.place)
        documents = [item.document for item in items]
        return self._ready(items, await self._embed(documents, await self._changed(documents)))

    def _ready(self, items: list[Item], made: Vectors) -> Ready:
        """What can be written; documents that the model cannot embed have failed."""
        for position, error in made.refused.items():
            self._fail(items[position], error)
        kept = [position for position in range(len(items)) if position not in made.refused]
        return Ready(
            [items[position] for position in kept],
            {new: made.found[old] for new, old in enumerate(kept) if old in made.found},
            {new for new, old in enumerate(kept) if old in made.truncated},
            items[-1].place,
        )

    async def _commit(self, batch: Ready) -> None:
        """Write a batch; what changed meanwhile is embedded and written again."""
        for _ in range(ATTEMPTS):
            documents = [item.document for item in batch.items]
            outcomes = await self._write(documents, batch.vectors)
            self._count(batch, outcomes)
            again = _needing(outcomes)
            if not again:
                return
            items = [batch.items[position] for position in again]
            batch = self._ready(items, await self._embed([item.document for item in items], list(range(len(items)))))
        for item in batch.items:
            self._fail(item, Refused("write-conflict", f"it changed {ATTEMPTS} times while it was embedded"))

    def _count(self, batch: Ready, outcomes: list[Outcome]) -> None:
        for position, (item, outcome) in enumerate(zip(batch.items, outcomes, strict=True)):
            if outcome.status in REFUSALS:
                self._fail(item, REFUSALS[outcome.status])
            elif outcome.status != "needs_vector":
                self._report.count(outcome.status, position in batch.truncated)

    def _fail(self, item: Item, error: Exception) -> None:
        self._report.fail_with(item.place, item.document.doc_id, error)

    async def _changed(self, documents: list[Document]) -> list[int]:
        """Positions of the documents that need a vector."""
        flags = await self._service.calls.run(self._service.store.changed, documents, self._mode)
        return [position for position, changed in enumerate(flags) if changed]

    async def _embed(self, documents: list[Document], wanted: list[int]) -> Vectors:
        return await embed(self._service.encoder, documents, wanted, self._most)

    async def _write(
        self, documents: list[Document], vectors: dict[int, np.ndarray], atomic: bool = False
    ) -> list[Outcome]:
        return await self._service.writes.run(
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


def _needing(outcomes: list[Outcome]) -> list[int]:
    """Positions of documents that changed meanwhile and have to be embedded."""
    return [position for position, outcome in enumerate(outcomes) if outcome.status == "needs_vector"]
