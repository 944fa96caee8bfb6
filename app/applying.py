"""A rotation being applied while its caller watches; a caller who goes away before the end has changed nothing."""

import asyncio
from collections.abc import Callable
from time import perf_counter
from typing import Any

from app.problems import Problem, problem_of
from app.service import Service
from index.build import Progress
from index.errors import FunnelError
from index.rotation import Rotation
from index.store import Store


class CallerGone(FunnelError):
    """Nobody waits for the rotation any more; it is given up."""


class Applying:
    """The report of one rotation (None: its undoing), as `ProgressStream` tells it. Called from one event loop."""

    def __init__(self, service: Service, rotation: Rotation | None) -> None:
        self._service, self._rotation = service, rotation
        self._gone = False
        self.matrices: dict[str, Any] = {}  # in force at the end
        self._started = perf_counter()
        self.arrived = asyncio.Event()
        self.arrived.set()  # the body was read before
        self.stopped: Exception | None = None
        self.processed = self.rows = 0

    async def run(self, told: Callable[[], None]) -> None:
        """Apply it; `told` is called in the event loop when there is progress."""
        loop = asyncio.get_running_loop()

        def progress(done: int, rows: int) -> None:
            if self._gone:
                raise CallerGone("the client went away")
            self.processed, self.rows = done, rows
            loop.call_soon_threadsafe(told)

        try:
            self.matrices = await self._service.calls.run(self._rotate, progress)
        finally:
            self._gone = True

    def _rotate(self, progress: Progress) -> dict[str, Any]:
        """In one call: a queue that is full by then must not turn what was applied into an error."""
        self._service.store.rotate(self._rotation, progress)
        return matrices(self._service.store)

    @property
    def status(self) -> int:
        """Of the summary: 200, or that of the problem."""
        return 200 if self.stopped is None else problem_of(self.stopped).status

    @property
    def problem(self) -> Problem | None:
        """Why it was not applied."""
        return None if self.stopped is None else problem_of(self.stopped)

    @property
    def detail(self) -> str:
        """What the problem says."""
        return str(self.stopped)

    def progress(self) -> dict[str, Any]:
        """A progress line."""
        return {"type": "progress", "processed": self.processed, "rows": self.rows}

    def body(self) -> dict[str, Any]:
        """What is in force at the end."""
        took = {"took_ms": round((perf_counter() - self._started) * 1e3, 3)}
        return {**self.matrices, **took}


def matrices(store: Store) -> dict[str, Any]:
    """Rotation and query map in force, as the statistics tell them."""
    stats = store.stats()
    return {name: stats[name] for name in ("rotation", "query_map")}
