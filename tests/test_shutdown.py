"""SIGTERM to a real server: nothing more is let in, what is inside is answered, nothing acknowledged is lost."""

import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from harness import Server

from index.store import Store
from index_cases import until

DIM = 32
NDJSON = {"content-type": "application/x-ndjson"}
SETTINGS = {"FUNNEL_MODEL": "none", "FUNNEL_DIM": str(DIM), "FUNNEL_PREFIX_DIM": "8"}
Start = Callable[..., Server]
PATIENCE = 40  # seconds for an end that takes one or two; less than the 60 that requests inside are given here


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
    server = start(FUNNEL_SHUTDOWN_SECONDS="60")
    server.client.get("/stats")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(PATIENCE) == 0


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
    assert server.process.wait(PATIENCE) == 0
    for thread in threads:
        thread.join(PATIENCE)
    assert strange == []
    assert acknowledged <= stored(tmp_path)


@pytest.mark.parametrize("accept", ["application/json", "application/x-ndjson"])
def test_a_stream_ends_at_a_safe_point(start: Start, tmp_path: Path, accept: str) -> None:
    """Meanwhile the server listens: it is alive and not ready, and new work is refused. The stream that still arrives
    is told what was stored of it, and that is there afterwards."""
    server = start(FUNNEL_SHUTDOWN_SECONDS="60")
    upload = Upload(server, f"accept: {accept}")
    upload.send(b"".join(line(f"s{i}") for i in range(300)))
    while server.client.post("/documents/count", json={}).json()["count"] < 300:
        time.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    status, body = upload.answer()
    report = json.loads(body if accept.endswith("json") and b"summary" not in body else last_line(body))
    assert report["status"] == 503
    assert (status, report["created"]) == (503 if accept == "application/json" else 200, 300)
    assert server.process.wait(PATIENCE) == 0
    assert stored(tmp_path) == {f"s{i}" for i in range(300)}


def last_line(body: bytes) -> bytes:
    """The last JSON line of a chunked body."""
    return next(part for part in reversed(body.split(b"\r\n")) if part.startswith(b"{"))


def test_while_it_drains_it_listens_and_is_not_ready(start: Start) -> None:
    """readyz turns false before anything else; a request that is inside is answered, a new one refused."""
    server = start(FUNNEL_SHUTDOWN_SECONDS="60", FUNNEL_UNREAD_SECONDS="600")
    with unread(server) as connection:
        server.process.send_signal(signal.SIGTERM)
        until(lambda: "shutting down" in Path(server.log.name).read_text())
        for path, status in (("/livez", 200), ("/readyz", 503), ("/stats", 503)):
            answer = httpx.get(server.url + path, timeout=60)
            assert answer.status_code == status
            if status == 503:
                assert answer.json()["type"] == "/problems/shutting-down"
                assert "retry-after" in answer.headers
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        data = b""
        while more := connection.recv(1 << 20):
            data += more
    assert data.count(b"HTTP/1.1 200 ") == 2
    assert data.count(b"word " * 8_000) == 2 * 300
    assert server.process.wait(PATIENCE) == 0


@contextmanager
def unread(server: Server) -> Iterator[socket.socket]:
    """A connection on which 12 MB were asked for twice, and of which the first byte has come. The second request
    stays inside, with its answer made, until the first is read: the system keeps little for so small a buffer."""
    documents = b"".join(
        json.dumps({**json.loads(line(f"d{i}")), "text": "word " * 8_000}).encode() + b"\n" for i in range(300)
    )
    server.client.post("/ingest", content=documents, headers=NDJSON).raise_for_status()
    body = b'{"limit": 300}'
    head = f"POST /documents/scroll HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\ncontent-type: application/json\r\n"
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        connection.settimeout(60)
        connection.connect(("127.0.0.1", server.port))
        connection.sendall((head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body) * 2)
        assert connection.recv(1, socket.MSG_PEEK)
        for _ in range(2):  # which takes longer than to make the second answer
            server.client.post("/documents/scroll", json={"limit": 300}).raise_for_status()
        yield connection


def test_a_body_that_has_not_arrived_is_refused(start: Start) -> None:
    """A half-open JSON body keeps nobody waiting."""
    server = start(FUNNEL_SHUTDOWN_SECONDS="60")
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        head = f"POST /search HTTP/1.1\r\nhost: 127.0.0.1:{server.port}\r\ncontent-type: application/json\r\n"
        connection.sendall(head.encode() + b"content-length: 100\r\n\r\n{")
        time.sleep(0.3)
        server.process.send_signal(signal.SIGTERM)
        assert connection.recv(100).startswith(b"HTTP/1.1 503 ")
    assert server.process.wait(PATIENCE) == 0


@pytest.mark.parametrize("signals", [1, 2, 3])
def test_the_time_to_end_is_bounded_and_further_signals_shorten_it(start: Start, signals: int, tmp_path: Path) -> None:
    """A client that takes nothing of its answer is given up after shutdown_seconds, or at the second signal, which the
    log does not take for an accident; the third ends the process where it is."""
    server = start(FUNNEL_SHUTDOWN_SECONDS="3" if signals == 1 else "60", FUNNEL_UNREAD_SECONDS="600")
    log = tmp_path / "server.log"
    with unread(server):
        for said in ("shutting down", "are refused", "")[:signals]:
            server.process.send_signal(signal.SIGTERM)
            until(lambda said=said: said in log.read_text())  # else two signals would be one
        assert server.process.wait(PATIENCE) == (128 + signal.SIGTERM if signals == 3 else 0)
    assert "Traceback" not in log.read_text()
