"""The stream of progress lines, without a service around it."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from app.progress import ProgressStream


class Report:
    """Of work that has read its body and never fails."""

    stopped, status, problem, detail, processed = None, 200, None, "", 1

    def __init__(self) -> None:
        self.arrived = asyncio.Event()
        self.arrived.set()

    def progress(self) -> dict[str, Any]:
        return {"type": "progress"}

    def body(self) -> dict[str, Any]:
        return {}


async def lines_of(work: Callable[[Callable[[], None]], Any]) -> list[dict[str, Any]]:
    """What a client is sent that stays to the end."""
    sent: list[bytes] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        return {}

    async def send(message: Any) -> None:
        sent.append(message.get("body", b""))

    async with asyncio.timeout(10):
        await ProgressStream(work, Report())({"type": "http"}, receive, send)
    return [json.loads(line) for line in b"".join(sent).splitlines()]


@pytest.mark.parametrize("turns", range(6))
def test_work_that_ends_with_a_commit_ends_the_stream(turns: int) -> None:
    """However many turns of the event loop lie between its last commit and its end."""

    async def work(committed: Callable[[], None]) -> None:
        await asyncio.sleep(0.01)
        committed()
        for _ in range(turns):
            await asyncio.sleep(0)

    lines = asyncio.run(lines_of(work))
    assert [line["type"] for line in lines][-1] == "summary"
