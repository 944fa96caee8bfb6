"""A server, raw sockets to it, and what is seen of it: what the hostile cases share."""

import json
import os
import random
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from harness import Server

DIM = 32
HEAD_SECONDS, IDLE_SECONDS, UNREAD_SECONDS = 1.0, 1.5, 2.0
CONNECTIONS = 300
MIB = 1 << 20
SETTINGS = {
    "FUNNEL_MODEL": "none",
    "FUNNEL_DIM": str(DIM),
    "FUNNEL_PREFIX_DIM": "8",
    "FUNNEL_HEAD_SECONDS": str(HEAD_SECONDS),
    "FUNNEL_UPLOAD_IDLE_SECONDS": str(IDLE_SECONDS),
    "FUNNEL_UNREAD_SECONDS": str(UNREAD_SECONDS),
    "FUNNEL_MAX_CONNECTIONS": str(CONNECTIONS),
}
Figures = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """A running server."""

    server: Server
    scale: float = 1.0  # 1: the sizes of the issue; less for a quick run

    def connect(self) -> socket.socket:
        """A connection."""
        return socket.create_connection(("127.0.0.1", self.server.port), timeout=60)

    def head(self, method: str, path: str, *headers: str, kind: str = "application/json") -> bytes:
        """The head of a request."""
        lines = [f"{method} {path} HTTP/1.1", f"host: 127.0.0.1:{self.server.port}", f"content-type: {kind}", *headers]
        return "\r\n".join([*lines, "", ""]).encode()

    def post(self, path: str, body: bytes, kind: str = "application/json") -> tuple[int, Any]:
        """Status and value of the answer to a whole request."""
        with self.connect() as connection:
            with suppress(OSError):  # it may refuse before it has read everything
                connection.sendall(self.head("POST", path, f"content-length: {len(body)}", kind=kind) + body)
            return answer(connection)

    def vector(self) -> list[float]:
        """Any vector."""
        return [round(random.random() + 0.01, 4) for _ in range(DIM)]


def answer(connection: socket.socket) -> tuple[int, Any]:
    """(status, JSON value) of the next answer; (0, None) when the connection ends without one."""
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := received(connection)):
            return 0, None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")
    )
    while len(body) < length and (more := received(connection)):
        body += more
    return int(head.split()[1]), json.loads(body)


def received(connection: socket.socket) -> bytes:
    """The next bytes; none at the end, also an abrupt one."""
    try:
        return connection.recv(MIB)
    except ConnectionError:
        return b""


def ended(connection: socket.socket, within: float) -> float:
    """Seconds until the server ends the connection; AssertionError when it does not."""
    began = time.monotonic()
    connection.settimeout(within)
    try:
        while received(connection):
            pass
    except TimeoutError:
        raise AssertionError(f"the connection was still open after {within} s") from None
    return round(time.monotonic() - began, 2)


def expect(found: tuple[int, Any], status: int, slug: str) -> Any:
    """The problem of an answer, which is the one expected."""
    assert found[0] == status, found
    assert found[1]["type"] == f"/problems/{slug}", found
    return found[1]


def sockets(target: Target) -> int:
    """That the server has open: what it listens on, and its connections."""
    found = 0
    for file in Path(f"/proc/{target.server.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed just now
            found += os.readlink(file).startswith("socket:")
    return found


def waiting(target: Target) -> int:
    """Work that the server still has."""
    return sum(target.server.client.get("/stats").json()["waiting"].values())


def fill(target: Target, documents: int, text: int) -> None:
    """Store some documents with texts of so many characters."""
    rows = [{"id": f"f{i:05}", "text": "word " * (text // 5), "vector": target.vector()} for i in range(documents)]
    target.server.client.post("/ingest", json={"documents": rows}).raise_for_status()


def wait_until(true: Callable[[], bool], seconds: float) -> None:
    """AssertionError when it does not become true in time."""
    until = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.05)


class Peak:
    """The most anonymous memory that the server takes until `end`, beyond what it has now."""

    def __init__(self, server: Server) -> None:
        self._server, self._done = server, threading.Event()
        self._first = self._most = server.memory()["anonymous"]
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def end(self) -> int:
        """Bytes."""
        self._done.set()
        self._thread.join()
        return self._most - self._first

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self._most = max(self._most, self._server.memory()["anonymous"])


def healthy(target: Target) -> None:
    """After a case: the server is ready, and answers a search."""
    wait_until(lambda: target.server.client.get("/readyz").status_code == 200, 20)
    found = target.server.client.post("/search", json={"vector": np.ones(DIM).tolist()})
    assert found.status_code == 200, found.text
