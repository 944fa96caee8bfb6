"""One /ingest request: its body, how it is read, and its report."""

from collections.abc import Callable

from fastapi import Request

from app.arrow_reading import ArrowReader
from app.body import ARROW, STREAMS, chunks, read_json, until
from app.ingest import Ingest, pieces
from app.reading import Reader
from app.report import Report
from app.requests import IngestRequest
from app.service import Service


class Intake:
    """Reads the body and stores its documents."""

    def __init__(self, request: Request, service: Service, kind: str, mode: str, atomic: bool) -> None:
        self._request, self._service, self._atomic = request, service, atomic
        self._kind = kind
        self.report = Report("line" if kind in STREAMS else "index")
        settings, dim = service.settings, service.store.space.dim
        about = (self.report, dim, service.encoder is None, settings.max_document_bytes)
        self._reader = ArrowReader(*about) if kind == ARROW else Reader(*about)
        self._ingest = Ingest(service, self.report, mode)

    async def run(self, committed: Callable[[], None]) -> None:
        """Store the documents; `committed` is called after each commit. Its counts go to the metrics at any end."""
        try:
            await (self._stream(committed) if self._kind in STREAMS else self._values(committed))
        finally:
            self._service.metrics.ingested(self.report.counts())

    async def _stream(self, committed: Callable[[], None]) -> None:
        arriving = chunks(self._request, self._service.settings.upload_idle_seconds)
        arriving = until(self._service.stopping, arriving)
        reader = self._reader
        items = reader.batches(arriving) if isinstance(reader, ArrowReader) else reader.lines(arriving)
        await self._ingest.run(items, committed)

    async def _values(self, committed: Callable[[], None]) -> None:
        settings = self._service.settings
        body = await read_json(self._request, IngestRequest, settings.max_body_bytes, settings.upload_idle_seconds)
        items = await self._reader.values(body.documents)
        if not self._atomic:
            await self._ingest.run(pieces(items), committed)
        elif not self.report.failed:
            await self._ingest.all_or_nothing(items)
