"""What is let in at once, and what a shutdown makes of it."""

import asyncio
import socket
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from harness import Server

from access_cases import FULL, bearer
from app import trim
from app.admission import Admission
from app.busy import BodiesFull, Busy, ShuttingDown
from service import BlockingEmbedder, assert_problem, running, settings_for

LIMIT = 10_000


def scope(size: int, kind: str = "application/json") -> dict[str, Any]:
    """A request that declares a body."""
    return {"headers": [(b"content-type", kind.encode()), (b"content-length", str(size).encode())]}


@pytest.fixture(autouse=True)
def no_loop(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Where there is no request there is no task either."""
    if "gate" in request.node.name:
        monkeypatch.setattr("app.admission.asyncio.current_task", lambda: None)


def admission(path: Path, **values: Any) -> Admission:
    """With a largest body of LIMIT bytes."""
    return Admission(settings_for(path, **{"max_body_bytes": LIMIT, **values}))


def test_requests_inside_are_bounded(tmp_path: Path) -> None:
    """One too many is a 503 that names the limit; health checks and metrics pass; then there is room again."""
    embedder = BlockingEmbedder()
    with running(tmp_path, embedder, max_requests=1) as client:
        body = {"documents": [{"id": "a", "text": "b"}]}
        thread = threading.Thread(target=client.post, args=("/ingest",), kwargs={"json": body})
        thread.start()
        assert embedder.waiting.wait(10)
        refused = client.post("/search", json={"query": "b"})
        problem = assert_problem(refused, 503, "queue-full")
        assert problem["detail"].startswith("1 requests are waiting already")
        assert refused.headers["retry-after"] == "1"
        assert [client.get(path).status_code for path in ("/livez", "/readyz", "/metrics")] == [200, 200, 200]
        embedder.gate.set()
        thread.join(10)
        assert client.post("/search", json={"query": "b"}).status_code == 200


def test_who_reads_pages_slowly_takes_no_place(tmp_path: Path) -> None:
    """Pages need no key: strangers who ask for more of them than there are places, and take none, keep nobody out."""
    settings = {"FUNNEL_MODEL": "none", "FUNNEL_DIM": "4", "FUNNEL_MAX_REQUESTS": "4", "FUNNEL_API_KEY": FULL}
    server = Server({**settings, "FUNNEL_DATA_DIR": str(tmp_path / "data")}, tmp_path / "server.log")
    page = f"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\n\r\n".encode()
    with ExitStack() as stack:
        stack.callback(server.end)
        server.wait()
        for _ in range(8):
            connection = stack.enter_context(socket.create_connection(("127.0.0.1", server.port), timeout=10))
            connection.sendall(page * 10)
            assert connection.recv(100).startswith(b"HTTP/1.1 200 ")
        time.sleep(0.5)
        assert server.client.get("/stats", headers=bearer(FULL)).status_code == 200
        assert server.client.get("/docs").status_code == 200


def test_the_gate_bounds_bytes_of_bodies_together(tmp_path: Path) -> None:
    """By what is declared, before it comes; both numbers are told. A stream holds nothing."""
    gate = admission(tmp_path, body_memory_bytes=LIMIT)
    room = gate.largest + (1 << 20)
    with gate.one(scope(LIMIT)), gate.one(scope(10 * LIMIT, "application/x-ndjson; charset=utf-8")) as stream:
        assert (gate.held, stream.held) == (LIMIT, 0)
        with gate.one(scope(room - LIMIT)) as second:
            assert second.held == LIMIT  # what is longer than the longest is refused by the route
            second.hold(room - LIMIT)
            with pytest.raises(BodiesFull, match=f"{room} bytes of bodies are in memory, 1 more .* limit of {room}"):
                second.hold(room - LIMIT + 1)
            with pytest.raises(BodiesFull), gate.one(scope(1)):
                pass
            assert (gate.held, gate.inside) == (room, 3)
    assert (gate.held, gate.inside) == (0, 0)


def test_the_gate_goes_by_the_first_content_type(tmp_path: Path) -> None:
    """As routes do: what they read whole is counted, although another one calls it a stream."""
    gate = admission(tmp_path)
    twice = scope(LIMIT)
    twice["headers"].append((b"content-type", b"application/x-ndjson"))
    with gate.one(twice) as visit:
        assert (visit.streams, gate.held) == (False, LIMIT)


def test_one_largest_body_always_passes_the_gate(tmp_path: Path) -> None:
    """However little memory is allowed for all of them."""
    gate = admission(tmp_path, body_memory_bytes=1_024)
    with gate.one(scope(LIMIT)):
        assert gate.held == LIMIT


def test_a_shutdown_closes_the_gate(tmp_path: Path) -> None:
    """From its begin on."""
    gate = admission(tmp_path, max_requests=1)
    with gate.one(scope(0)), pytest.raises(Busy), gate.one(scope(0)):
        pass
    gate.stop()
    with pytest.raises(ShuttingDown), gate.one(scope(0)):
        pass


def test_what_is_inside_when_the_time_is_up_is_refused(tmp_path: Path) -> None:
    """With a 503 that says that nobody knows, although the request is not done."""
    embedder = BlockingEmbedder()
    with running(tmp_path, embedder) as client:
        answers: list[Any] = []
        body = {"documents": [{"id": "a", "text": "b"}]}
        thread = threading.Thread(target=lambda: answers.append(client.post("/ingest", json=body)))
        thread.start()
        assert embedder.waiting.wait(10)
        gate: Admission = client.app.state.admission  # type: ignore[attr-defined]
        assert client.portal is not None
        client.portal.call(in_order, gate.stop, gate.expire)
        thread.join(10)
        assert "may or may not be stored" in assert_problem(answers[0], 503, "shutting-down")["detail"]
        assert answers[0].headers["connection"] == "close"
        assert_problem(client.get("/readyz"), 503, "shutting-down")
        assert client.get("/livez").status_code == 200
        embedder.gate.set()


async def in_order(*calls: Any) -> None:
    """Call them in the event loop."""
    for call in calls:
        call()
        await asyncio.sleep(0)


def test_memory_is_given_back_after_a_large_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not after each small one."""
    trimmed = threading.Event()
    monkeypatch.setattr(trim, "_trim", trimmed.set)
    trim.give_back(trim.LARGE - 1)
    assert not trimmed.wait(0.1)
    trim.give_back(trim.LARGE)
    assert trimmed.wait(10)
