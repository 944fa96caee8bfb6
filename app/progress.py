"""An answer that streams while the request body is still arriving."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Protocol

from fastapi import Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

from app.body import NDJSON
from app.busy import Busy, ShuttingDown, Stalled
from app.problems import Problem, Refused
from index.errors import FunnelError

PAUSE = 0.1  # seconds between progress lines, at least
HEARTBEAT = 5.0  # seconds after which a line is sent although nothing was committed
TOLD = (FunnelError, Refused, Busy, ShuttingDown, Stalled)

Work = Callable[[Callable[[], None]], Awaitable[None]]


class Told(Protocol):
    """What is told about some work, filled while it runs."""

    arrived: asyncio.Event  # set when the whole body was read
    stopped: Exception | None  # what ended the work early
    processed: int

    @property
    def status(self) -> int: ...
    @property
    def problem(self) -> Problem | None: ...
    @property
    def detail(self) -> str: ...
    def progress(self) -> dict[str, Any]: ...
    def body(self) -> dict[str, Any]: ...


class ProgressStream(Response):
    """Progress lines while `work(committed)` runs, then a summary.

    The work never waits for a line to be sent: a client that sends its whole body before it reads would stall
    with us. Lines that could not be sent yet are replaced by the newest. No summary means that it failed.
    """

    media_type = NDJSON

    def __init__(self, work: Work, report: Told) -> None:
        super().__init__()
        del self.headers["content-length"]
        self._work, self._report, self._started = work, report, False
        self._error: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the work and tell about it; stop it when the client is gone, for whom nothing is sent any more.

        Nothing is sent before the body was read or something is committed, so that a refusal can be an answer of
        its own.
        """
        committed = asyncio.Event()
        work = asyncio.create_task(self._watched(committed))
        tasks = [work, asyncio.create_task(self._tell(send, committed)), asyncio.create_task(self._gone(receive))]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                return
            work.result()
        except ClientDisconnect:
            return
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._error is not None and not self._started:
            raise self._error
        self._report.stopped = self._error or self._report.stopped
        with suppress(OSError):
            await self._send(send, self._summary(), last=True)

    async def _watched(self, committed: asyncio.Event) -> None:
        """The work; its error is the answer, or told in the summary if there has been a line by then."""
        try:
            await self._work(committed.set)
        except TOLD as error:
            self._error = error

    async def _tell(self, send: Send, committed: asyncio.Event) -> None:
        """Send lines; returns when the client does not take them."""
        with suppress(OSError):
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(HEARTBEAT):  # wait_for would swallow a cancel that comes with a commit
                        await committed.wait()
                if committed.is_set() or self._started or self._report.arrived.is_set():
                    committed.clear()
                    await self._send(send, self._report.progress())
                    await asyncio.sleep(PAUSE)

    async def _gone(self, receive: Receive) -> None:
        """Returns when the client is gone. While the body arrives its reader is the one who hears of that."""
        await self._report.arrived.wait()
        while (await receive())["type"] != "http.disconnect":
            pass

    async def _send(self, send: Send, line: dict[str, Any], last: bool = False) -> None:
        if not self._started:
            self._started = True
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        # ASCII: many clients also end a line at U+0085 or U+2028, which an id in a failure may hold.
        text = json.dumps(line, separators=(",", ":"))
        await send({"type": "http.response.body", "body": text.encode() + b"\n", "more_body": not last})

    def _summary(self) -> dict[str, Any]:
        report = self._report
        problem = {"problem": report.problem.members(report.detail)} if report.problem else {}
        summary = {"type": "summary", "status": report.status, "processed": report.processed}
        return {**summary, **report.body(), **problem}
