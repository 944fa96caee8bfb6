"""Keys, and every route of the application with an address that reaches it."""

import re
from collections.abc import Iterator

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from starlette.routing import Mount

FULL, INGEST, READ = "full-key-of-the-tests", "ingest-key-of-the-tests", "read-key-of-the-tests"
KEYS = {"full": FULL, "ingest": INGEST, "read": READ}
KEYED = {"api_key": FULL, "ingest_key": INGEST, "read_key": READ}
JSON = {"content-type": "application/json"}


def bearer(key: str) -> dict[str, str]:
    """The headers of a request with a key."""
    return {"authorization": f"Bearer {key}"}


def routes(app: FastAPI) -> Iterator[tuple[str, str]]:
    """(method, path as it is declared) of everything that the application answers; HEAD is GET."""
    for context in iter_route_contexts(app.routes):
        if isinstance(context.original_route, Mount):
            yield "GET", f"{context.path}/{{path:path}}"
        else:
            assert context.path is not None
            yield from ((method, context.path) for method in sorted(set(context.methods or ()) - {"HEAD"}))


def address(path: str) -> str:
    """An address that a declared path matches."""
    return re.sub(r"\{[^}]*\}", "nothing-here", path)
