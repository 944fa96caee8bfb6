"""The client against the real service, in process and over a socket."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.client import Client, Mode, ProblemError, Totals, Unreachable
from app.client_errors import ClientError
from app.client_ingest import CHUNK_DOCUMENTS, chunks, events
from app.main import create_app
from app.serving import in_process
from app.settings import Settings
from embedders import HashEmbedder
from index.errors import StoreLocked


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", _env_file=None)


@pytest.fixture
def client(settings: Settings) -> Iterator[Client]:
    with in_process(create_app(settings, HashEmbedder()), settings) as transport, Client(transport=transport) as made:
        yield made


def documents(number: int) -> Iterator[dict[str, Any]]:
    return ({"id": f"d{n}", "text": f"text number {n}", "metadata": {"n": n}} for n in range(number))


def test_search_finds_what_was_ingested(client: Client) -> None:
    """A document is the best result for its own text."""
    assert client.ingest(documents(30)).created == 30
    answer = client.search("text number 7", limit=3)
    assert answer["results"][0]["id"] == "d7"
    assert len(answer["results"]) == 3
    assert len(client.search(["number 1", "number 2"])["results"]) == 2


def test_ingest_of_several_chunks(client: Client) -> None:
    """Counts of the chunks add up, and progress reaches the number of documents."""
    seen: list[Totals] = []
    totals = client.ingest(documents(CHUNK_DOCUMENTS + 20), progress=seen.append)
    assert (totals.created, totals.processed, totals.stored) == (CHUNK_DOCUMENTS + 20,) * 3
    assert seen[-1] == totals
    assert [t.processed for t in seen] == sorted(t.processed for t in seen)


def test_ingest_again_changes_nothing(client: Client) -> None:
    """Repeating an ingest stores nothing new: this is how an interrupted one goes on."""
    client.ingest(documents(10))
    assert client.ingest(documents(15)).unchanged == 10
    assert client.count() == 15


@pytest.mark.parametrize("mark", ["\x85", "\u2028", "\u2029", "\x0c"])
def test_failures_whose_ids_hold_line_ends(client: Client, mark: str) -> None:
    """A streamed answer is read line by line, whatever an id holds that some take for the end of a line."""
    totals = client.ingest([{"id": f"a{mark}b", "text": ""}])
    assert [failure.id for failure in totals.failures] == [f"a{mark}b"]


def test_failures_have_positions(client: Client) -> None:
    """A refused document is named by its place in the whole ingest, and the others are stored."""
    rows = list(documents(CHUNK_DOCUMENTS + 5))
    rows[3]["text"] = 1
    rows[CHUNK_DOCUMENTS + 2]["id"] = ""
    totals = client.ingest(rows)
    assert totals.failed == 2
    assert [failure.position for failure in totals.failures] == [4, CHUNK_DOCUMENTS + 3]
    assert totals.failures[0].id == "d3"
    assert totals.stored == CHUNK_DOCUMENTS + 3


def test_nothing_stored_is_an_answer_too(client: Client) -> None:
    """An ingest of which every document is refused is counted, not raised."""
    assert client.ingest([{"id": "a"}, {"text": "b"}]).failed == 2


def test_modes(client: Client) -> None:
    """insert_only refuses ids that exist."""
    client.ingest(documents(2))
    totals = client.ingest(documents(3), mode="insert_only")
    assert (totals.created, totals.failed) == (1, 2)


def test_documents(client: Client) -> None:
    """Documents are read, counted, paged through and deleted by id or filter, whatever their ids look like."""
    client.ingest([*documents(10), {"id": "a/b c?%", "text": "odd"}])
    assert client.get("a/b c?%")["text"] == "odd"
    assert client.count({"n": {"$lt": 4}}) == 4
    assert [d["id"] for d in client.scroll(page=4)] == sorted(["a/b c?%", *(f"d{n}" for n in range(10))])
    assert client.delete(["d1", "missing"]) == 1
    assert client.delete_where({"n": {"$gte": 5}}) == 5
    assert client.count() == 5


def test_info_and_stats(client: Client) -> None:
    """Both answer with what the service is and holds."""
    client.ingest(documents(3))
    assert client.stats()["count"] == 3
    assert client.info()


def test_problems(client: Client) -> None:
    """What the service refuses is an error with its type, status and detail."""
    with pytest.raises(ProblemError) as caught:
        client.search("x", limit=5, shortlist=2)
    assert (caught.value.status, caught.value.type) == (422, "/problems/invalid-plan")
    assert "5" in caught.value.detail
    with pytest.raises(ProblemError, match="404"):
        client.get("nowhere")


def test_unreachable() -> None:
    """A service that is not there is one clear error, after the attempts asked for."""
    with Client("http://127.0.0.1:9", attempts=2) as client, pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        client.info()


def answering(*responses: httpx.Response) -> Client:
    """A client whose service gives these answers, one a request."""
    waiting = list(responses)
    return Client(transport=httpx.MockTransport(lambda request: waiting.pop(0)))


def test_busy_service_is_tried_again() -> None:
    """A 503 with Retry-After is tried again after that time."""
    busy = httpx.Response(503, headers={"retry-after": "0"}, json={"type": "/problems/queue-full", "status": 503})
    with answering(busy, busy, httpx.Response(200, json={"count": 1})) as client:
        assert client.stats() == {"count": 1}


def stopped(created: int) -> httpx.Response:
    """A streamed ingest that the store has stopped after that many documents."""
    problem = {"type": "/problems/store-unavailable", "title": "busy", "status": 503}
    summary = {"type": "summary", "status": 503, "created": created, "problem": problem}
    return httpx.Response(200, text=json.dumps(summary) + "\n")


DONE = {"type": "summary", "status": 200, "created": 1} | dict.fromkeys(
    ("processed", "updated", "unchanged", "failed", "superseded", "truncated"), 0
)


@pytest.mark.parametrize(("mode", "created", "repeated"), [
    ("upsert", 1, True), ("insert_only", 0, True), ("insert_only", 1, False),
])  # fmt: skip
def test_a_stopped_ingest_is_repeated_only_if_that_changes_nothing(
    mode: Mode, created: int, repeated: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """insert_only would refuse what its first run has stored, so that it is not run again after a part of it."""
    monkeypatch.setattr("app.client_http.FIRST_PAUSE", 0.001)
    with answering(stopped(created), httpx.Response(200, text=json.dumps(DONE))) as client:
        if repeated:
            assert client.ingest(documents(1), mode).created == 1
        else:
            with pytest.raises(ProblemError, match="store-unavailable"):
                client.ingest(documents(1), mode)


@pytest.mark.parametrize(("mode", "repeated"), [("upsert", True), ("insert_only", False)])
def test_silence_in_an_ingest(mode: Mode, repeated: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A read timeout is tried again where what is stored is skipped; a search gives up at once."""
    monkeypatch.setattr("app.client_http.FIRST_PAUSE", 0.001)
    asked: list[str] = []

    def silent_once(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        if len(asked) == 1:
            raise httpx.ReadTimeout("nothing came")
        return httpx.Response(200, text=json.dumps(DONE))

    with Client(transport=httpx.MockTransport(silent_once)) as client:
        if repeated:
            assert client.ingest(documents(1), mode).created == 1
        else:
            with pytest.raises(Unreachable, match="nothing came"):
                client.ingest(documents(1), mode)
        assert len(asked) == 1 + repeated
        asked.clear()
        with pytest.raises(Unreachable):
            client.search("x")


def test_answers_of_other_software() -> None:
    """An error page of a proxy becomes a ProblemError with its status and text."""
    with answering(httpx.Response(502, text="<h1>Bad gateway</h1>")) as client, pytest.raises(ProblemError) as caught:
        client.info()
    assert (caught.value.status, caught.value.detail) == (502, "<h1>Bad gateway</h1>")


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (httpx.Response(200, html="<h1>Another service</h1>"), Unreachable, "is not this service"),
        (httpx.Response(302, headers={"location": "https://login.example"}), ProblemError, "login.example.*302"),
        (httpx.Response(500, headers={"content-type": "application/json"}, text="{half"), ProblemError, "half.*500"),
        (httpx.Response(401, text="Basic only"), ProblemError, "FUNNEL_CLIENT_KEY"),
    ],
)
@pytest.mark.parametrize("call", [Client.info, Client.compact, lambda client: client.ingest(documents(1))])
def test_something_else_answers(
    answer: httpx.Response, error: type[Exception], said: str, call: Callable[[Client], object]
) -> None:
    """A login page, another service, half an answer: one of the client's own errors, at the first attempt."""
    answer.read()
    with answering(answer) as client, pytest.raises(error, match=said):
        call(client)


