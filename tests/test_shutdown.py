"""SIGTERM to a real server: nothing more is let in, what is inside is answered, nothing acknowledged is lost."""

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from harness import Server

from index.store import Store

DIM = 32
NDJSON = {"content-type": "application/x-ndjson"}
SETTINGS = {"FUNNEL_MODEL": "none", "FUNNEL_DIM": str(DIM), "FUNNEL_PREFIX_DIM": "8"}
Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server that is ready; what is left of it is killed at the end."""
    servers: list[Server] = []

    def begin(**settings: str) -> Server:
        server = Server({**SETTINGS, "FUNNEL_DATA_DIR": str(tmp_path / "data"), **settings}, tmp_path / "server.log")
        servers.append(server)
        server.wait()
        return server

    yield begin
    for server in servers:
        server.end(signal.SIGKILL)


def line(doc_id: str) -> bytes:
    """A document."""
    vector = np.random.default_rng(list(doc_id.encode())).standard_normal(DIM).round(4).tolist()
    return json.dumps({"id": doc_id, "text": f"text of {doc_id}", "vector": vector}).encode() + b"\n"


def stored(path: Path) -> set[str]:
    """The ids in the directory of a server that has ended."""
    with Store.open(path / "data", None) as store:
        page, after = store.scroll(10_000)
        assert after is None
        return {document.doc_id for document in page}


class Upload:
    """An NDJSON ingest over a connection of its own, which sends when it is told to."""

    def __init__(self, server: Server, *headers: str) -> None:
        self.connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        lines = ["POST /ingest HTTP/1.1", f"host: 127.0.0.1:{server.port}", "content-type: application/x-ndjson",
                 "transfer-encoding: chunked", *headers, "", ""]  # fmt: skip
        self.connection.sendall("\r\n".join(lines).encode())

    def send(self, data: bytes) -> None:
        """Part of the body."""
        self.connection.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def answer(self) -> tuple[int, bytes]:
        """Status and body, once the server has closed the connection."""
        data = b""
        with self.connection:
            while more := self.connection.recv(65_536):
                data += more
        head, _, body = data.partition(b"\r\n\r\n")
        return int(head.split()[1]), body


def test_an_idle_server_ends_at_once(start: Start) -> None:
    """With exit status 0, although clients are connected."""
    server = start()
    server.client.get("/stats")
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(10) == 0
    assert time.monotonic() - began < 5


def test_acknowledged_writes_survive_a_stop_under_load(start: Start, tmp_path: Path) -> None:
    """Of clients that write all the time each request is answered, refused, or finds nobody; what was acknowledged
    is there."""
    server = start()
    acknowledged, strange = set[str](), list[Any]()

    def write(number: int) -> None:
        with httpx.Client(base_url=server.url, timeout=30) as client:
            for i in range(10_000):
                ids = [f"{number}-{i}-{j}" for j in range(5)]
                try:
                    answer = client.post("/ingest", content=b"".join(map(line, ids)), headers=NDJSON)
                except httpx.ConnectError:
                    return
                except httpx.TransportError as error:
                    strange.append(error)
                    return
                if answer.status_code != 200:
                    if answer.status_code != 503 or "retry-after" not in answer.headers:
                        strange.append(answer.text)
                    return
                acknowledged.update(ids)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    while len(acknowledged) < 100:
        time.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(20) == 0
    for thread in threads:
        thread.join(20)
    assert strange == []
    assert acknowledged <= stored(tmp_path)


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_a_stream_ends_at_a_safe_point(start: Start, tmp_path: Path, accept: str) -> None:
    """Meanwhile the server listens: it is alive and not ready, and new work is refused. The stream that still arrives
    is told what was stored of it, and that is there afterwards."""
    server = start()
    upload = Upload(server, f"accept: {accept}")
    upload.send(b"".join(line(f"s{i}") for i in range(300)))
    while server.client.post("/documents/count", json={}).json()["count"] < 300:
        time.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    status, body = upload.answer()
    report = json.loads(body if accept.endswith("json") and b"summary" not in body else last_line(body))
    assert report["status"] == 503
    assert (status, report["created"]) == (503 if accept == "application/json" else 200, 300)
    assert server.process.wait(10) == 0
    assert stored(tmp_path) == {f"s{i}" for i in range(300)}


def last_line(body: bytes) -> bytes:
    """The last JSON line of a chunked body."""
    return next(part for part in reversed(body.split(b"\r\n")) if part.startswith(b"{"))


def test_while_it_drains_it_listens_and_is_not_ready(start: Start) -> None:
    """readyz turns false before anything else; a request that is inside is answered, a new one refused."""
    server = start(FUNNEL_SHUTDOWN_SECONDS="15")
    inside = threading.Thread(target=long_work, args=(server, results := list[int]()))
    inside.start()
    while not server.client.get("/stats").json()["waiting"]["ingest"]:
        time.sleep(0.005)
    server.process.send_signal(signal.SIGTERM)
    told = set[tuple[str, int]]()
    while server.process.poll() is None:
        for path in ("/livez", "/readyz", "/stats"):
            try:
                answer = httpx.get(server.url + path, timeout=10)
            except httpx.TransportError:
                break
            told.add((path, answer.status_code))
            if answer.status_code == 503:
                assert answer.json()["type"] == "/problems/shutting-down"
                assert "retry-after" in answer.headers
    inside.join(20)
    assert results == [200]
    assert {("/livez", 200), ("/readyz", 503), ("/stats", 503)} <= told
    assert server.process.wait(10) == 0


def long_work(server: Server, results: list[int]) -> None:
    """A JSON ingest that takes a while."""
    documents = [json.loads(line(f"j{i}")) for i in range(4_000)]
    with httpx.Client(base_url=server.url, timeout=60) as client:
        results.append(client.post("/ingest", json={"documents": documents}).status_code)


def test_a_body_that_has_not_arrived_is_refused(start: Start) -> None:
    """A half-open JSON body keeps nobody waiting."""
    server = start(FUNNEL_SHUTDOWN_SECONDS="60")
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        head = f"POST /search HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\ncontent-type: application/json\r\n"
        connection.sendall(head.encode() + b"content-length: 100\r\n\r\n{")
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        assert connection.recv(100).startswith(b"HTTP/1.1 503 ")
    assert server.process.wait(10) == 0


@pytest.mark.parametrize("signals", [1, 2, 3])
def test_the_time_to_end_is_bounded_and_further_signals_shorten_it(start: Start, signals: int, tmp_path: Path) -> None:
    """A client that takes nothing of its answer is given up after shutdown_seconds, or at the second signal, which the
    log does not take for an accident; the third ends the process where it is."""
    server = start(FUNNEL_SHUTDOWN_SECONDS="3" if signals == 1 else "60", FUNNEL_UNREAD_SECONDS="600")
    documents = b"".join(
        json.dumps({**json.loads(line(f"d{i}")), "text": "word " * 8_000}).encode() + b"\n" for i in range(300)
    )
    server.client.post("/ingest", content=documents, headers=NDJSON).raise_for_status()
    body = b'{"limit": 300}'
    head = f"POST /documents/scroll HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\ncontent-type: application/json\r\n"
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall((head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body) * 3)
        time.sleep(1)
        began = time.monotonic()
        for _ in range(signals):
            server.process.send_signal(signal.SIGTERM)
            time.sleep(0.3)
        assert server.process.wait(20) == (128 + signal.SIGTERM if signals == 3 else 0)
        assert time.monotonic() - began < 12
    assert "Traceback" not in (tmp_path / "server.log").read_text()
