"""Requests as they come off the wire: any path, any query string, any value of the headers that are read."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.problems import MEDIA_TYPE
from mutation import EXAMPLES, Parser, fuzz, mutated
from service import fill, running

SEEDS = {
    "accept": [b"application/x-ndjson", b"*/*;q=0"],
    "api-key": [b"key", b"\xff"],
    "authorization": [b"Bearer key", b"Basic a:b"],
    "content-encoding": [b"gzip", b"identity"],
    "content-length": [b"2", b"-1", b"9" * 5_000, b"1e3", b"\xb2"],
    "content-type": [b"application/json", b"application/x-ndjson; charset=utf-16", b"text/plain"],
    "host": [b"testserver", b"localhost:8000", b"[::1]", b"[", b"evil.example", b"127.0.0.1:99999"],
    "origin": [b"null", b"http://testserver", b"http://["],
    "range": [b"bytes=0-1", b"bytes=5-2", b"bytes=-0", b"bytes=" + b"9" * 5_000 + b"-", b"bytes=0-1,2-3"],
    "sec-fetch-site": [b"cross-site", b"same-origin"],
    "x-forwarded-for": [b"1.2.3.4, x"],
    "x-request-id": [b"a" * 65, b"\n"],
}
PATHS = [b"/search", b"/ingest", b"/documents/perl", b"/documents/%00", b"/documents/..%2f..%2fetc", b"/vectors/sample",
         b"/snapshots/snapshot-1", b"/snapshots/../../manifest.json", b"/docs/../../app", b"/problems/internal",
         b"/recall", b"/rotation", b"/compact", b"/metrics", b"/", b"//", b"/documents/\xff"]  # fmt: skip
QUERIES = [b"size=2&seed=1", b"size=" + b"9" * 5_000, b"with_vector=1", b"mode=upsert&atomic=1", b"a=%zz&%00"]
BODIES = [b'{"query": "perl"}', b'{"id": "a", "text": "b"}\n', b"{}", b""]
USUAL = {"host": b"testserver", "content-type": b"application/json"}
headers = st.lists(
    st.sampled_from(list(SEEDS)).flatmap(lambda n: st.tuples(st.just(n), mutated(*SEEDS[n]))), max_size=5
)
asked = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD", "BREW"]),
        "path": mutated(*PATHS) | st.sampled_from(PATHS),
        "query_string": mutated(*QUERIES),
        "headers": headers.map(lambda made: [(n.encode(), value) for n, value in {**USUAL, **dict(made)}.items()]),
        "body": mutated(*BODIES),
    }
)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with a few documents and a snapshot."""
    with running(tmp_path_factory.mktemp("wire")) as made:
        fill(made)
        assert made.post("/snapshots", json={"name": "snapshot-1"}).status_code < 300
        yield made


def ask(client: TestClient, given: dict[str, Any]) -> list[dict[str, Any]]:
    """The answer of the application itself: no client in between mends anything. No error of ours is one."""
    scope = {"type": "http", "http_version": "1.1", "scheme": "http", "root_path": "", "app": client.app,
             "asgi": {"version": "3.0"}, "server": ("testserver", 80), "client": ("testclient", 1),
             "method": given["method"], "path": given["path"].decode("latin-1"), "raw_path": given["path"],
             "query_string": given["query_string"], "headers": given["headers"]}  # fmt: skip
    messages = [{"type": "http.request", "body": given["body"], "more_body": False}]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return messages.pop() if messages else {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    assert client.portal is not None
    client.portal.call(client.app, scope, receive, send)
    if not sent:
        return sent  # the client was gone, as `receive` said
    status, kind = sent[0]["status"], dict(sent[0]["headers"]).get(b"content-type", b"").decode()
    assert status < 500, (status, b"".join(message.get("body", b"") for message in sent))
    if status >= 400 and given["method"] != "HEAD":
        assert kind == MEDIA_TYPE
        assert json.loads(b"".join(message.get("body", b"") for message in sent))["status"] == status
    return sent


@pytest.mark.parametrize("length", [b"9" * 30, b"9" * 5_000])
def test_a_length_of_any_length_is_too_large(client: TestClient, length: bytes) -> None:
    """Python itself refuses to read a number of thousands of digits."""
    headers = [(n.encode(), value) for n, value in {**USUAL, "content-length": length}.items()]
    sent = ask(client, {"method": "POST", "path": b"/search", "query_string": b"", "headers": headers, "body": b"{}"})
    assert sent[0]["status"] == 413


def test_any_request_is_answered(client: TestClient) -> None:
    """With a documented status, and a problem where it is refused."""
    fuzz(Parser(asked, lambda given: ask(client, given), ()), 300)


@pytest.mark.long
def test_many_requests_are_answered(client: TestClient, record_property: Any) -> None:
    """The same, FUZZ_EXAMPLES times."""
    record_property("examples", EXAMPLES)
    fuzz(Parser(asked, lambda given: ask(client, given), ()), EXAMPLES)