@pytest.mark.parametrize("key", ["sch\u00fcssel-of-the-tests", "key-of\nthe-tests", "key\x00of-the-tests"])
def test_a_key_that_no_header_carries_is_refused_and_not_shown(key: str) -> None:
    """Before anything is sent."""
    with pytest.raises(ClientError, match="FUNNEL_CLIENT_KEY") as caught:
        Client(api_key=key)
    assert "tests" not in str(caught.value)


def told(line: str) -> list[dict[str, Any]]:
    """The events of a streamed answer of one line."""

    async def read() -> list[dict[str, Any]]:
        return [event async for event in events(httpx.Response(200, text=line).aiter_lines())]

    return asyncio.run(read())


def test_stream_without_summary() -> None:
    """An ingest whose answer has no summary is a failure."""
    with pytest.raises(Unreachable, match="broke off"):
        told('{"type": "progress"}')


def test_summary_with_a_problem() -> None:
    """A summary that tells of a full disk is an error, whatever the status of the response."""
    summary = {"type": "summary", "status": 507, "problem": {"type": "/problems/storage-full", "detail": "full"}}
    with pytest.raises(ProblemError, match="storage-full"):
        told(json.dumps(summary))


def test_chunks_are_bounded() -> None:
    """No chunk has more than 500 documents, or goes far beyond 8 MiB."""
    assert [body.count(b"\n") for body in chunks({"id": str(n)} for n in range(1_200))] == [500, 500, 200]
    assert [len(body) >> 20 for body in chunks({"text": "x" * (3 << 20)} for _ in range(4))] == [9, 3]


def test_locked_directory(client: Client, settings: Settings) -> None:
    """A second opening of a directory raises StoreLocked in the caller, not a traceback in a thread."""
    with pytest.raises(StoreLocked), in_process(create_app(settings, HashEmbedder()), settings):
        pytest.fail("it must not start")
