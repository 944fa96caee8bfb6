"""Around every request: an id, a line in the log, a count; and a readable message when the start fails."""

import logging
import random
import re
import sys
from time import perf_counter

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.logs import REQUEST, Fields
from app.metrics import Metrics
from app.settings import SettingsError
from index.errors import FunnelError

log = logging.getLogger("app.requests")
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
GONE = 499  # nothing was answered: the client went away
METHODS = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})


class Requests:
    """Gives every request an id, its own if it has a sane one, and says what became of it.

    The log has method, route, status, time, the stages of a search and the id of what failed or took `slow` seconds:
    never a body, an address parameter or a document.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics, slow: float) -> None:
        self._app, self._metrics, self._slow = app, metrics, slow

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and watch its answer."""
        if scope["type"] != "http":
            return await self._app(scope, receive, _readable(send))
        started, status = perf_counter(), GONE
        request_id = _request_id(scope)
        scope.setdefault("state", {})["request_id"] = request_id
        REQUEST.set(request_id)

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [pair for pair in message["headers"] if pair[0] != b"x-request-id"]
                message["headers"] = [*headers, (b"x-request-id", request_id.encode())]
            await send(message)

        try:
            return await self._app(scope, receive, watched)
        except Exception:
            status = 500  # told by who made this application, outside of it
            raise
        finally:
            self._note(scope, status, perf_counter() - started, request_id)

    def _note(self, scope: Scope, status: int, took: float, request_id: str) -> None:
        route = getattr(scope.get("route"), "path", "unknown")
        method = scope["method"] if scope["method"] in METHODS else "other"
        self._metrics.answered(method, route, status, took)
        level = logging.INFO if status >= 400 or took >= self._slow else logging.DEBUG  # the metrics have them all
        if not log.isEnabledFor(level):
            return
        told = Fields(method=method, route=route, status=status, ms=round(took * 1e3, 1))
        if timing := scope["state"].get("timing_ms"):
            told["timing_ms"] = timing
        log.log(level, "%s", Fields(told, request_id=request_id))


def _request_id(scope: Scope) -> str:
    given = dict(scope["headers"]).get(b"x-request-id", b"").decode("latin-1")
    if REQUEST_ID.fullmatch(given):
        return given
    return f"{random.getrandbits(128):032x}"  # not uuid4: it lets go of the interpreter, and waits to get it back


def _readable(send: Send) -> Send:
    """When the start fails for a reason we foresee, say the reason and not where in the code it was found."""

    async def readable(message: Message) -> None:
        error = sys.exception()
        if message["type"] == "lifespan.startup.failed" and isinstance(error, FunnelError | SettingsError):
            message["message"] = f"cannot start: {error}"
        await send(message)

    return readable
