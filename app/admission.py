"""How much is let in at once: requests, and bytes of bodies. At shutdown nothing more is."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from fastapi import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.body import STREAMS
from app.busy import BodiesFull, Busy, ShuttingDown, Stalled
from app.headers import first_of_each, media_type
from app.problems import handle
from app.settings import Settings
from app.trim import give_back

ALWAYS = ("/livez", "/metrics")  # answered under any load
READY = "/readyz"
OPEN = ("/page/", "/docs", "/openapi.json", "/problems")  # need no key: slow readers must not take others' places
CLOSE = (b"connection", b"close")
SLACK = 1 << 20  # what comes beyond the largest body before it is refused
PACE = 4_096  # bytes a second that a body brings at least, in the long run
RESTARTED = "the service shuts down; what had not been answered by now may or may not be stored"


class Visit:
    """One request inside: its task, and what of its body has come."""

    def __init__(self, admission: "Admission", scope: Scope) -> None:
        headers = first_of_each(scope["headers"])
        self.task = asyncio.current_task()
        self.streams = media_type(headers) in STREAMS
        self.declared = _number(headers.get(b"content-length", b""))
        self.arriving = self.declared > 0 or b"transfer-encoding" in headers
        self.held = self.came = self.sent = 0
        self._admission, self._began = admission, monotonic()

    def hold(self, size: int) -> None:
        """Room for a body of so many bytes; BodiesFull when there is none."""
        if size > self.held:
            self._admission.hold(size - self.held)
            self.held = size

    async def receive(self, receive: Receive) -> Message:
        """The next part of the body; Stalled when it comes too slowly, BodiesFull when it does not fit."""
        if not self.arriving or self.streams:
            return await receive()
        patience = self._admission.idle
        left = self._began + patience + self.came / PACE - monotonic()
        try:
            async with asyncio.timeout(min(patience, max(left, 0.0))):
                message = await receive()
        except TimeoutError:
            raise Stalled(min(patience, max(left, 0.0))) from None
        self.came += len(message.get("body", b""))
        self.arriving = bool(message.get("more_body", False))
        self.hold(self.came)
        return message


class Admission:
    """Counts what is inside; on one event loop."""

    def __init__(self, settings: Settings) -> None:
        self.idle = settings.upload_idle_seconds
        self.stopping = asyncio.Event()  # set at the begin of a shutdown
        self.largest = settings.max_body_bytes  # a longer one is refused by the route, with a 413
        self._most, self._budget = settings.max_requests, max(settings.body_memory_bytes, self.largest + SLACK)
        self.refused = Counter({"queue-full": 0})  # before the application saw them, by the slug of their problem
        self._visits: set[Visit] = set()
        self._held = 0
        self._expired = False

    @property
    def inside(self) -> int:
        """Requests that are not answered yet."""
        return len(self._visits)

    @property
    def held(self) -> int:
        """Bytes of their bodies."""
        return self._held

    @property
    def full(self) -> bool:
        """Whether nobody else may come in."""
        return len(self._visits) >= self._most

    def hold(self, size: int) -> None:
        """Count bytes of a body; BodiesFull when there are too many."""
        if self._held + size > self._budget:
            raise BodiesFull(self._held, size, self._budget)
        self._held += size

    @contextmanager
    def one(self, scope: Scope) -> Iterator[Visit]:
        """Let a request in; Busy or ShuttingDown when it has to stay outside."""
        if self.stopping.is_set():
            raise ShuttingDown("the service shuts down")
        if self.full:
            raise Busy("requests", self._most)
        visit = Visit(self, scope)
        if not visit.streams:
            visit.hold(min(visit.declared, self.largest))
        self._visits.add(visit)
        try:
            yield visit
        finally:
            self._visits.discard(visit)
            self._held -= visit.held
            give_back(visit.held + visit.sent)

    def stop(self) -> None:
        """Let nothing more in; refuse what has not arrived, and tell long work to end at a safe point."""
        self.stopping.set()
        self._cancel(visit for visit in self._visits if visit.arriving and not visit.streams)

    def expire(self) -> None:
        """The time is up: what is still inside is answered now."""
        self._expired = True
        self._cancel(iter(self._visits))

    def _cancel(self, visits: Iterator[Visit]) -> None:
        for visit in list(visits):
            if visit.task is not None:
                visit.task.cancel()

    def answers(self, visit: Visit) -> bool:
        """Whether a request that was cancelled was so by `stop` or `expire`."""
        return self._expired or (self.stopping.is_set() and visit.arriving)


class Gate:
    """The middleware: refuses what `Admission` does not let in."""

    def __init__(self, app: ASGIApp, admission: Admission) -> None:
        self._app, self._admission = app, admission

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or say why not."""
        if scope["type"] != "http" or scope["path"] in ALWAYS or scope["path"].startswith(OPEN):
            return await self._app(scope, receive, send)
        if scope["path"] == READY and not self._admission.stopping.is_set():
            return await self._app(scope, receive, send)
        try:
            with self._admission.one(scope) as visit:
                await self._visited(visit, scope, receive, send)
        except (Busy, ShuttingDown) as error:
            answer = await handle(Request(scope), error)
            if self._admission.stopping.is_set():
                answer.raw_headers.append(CLOSE)
            await answer(scope, receive, send)
        return None

    async def _visited(self, visit: Visit, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the request; one that the shutdown cut short is answered with a 503, or breaks off in its answer."""
        started = False

        async def noted(message: Message) -> None:
            nonlocal started
            if not started and self._admission.stopping.is_set():
                message["headers"] = [*message["headers"], CLOSE]
            started = True
            visit.sent += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, lambda: visit.receive(receive), noted)
        except asyncio.CancelledError:
            if visit.task is None or not self._admission.answers(visit):
                raise
            visit.task.uncancel()
            if not started:
                raise ShuttingDown(RESTARTED) from None


def _number(header: bytes) -> int:
    return int(header[:19]) if header.isdigit() else 0  # Python refuses to read thousands of digits
