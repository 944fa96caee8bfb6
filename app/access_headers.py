"""Headers that every answer carries, so that a browser does nothing with it that was not meant."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

DATA = "default-src 'none'; frame-ancestors 'none'"
PAGE = (  # our own files and requests to ourselves; pictures inside style sheets; no inline code, no eval
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": DATA,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}
RAW = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
PAGE_RAW = [(b"content-security-policy", PAGE.encode()), *RAW[1:]]


class Headers:
    """Adds what an answer does not say itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, and complete the headers of its answer."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)

        async def completed(message: Message) -> None:
            if message["type"] == "http.response.start":
                complete(message)
            await send(message)

        return await self._app(scope, receive, completed)


def complete(message: Message) -> None:
    """Add the headers that are missing; a page gets the policy of pages."""
    said = dict(message["headers"])
    raw = PAGE_RAW if said.get(b"content-type", b"").startswith(b"text/html") else RAW
    message["headers"] = [*message["headers"], *(pair for pair in raw if pair[0] not in said)]
