"""One thread that computes for many callers: what waits is computed together."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from threading import Condition, Thread
from time import perf_counter
from typing import Generic, TypeVar

from app.busy import Busy, ShuttingDown

R = TypeVar("R")


class EncoderBusy(Busy):
    """Too many encode jobs are waiting."""


@dataclass(frozen=True)
class Done(Generic[R]):
    """A result, how long its job waited, and how long the batch it was part of took, in milliseconds."""

    value: R
    queue_ms: float
    run_ms: float


@dataclass
class _Job(Generic[R]):
    texts: list[str]
    future: "Future[Done[R]]"
    since: float


class Worker(Generic[R]):
    """Computes `run(texts)` in a thread of its own.

    Jobs that wait are joined up to `batch` texts; `part(result, start, stop)` takes a job's rows out again.
    """

    def __init__(
        self,
        name: str,
        run: Callable[[list[str]], R],
        part: Callable[[R, int, int], R],
        waiting: int,
        batch: int,
    ) -> None:
        self.name, self._run, self._part, self._waiting, self._batch = name, run, part, waiting, batch
        self._jobs: deque[_Job[R]] = deque()
        self._changed = Condition()
        self._closed = False
        self._thread = Thread(target=self._work, name=f"encode-{name}", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Jobs that wait."""
        return len(self._jobs)

    async def do(self, texts: Sequence[str]) -> Done[R]:
        """The result for these texts; EncoderBusy when the queue is full, ShuttingDown at the end."""
        job: _Job[R] = _Job(list(texts), Future(), perf_counter())
        with self._changed:
            if self._closed:
                raise ShuttingDown("the service shuts down")
            if len(self._jobs) >= self._waiting:
                raise EncoderBusy(f"{self.name} jobs", self._waiting)
            self._jobs.append(job)
            self._changed.notify()
        return await asyncio.wrap_future(job.future)

    def close(self) -> None:
        """Finish the job that runs, refuse those that wait, end the thread."""
        with self._changed:
            self._closed = True
            dropped = list(self._jobs)
            self._jobs.clear()
            self._changed.notify()
        for job in dropped:
            if job.future.set_running_or_notify_cancel():
                job.future.set_exception(ShuttingDown("the service shuts down"))
        self._thread.join()

    def _work(self) -> None:
        while jobs := self._next():
            self._compute(jobs)

    def _next(self) -> list[_Job[R]]:
        """The jobs of the next batch, oldest first; empty at the end."""
        with self._changed:
            taken: list[_Job[R]] = []
            while not taken and not self._closed:  # again when all that waited were cancelled
                self._changed.wait_for(lambda: self._jobs or self._closed)
                taken = self._take()
            return taken

    def _take(self) -> list[_Job[R]]:
        """Jobs of a batch that still have a caller."""
        taken: list[_Job[R]] = []
        size = 0
        while self._jobs and (not taken or size + len(self._jobs[0].texts) <= self._batch):
            job = self._jobs.popleft()
            if job.future.set_running_or_notify_cancel():
                taken.append(job)
                size += len(job.texts)
        return taken

    def _compute(self, jobs: list[_Job[R]]) -> None:
        """Set every job's result. When a joint batch fails each job is computed alone: one bad text, one error."""
        begun = perf_counter()
        try:
            result = self._run([text for job in jobs for text in job.texts])
        except Exception as error:  # whatever it is, the callers get it and the thread lives on
            if len(jobs) == 1:
                jobs[0].future.set_exception(error)
                return
            for job in jobs:
                self._compute([job])
            return
        took, start = (perf_counter() - begun) * 1e3, 0
        for job in jobs:
            stop = start + len(job.texts)
            waited = (begun - job.since) * 1e3
            job.future.set_result(Done(self._part(result, start, stop), waited, took))
            start = stop
