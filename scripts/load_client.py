"""An HTTP client for an open loop: it sends when a request is due, however many are open.

asyncio and httptools, since a client library takes more of the machine for a request than the server does.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, cast

import httptools

JSON, NDJSON = "application/json", "application/x-ndjson"
PATIENCE = 120.0  # seconds for an answer


@dataclass
class Answer:
    """Status, headers in lower case, body."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body's value."""
        return json.loads(self.body)


class Connection(asyncio.Protocol):
    """One connection that is kept, for one request at a time."""

    def __init__(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._parts: list[bytes] = []
        self._answer = Answer()
        self._done: asyncio.Future[Answer] | None = None
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    async def ask(self, request: bytes) -> Answer:
        """Send a request, wait for its answer; ConnectionError when the server closes instead, TimeoutError."""
        self._answer, self._parts = Answer(), []
        self._done = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        async with asyncio.timeout(PATIENCE):
            return await self._done

    def close(self) -> None:
        """End it."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._answer.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._parts.append(body)

    def on_message_complete(self) -> None:
        self._answer.status, self._answer.body = self._parser.get_status_code(), b"".join(self._parts)
        self.open = self._parser.should_keep_alive()
        if self._done is not None and not self._done.done():
            self._done.set_result(self._answer)

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        if self._done is not None and not self._done.done():
            self._done.set_exception(ConnectionResetError(f"the server closed the connection: {error}"))


class Clients:
    """Connections to one server, as many as there are open requests."""

    def __init__(self, port: int) -> None:
        self._port, self._idle = port, list[Connection]()
        self.opened = 0

    async def ask(self, method: str, path: str, body: bytes = b"", kind: str = JSON) -> Answer:
        """An answer, whatever its status; ConnectionError, TimeoutError."""
        connection = await self._connection()
        head = f"{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{self._port}\r\ncontent-length: {len(body)}\r\n"
        answer = await connection.ask(f"{head}content-type: {kind}\r\n\r\n".encode() + body)
        if connection.open:
            self._idle.append(connection)
        return answer

    def close(self) -> None:
        """End what is idle."""
        while self._idle:
            self._idle.pop().close()

    async def _connection(self) -> Connection:
        while self._idle:
            connection = self._idle.pop()
            if connection.open:
                return connection
        self.opened += 1
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(Connection, "127.0.0.1", self._port))[1]
