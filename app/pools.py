"""Bounded thread pools for calls that block."""

import asyncio
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Lock
from typing import Any, ParamSpec, TypeVar

from app.busy import Busy

P = ParamSpec("P")
R = TypeVar("R")


class Pool:
    """Runs blocking calls in `threads` threads; Busy when `waiting` more are waiting."""

    def __init__(self, name: str, threads: int, waiting: int) -> None:
        self.name, self._threads, self._waiting = name, threads, waiting
        self._inside, self._lock = 0, Lock()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=name)

    @property
    def depth(self) -> int:
        """Calls that wait for a thread."""
        return max(0, self._inside - self._threads)

    @property
    def busy(self) -> bool:
        """Whether a call runs or waits."""
        return self._inside > 0

    async def run(self, call: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """The call's result. When the caller is cancelled, a call that runs already runs to its end."""
        with self._lock:
            if self._inside >= self._threads + self._waiting:
                raise Busy(f"{self.name} calls", self._waiting)
            self._inside += 1
        future = self._executor.submit(call, *args, **kwargs)
        future.add_done_callback(self._left)
        return await asyncio.wrap_future(future)

    def close(self) -> None:
        """Wait for running calls, drop waiting ones, end the threads."""
        self._executor.shutdown(wait=True, cancel_futures=True)

    def _left(self, _: Future[Any]) -> None:
        with self._lock:
            self._inside -= 1
