"""A running service for tests: the real application and store, and a client without a socket."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from app.applying import Applying
from app.embedder import Embedded, Embedder
from app.main import create_app
from app.settings import Settings
from embedders import HashEmbedder

NDJSON = {"content-type": "application/x-ndjson"}
STREAMED = {**NDJSON, "accept": "application/x-ndjson"}
TEXTS = {
    "perl": "perl regular expressions match text",
    "sort": "sort a list in place",
    "date": "parse a date from text",
    "socket": "open and close a network socket",
    "list": "a list of numbers",
}


def settings_for(path: Path, **values: Any) -> Settings:
    """Settings that neither the environment nor a .env file of the machine can change; for TestClient's host name."""
    defaults = {"search_threads": 2, "allowed_hosts": "testserver"}
    return Settings(_env_file=None, data_dir=path / "data", **{**defaults, **values})


@contextmanager
def running(path: Path, embedder: Embedder | None = None, **values: Any) -> Iterator[TestClient]:
    """A client of a started service, with the hashing embedder unless the model is "none"."""
    if embedder is None and values.get("model") != "none":
        embedder = HashEmbedder()
    with TestClient(create_app(settings_for(path, **values), embedder)) as client:
        yield client


def fill(client: TestClient) -> None:
    """Store TEXTS, each with its id as metadata `name` and the number of its words as `words`."""
    documents = [
        {"id": name, "text": text, "metadata": {"name": name, "words": len(text.split())}}
        for name, text in TEXTS.items()
    ]
    assert client.post("/ingest", json={"documents": documents}).status_code == 200


def ids(results: Sequence[dict[str, Any]]) -> list[str]:
    """The ids of a result list."""
    return [hit["id"] for hit in results]


def assert_problem(response: Any, status: int, slug: str) -> dict[str, Any]:
    """The body of an answer, which is the problem that was expected."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = response.json()
    assert body["type"] == f"/problems/{slug}"
    assert body["status"] == status
    assert body["request_id"] == response.headers["x-request-id"]
    return body


class Departure:
    """Of clients who watch long work: `seen` is set once the service has noticed that one is gone."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen, self._steps, run = threading.Event(), count(), Applying.run

        async def watched(applying: Applying, told: Callable[[], None]) -> None:
            try:
                await run(applying, told)
            finally:
                self.seen.set()

        monkeypatch.setattr(Applying, "run", watched)

    def step(self) -> None:
        """One of the work: the first two go on, so that there is progress, the others when it is noticed."""
        if next(self._steps) >= 2:
            self.seen.wait(60)


class BlockingEmbedder(HashEmbedder):
    """Documents wait until `gate` is set; `waiting` is set as soon as one does."""

    def __init__(self) -> None:
        super().__init__()
        self.gate, self.waiting = threading.Event(), threading.Event()

    def embed_documents(self, texts: Sequence[str]) -> Embedded:
        """As ever, once the gate is open."""
        self.waiting.set()
        assert self.gate.wait(30)
        return super().embed_documents(texts)


class Exchange:
    """One request spoken message by message to the application, as a server would."""

    def __init__(
        self,
        client: TestClient,
        body: AsyncIterator[bytes],
        headers: dict[str, str],
        leaves: bool = False,
        query: bytes = b"",
    ) -> None:
        """With `leaves` the client goes away when the chunks of its body are used up."""
        self.sent: list[dict[str, Any]] = []
        self._client, self._body, self._leaves, self._ended = client, body, leaves, False
        headers = {"host": "testserver", **headers}
        self._scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": "/ingest",
            "raw_path": b"/ingest",
            "query_string": query,
            "root_path": "",
            "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
            "server": ("testserver", 80),
            "client": ("testclient", 50_000),
            "app": client.app,
        }

    def run(self) -> None:
        """Until the application is done."""
        assert self._client.portal is not None
        self._client.portal.call(self._client.app, self._scope, self._receive, self._send)

    @property
    def text(self) -> str:
        """What was answered."""
        return b"".join(message.get("body", b"") for message in self.sent).decode()

    async def _receive(self) -> dict[str, Any]:
        try:
            return {"type": "http.request", "body": await anext(self._body), "more_body": True}
        except StopAsyncIteration:
            if self._leaves:
                return {"type": "http.disconnect"}
        if self._ended:
            await self._left()
            return {"type": "http.disconnect"}
        self._ended = True
        return {"type": "http.request", "more_body": False}

    async def _left(self) -> None:
        """Returns when the client goes away after its body: never."""
        await asyncio.Event().wait()

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
