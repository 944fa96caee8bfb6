"""The gate: every request passes it, or is answered with a problem, before a route or a body is looked at."""

from collections.abc import Mapping
from math import ceil

from fastapi import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from app.access import Access
from app.access_hosts import host_name, own_page
from app.access_keys import Key, presented
from app.access_rights import FULL, OPEN, Right
from app.body import ARROW, JSON, NDJSON
from app.headers import first_of_each, media_type
from app.problems import PROBLEMS, respond

PROBES = ("/livez", "/readyz")  # asked by whatever name and as often as an orchestrator likes; they hold no data
SAFE = ("GET", "HEAD", "OPTIONS")
FILES = "/page/"  # a browser asks for all of them at once; they are small, and hold no data


class Denied(Exception):
    """A request does not pass: a problem of the table, and headers that belong to it."""

    def __init__(self, slug: str, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.slug, self.headers = slug, headers


class Guard:
    """Applies the rules of `Access`."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self._app, self._access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or say why not."""
        if scope["type"] == "http" and scope["path"] not in PROBES:
            try:
                self._admit(scope)
            except Denied as denied:
                answer = respond(Request(scope), PROBLEMS[denied.slug], str(denied), headers=denied.headers)
                return await answer(scope, receive, send)
        return await self._app(scope, receive, send)

    def _admit(self, scope: Scope) -> None:
        headers = first_of_each(scope["headers"])
        method, path = scope["method"], scope["path"]
        self._check_host([value for name, value in scope["headers"] if name == b"host"])
        self._check_page(headers, method)
        if self._access.hides(path) or path.endswith("\n"):  # which routes drop, and reach what these rules did not see
            raise Denied("not-found", PROBLEMS["not-found"].meaning)
        right = self._access.rights.of(method, path)
        self._check_key(scope, FULL if right is None else right)
        if right is not None:
            _check_kind(headers, method)

    def _check_host(self, hosts: list[bytes]) -> None:
        name = host_name(hosts[0]) if len(hosts) == 1 else None
        if not self._access.knows_host(name):
            asked = "one Host header" if name is None else f"localhost or 127.0.0.1, not by {name:.100}"
            raise Denied("misdirected", f"ask by {asked}; FUNNEL_ALLOWED_HOSTS lists further names of the service")

    def _check_page(self, headers: Mapping[bytes, bytes], method: str) -> None:
        names = (b"sec-fetch-site", b"origin", b"host", b"sec-fetch-mode", b"sec-fetch-dest")
        site, origin, host, mode, target = (headers.get(name, b"").decode("latin-1") for name in names)
        if not own_page(site, origin, host, method, mode, target) and not self._access.trusts(origin):
            raise Denied("cross-site", "a page of another site asks; FUNNEL_CORS_ORIGINS lists those that may")

    def _check_key(self, scope: Scope, right: Right) -> None:
        given = presented(scope["headers"]) if self._access.keys else set()
        key = self._access.keys.find(*given) if len(given) == 1 else None
        self._check_rate(scope, key)
        if not self._access.keys or right == OPEN:
            return
        if key is None:
            raise _unknown(len(given))
        if not key.may(right):
            challenge = f'Bearer realm="funnel", error="insufficient_scope", scope="{right}"'
            detail = f"this needs the right {right}, which {key.kind} keys do not have"
            raise Denied("forbidden", detail, {"www-authenticate": challenge})

    def _check_rate(self, scope: Scope, key: Key | None) -> None:
        if (rate := self._access.rate) is None or scope["path"].startswith(FILES):
            return
        client = scope.get("client")
        caller = (key.kind, key.number) if key else client and client[0]
        if wait := rate.take(caller):
            detail = f"more than {rate.rate:g} requests a second; try again in {wait:.3g} seconds"
            raise Denied("rate-limited", detail, {"retry-after": str(ceil(wait))})


def _unknown(given: int) -> Denied:
    """Why a request has no key."""
    challenge = 'Bearer realm="funnel"' + (', error="invalid_token"' if given else "")
    details = {0: "send a key: `Authorization: Bearer KEY`, or `api-key: KEY`", 1: "the key is not known here"}
    return Denied(
        "unauthorized", details.get(given, "the headers hold different keys"), {"www-authenticate": challenge}
    )


def _check_kind(headers: Mapping[bytes, bytes], method: str) -> None:
    """A page of another site can send a POST of a few kinds, or of none, without asking before; never these two.

    Other methods are asked for before, and refused then; without a body they need no kind.
    """
    given = media_type(headers)
    if method in SAFE or given in (JSON, NDJSON, ARROW) or (not given and method != "POST"):
        return
    raise Denied("unsupported-media-type", f"send {JSON} or {NDJSON} with a content-type header, even without a body")
