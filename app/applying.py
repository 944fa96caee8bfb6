"""Long work on the store while its caller watches; a caller who goes away before the end gives it up."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any

from fastapi import Request, Response

from app.answers import json_answer
from app.body import NDJSON
from app.busy import ShuttingDown
from app.problems import Problem, problem_of
from app.progress import ProgressStream
from app.service import Service
from index.errors import FunnelError
from index.progress import Progress


class CallerGone(FunnelError):
    """Nobody waits for the work any more; it is given up."""


class Applying:
    """The report of one piece of work, as `ProgressStream` tells it. Called from one event loop.

    `work` runs in one call of a thread and returns the answer, so that a queue that is full by then cannot turn what
    was done into an error. It calls its argument with (done, total), counted in `unit`s.
    """

    def __init__(self, service: Service, work: Callable[[Progress], dict[str, Any]], unit: str = "rows") -> None:
        self._service, self._work, self._unit = service, work, unit
        self._gone = False
        self.answer: dict[str, Any] = {}
        self._started = perf_counter()
        self.arrived = asyncio.Event()
        self.arrived.set()  # the body was read before
        self.stopped: Exception | None = None
        self.processed = self.total = 0

    async def run(self, told: Callable[[], None]) -> None:
        """Do it; `told` is called in the event loop when there is progress."""
        loop = asyncio.get_running_loop()

        def progress(done: int, total: int) -> None:
            if self._gone:
                raise CallerGone("the client went away")
            if self._service.stopping.is_set():
                raise ShuttingDown("the service shuts down; the work was given up, and nothing has changed")
            self.processed, self.total = done, total
            loop.call_soon_threadsafe(told)

        try:
            self.answer = await self._service.writes.run(self._work, progress)
        finally:
            self._gone = True

    @property
    def status(self) -> int:
        """Of the summary: 200, or that of the problem."""
        return 200 if self.stopped is None else problem_of(self.stopped).status

    @property
    def problem(self) -> Problem | None:
        """Why it was not done."""
        return None if self.stopped is None else problem_of(self.stopped)

    @property
    def detail(self) -> str:
        """What the problem says."""
        return str(self.stopped)

    def progress(self) -> dict[str, Any]:
        """A progress line."""
        return {"type": "progress", "processed": self.processed, self._unit: self.total}

    def body(self) -> dict[str, Any]:
        """The answer, and the time it took."""
        took = {"took_ms": round((perf_counter() - self._started) * 1e3, 3)}
        return {**self.answer, **took}


async def applied(request: Request, applying: Applying) -> Response:
    """Do the work: its progress and a summary where the client accepts NDJSON, else its answer when it is done."""
    if NDJSON in request.headers.get("accept", ""):
        return ProgressStream(applying.run, applying)
    await applying.run(lambda: None)
    return json_answer(applying.answer)
