"""An answer that streams while the request body is still arriving."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from fastapi import Response
from pydantic_core import to_json
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.body import NDJSON
from app.report import Report

PAUSE = 0.1  # seconds between progress lines, at least

Work = Callable[[Callable[[], None]], Awaitable[None]]


class ProgressStream(Response):
    """Progress lines while `work(committed)` runs, then a summary.

    The work never waits for a line to be sent: a client that sends its whole body before it reads would stall
    with us. Lines that could not be sent yet are replaced by the newest. No summary means that it failed.
    """

    media_type = NDJSON

    def __init__(self, work: Work, report: Report) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._work, self._report, self._started = work, report, False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the work and tell about it. Nothing is sent before the first commit, nor to a client that left."""
        committed = asyncio.Event()
        telling = asyncio.create_task(self._tell(send, committed))
        try:
            await self._work(committed.set)
        except ClientDisconnect:
            return
        finally:
            telling.cancel()
            await asyncio.gather(telling, return_exceptions=True)
        await self._send(send, self._summary(), last=True)

    async def _tell(self, send: Send, committed: asyncio.Event) -> None:
        while True:
            await committed.wait()
            committed.clear()
            await self._send(send, self._report.progress())
            await asyncio.sleep(PAUSE)

    async def _send(self, send: Send, line: dict[str, Any], last: bool = False) -> None:
        if not self._started:
            self._started = True
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        await send({"type": "http.response.body", "body": to_json(line) + b"\n", "more_body": not last})

    def _summary(self) -> dict[str, Any]:
        report = self._report
        problem = {"problem": report.problem.members(report.detail)} if report.problem else {}
        summary = {"type": "summary", "status": report.status, "processed": report.processed}
        return {**summary, **report.body(), **problem}
