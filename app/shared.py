"""Work that many ask for at the same time, and that is done once for all of them."""

from asyncio import Task, create_task, shield
from collections.abc import Callable, Coroutine
from typing import Any


class Shared:
    """One run at a time; who asks while it runs waits for that one. Used on one event loop."""

    def __init__(self) -> None:
        self._running: Task[None] | None = None

    async def run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Do it, or wait for the one who does; raises what it raised. It goes on when who asks gives up."""
        if self._running is None or self._running.done():
            self._running = create_task(work())
            self._running.add_done_callback(_seen)
        await shield(self._running)


def _seen(task: Task[None]) -> None:
    """Its error was told to those who waited; asyncio needs not warn when there were none."""
    if not task.cancelled():
        task.exception()
