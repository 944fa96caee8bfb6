"""AsyncClient, and both clients on an application in their own process."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import StreamingResponse

from app.client import AsyncClient, Client, ProblemError, Totals, Unreachable
from app.client_ingest import CHUNK_DOCUMENTS
from app.main import create_app
from app.settings import Settings
from embedders import HashEmbedder
from index.errors import StoreLocked


@pytest.fixture
def app(tmp_path: Path) -> FastAPI:
    return create_app(Settings(data_dir=tmp_path / "data", _env_file=None), HashEmbedder())


async def arriving(number: int) -> AsyncIterator[dict[str, Any]]:
    """Documents that come one at a time."""
    for n in range(number):
        await asyncio.sleep(0)
        yield {"id": f"d{n}", "text": f"text number {n}", "metadata": {"n": n}}


def public(kind: type) -> set[str]:
    return {name for name in dir(kind) if not name.startswith("_")}


def test_both_clients_have_the_same_calls() -> None:
    """Nothing is missing in one of them; a blocking call keeps its description."""
    assert public(AsyncClient) - {"aclose", "pause"} == public(Client) - {"close"}
    assert Client.search.__doc__ == AsyncClient.search.__doc__


def test_calls_at_once(app: FastAPI) -> None:
    """Documents of an async iterable are stored with progress; many searches run together."""
    seen: list[Totals] = []

    async def work() -> None:
        async with AsyncClient(app=app) as client:
            totals = await client.ingest(arriving(CHUNK_DOCUMENTS + 20), progress=seen.append)
            assert totals.created == CHUNK_DOCUMENTS + 20 == seen[-1].processed
            answers = await asyncio.gather(*(client.search(f"text number {n}", limit=1) for n in range(20)))
            assert [answer["results"][0]["id"] for answer in answers] == [f"d{n}" for n in range(20)]
            assert [d["id"] async for d in client.scroll({"n": {"$lt": 3}}, page=2)] == ["d0", "d1", "d2"]
            assert (await client.embed(["a", "b"])).shape == (2, 32)
            assert await client.delete(["d0", "d1"]) == 2
            with pytest.raises(ProblemError, match="404"):
                await client.get("d0")

    asyncio.run(work())


def test_a_cancelled_task_cancels_its_run(app: FastAPI) -> None:
    """As Ctrl-C does: what was begun on the service is given up."""

    async def work() -> None:
        async with AsyncClient(app=app) as client:
            await client.ingest(arriving(600))
            begun = asyncio.Event()
            run = asyncio.create_task(
                client.recall(lambda *_: begun.set(), source="documents", sample=600, calibrate=False)
            )
            await begun.wait()
            run.cancel()
            with pytest.raises(asyncio.CancelledError):
                await run
            assert (await client.recall_status())["state"] == "cancelled"

    asyncio.run(work())


def test_a_busy_service_is_asked_again_while_others_go_on() -> None:
    """The pause is the task's, not the loop's."""
    busy = httpx.Response(503, headers={"retry-after": "1"}, json={"type": "/problems/queue-full", "status": 503})
    answers = [busy, httpx.Response(200, json={"count": 1})]

    async def work() -> None:
        async with AsyncClient(transport=httpx.MockTransport(lambda _: answers.pop(0))) as client:
            paused, ended = asyncio.Event(), asyncio.Event()

            async def pause(seconds: float) -> None:
                assert seconds == 1
                paused.set()
                await ended.wait()

            client.pause = pause
            asked = asyncio.create_task(client.stats())
            await paused.wait()
            assert not asked.done()
            ended.set()
            assert await asked == {"count": 1}

    asyncio.run(work())


def test_an_application_without_a_socket(app: FastAPI, tmp_path: Path) -> None:
    """It is open as long as its client: the directory is locked meanwhile, and free afterwards."""
    settings = Settings(data_dir=tmp_path / "data", _env_file=None)
    with Client(app=app) as client:
        client.ingest({"id": f"d{n}", "text": f"text number {n}"} for n in range(30))
        with ThreadPoolExecutor(8) as threads:
            found = threads.map(lambda n: client.search(f"number {n}", limit=1)["results"][0]["id"], range(30))
            assert list(found) == [f"d{n}" for n in range(30)]
        with Client(app=create_app(settings, HashEmbedder())) as second, pytest.raises(StoreLocked):
            second.count()
    with Client(app=create_app(settings, HashEmbedder())) as again:
        assert again.count() == 30


def speaking(respond: Any) -> FastAPI:
    """An application with one endpoint, GET /stats."""
    app = FastAPI()
    app.get("/stats", response_model=None)(respond)
    return app


def test_answers_come_as_they_are_made_and_leaving_is_told() -> None:
    """A first part is there before the last is made; who goes away is noticed."""
    gone = asyncio.Event()

    async def endless(request: Request) -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            yield b"first"
            while not await request.is_disconnected():
                await asyncio.sleep(0)
                yield b"more"
            gone.set()

        return StreamingResponse(parts())

    async def work() -> None:
        async with AsyncClient(app=speaking(endless)) as client:
            async with client._http.stream("GET", "/stats") as response:
                assert await anext(response.aiter_raw()) == b"first"
            await asyncio.wait_for(gone.wait(), 30)

    asyncio.run(work())


async def failing() -> None:
    raise ValueError("a defect")


async def silent() -> None:
    await asyncio.sleep(0.2)


async def breaking() -> StreamingResponse:
    async def parts() -> AsyncIterator[bytes]:
        yield b"{"
        raise ValueError("a defect")

    return StreamingResponse(parts())


@pytest.mark.parametrize(
    ("respond", "error", "said"),
    [
        (failing, ProblemError, "500"),
        (silent, Unreachable, "said nothing for 0.05 s"),
        (breaking, Unreachable, "broke off its answer"),
    ],
)
def test_an_application_that_fails(respond: Any, error: type[Exception], said: str) -> None:
    """The errors are those of a service over the network."""
    with Client(app=speaking(respond), timeout=0.05, attempts=1) as client, pytest.raises(error, match=said):
        client.stats()


def test_a_blocking_client_says_what_it_cannot_do(app: FastAPI) -> None:
    """An async iterable that waits needs AsyncClient."""
    with Client(app=app) as client, pytest.raises(RuntimeError, match="AsyncClient"):
        client.ingest(arriving(1))
