"""Bounds on connections that uvicorn does not have: their number, the head of a request, clients that do not read."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from app.access_headers import RAW
from app.admission import ALWAYS, READY, Admission
from app.problems import MEDIA_TYPE, PROBLEMS
from app.settings import Settings

MAX_HEAD = 65_536  # bytes of address and headers
MAX_HEADERS = 256
LINGER = 2.0  # seconds in which a body that nobody wants any more is read and forgotten, so that its refusal is heard
PARTING = 64  # connections beyond the limit that hear a refusal out; the others may see a reset before they read it


class HeadTooLarge(Exception):
    """Raised out of a callback of the parser."""


class Refusal:
    """A problem as an application of its own: what is refused before the service sees it."""

    def __init__(self, detail: str, slug: str = "queue-full") -> None:
        problem = PROBLEMS[slug]
        self.status, self.body = problem.status, json.dumps(problem.members(detail)).encode()
        kind, size = MEDIA_TYPE.encode(), str(len(self.body)).encode()
        self.headers = [(b"content-type", kind), (b"content-length", size), *RAW]
        self.headers += [(b"retry-after", b"1")] if problem.status == 503 else []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer."""
        await send({"type": "http.response.start", "status": self.status, "headers": self.headers})
        await send({"type": "http.response.body", "body": self.body})


class Bounded(HttpToolsProtocol):
    """One connection. `bounded` makes the class that has the settings' limits."""

    most_connections: int
    admission: Admission
    head_seconds: float
    unread_seconds: float
    parting: "set[Bounded]"

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or refuse it when there are too many."""
        super().connection_made(transport)
        self._head = self._headers = self._raw = 0
        self._inside = False  # a message whose head is here and whose end is not
        self._running: RequestResponseCycle | None = None
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._left = 0  # bytes that the client has not taken
        if len(self.connections) > self.most_connections:
            self._turn_away()
        else:
            self._within("head", self.head_seconds, self._late)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers, and what waits behind the request that runs: uvicorn tells only the last one."""
        for name in list(self._timers):
            self._done(name)
        self.pipeline.clear()
        self.parting.discard(self)
        if self._running is not None and not self._running.response_complete:
            self._running.disconnected = True
            self._running.message_event.set()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless the head it belongs to is too large."""
        if self.transport.is_closing() or self in self.parting:
            return
        begun = "head" in self._timers
        if not begun and not self._inside and (self.cycle is None or self.cycle.response_complete):
            self._head = 0
            self._within("head", self.head_seconds, self._late)
        super().data_received(data)
        if begun and "head" in self._timers and not self.transport.is_closing():
            self._raw += len(data)
            if self._raw > MAX_HEAD:
                self.send_400_response("")

    def on_message_begin(self) -> None:
        """Another request begins."""
        super().on_message_begin()
        self._head = self._headers = self._raw = 0

    def on_url(self, url: bytes) -> None:
        """Part of the address."""
        self._count(len(url), 0)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._count(len(name) + len(value), 1)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is here."""
        self._done("head")
        self._inside = True
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        """Run a request. What could not be let in is refused here, where that takes a tenth of the time: under a load
        of many times what can be answered, refusing is most of the work."""
        if self.admission.full and cycle.scope["path"] not in (*ALWAYS, READY):
            self.admission.refused["queue-full"] += 1
            app = Refusal(f"{self.admission.inside} requests are waiting already, which is the limit")
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        """After an answer to a body that is still coming, hear it out for a moment, so that the client reads."""
        unread = self.cycle is not None and self.cycle.response_complete and self.cycle.more_body
        super().on_response_complete()
        if unread and not self.transport.is_closing():
            self._within("linger", LINGER, self.transport.close)

    def on_message_complete(self) -> None:
        """The body is here."""
        self._done("linger")
        self._inside = False
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client takes less than it is sent."""
        super().pause_writing()
        self._left = self.transport.get_write_buffer_size()
        self._within("unread", self.unread_seconds, self._unread)

    def resume_writing(self) -> None:
        """It has taken it."""
        self._done("unread")
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Instead of uvicorn's plain text: the parser gave up, or was told to."""
        if max(self._head, self._raw) > MAX_HEAD or self._headers > MAX_HEADERS:
            detail = f"address and headers have at most {MAX_HEAD} bytes and {MAX_HEADERS} headers"
            self._refuse("head-too-large", detail)
        else:
            self._refuse("malformed-request", PROBLEMS["malformed-request"].meaning)

    def _count(self, size: int, headers: int) -> None:
        self._head += size
        self._headers += headers
        if self._head > MAX_HEAD or self._headers > MAX_HEADERS:
            raise HeadTooLarge  # ends in send_400_response

    def _turn_away(self) -> None:
        """Refuse this connection. Closed at once it would be reset by what its client sends, maybe unheard."""
        self.connections.discard(self)
        if len(self.parting) < PARTING:
            self.parting.add(self)
        self._refuse("queue-full", f"{self.most_connections} connections are open, which is the limit")

    def _late(self) -> None:
        """The head did not come in time; a client that has sent nothing at all is not told."""
        if self._head or self._raw:
            self._refuse("head-stalled", f"the head of a request takes at most {self.head_seconds:g} seconds")
        else:
            self.transport.close()

    def _unread(self) -> None:
        """The client has taken nothing for long: give it up. One that is slow gets the same time again."""
        left = self.transport.get_write_buffer_size()
        if left >= self._left:
            self.transport.abort()
            return
        self._left = left
        self._within("unread", self.unread_seconds, self._unread)

    def _within(self, name: str, seconds: float, then: Callable[[], Any]) -> None:
        self._done(name)
        self._timers[name] = self.loop.call_later(seconds, then)

    def _done(self, name: str) -> None:
        if timer := self._timers.pop(name, None):
            timer.cancel()

    def _refuse(self, slug: str, detail: str) -> None:
        """Answer before there is a request that the application could answer, and close."""
        self._done("head")
        if self.cycle is not None and not self.cycle.response_complete:
            self.transport.close()  # the one before is not answered yet: nothing may come between
            return
        self.admission.refused[slug] += 1
        refusal = Refusal(detail, slug)
        headers = b"".join(b"%s: %s\r\n" % pair for pair in (*refusal.headers, (b"connection", b"close")))
        self.transport.write(STATUS_LINE[refusal.status] + headers + b"\r\n" + refusal.body)
        if self in self.parting:
            self.transport.write_eof()
            self._within("linger", LINGER, self.transport.close)
        else:
            self.transport.close()


def bounded(settings: Settings, connections: int, admission: Admission) -> type[Bounded]:
    """The protocol with these limits."""
    limits = {
        "most_connections": connections,
        "admission": admission,
        "head_seconds": settings.head_seconds,
        "unread_seconds": settings.unread_seconds,
        "parting": set(),
    }
    return type("BoundedProtocol", (Bounded,), limits)
