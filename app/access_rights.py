"""Which key may do what: one table of rights, by method and route.

What the table does not name needs a full key; a test keeps it complete.
"""

from enum import StrEnum
from re import Pattern

from starlette.routing import compile_path


class Right(StrEnum):
    """What a request needs. A full key has every right."""

    OPEN = "open"  # no key at all
    ANY = "any"  # any key
    READ = "read"
    INGEST = "ingest"
    FULL = "full"


OPEN, ANY, READ, INGEST, FULL = Right
RIGHTS = {
    "GET /livez": OPEN,
    "GET /readyz": OPEN,
    "GET /problems": OPEN,
    "GET /problems/{slug}": OPEN,
    "GET /": OPEN,  # pages and the description of the interface hold no data; a browser brings no key to them
    "GET /page/{path:path}": OPEN,
    "GET /docs": OPEN,
    "GET /docs/{path:path}": OPEN,
    "GET /openapi.json": OPEN,
    "GET /info": ANY,
    "GET /stats": READ,
    "GET /metrics": READ,
    "POST /search": READ,
    "POST /v1/embeddings": READ,
    "POST /documents/count": READ,
    "POST /documents/scroll": READ,
    "GET /documents/{id:path}": READ,
    "GET /rotation": READ,
    "GET /rotation/matrix": READ,
    "GET /query-map/matrix": READ,
    "GET /vectors/sample": READ,
    "GET /recall": READ,
    "GET /snapshots": READ,
    "POST /ingest": INGEST,
    "POST /documents/delete": FULL,
    "PATCH /documents/{id:path}": FULL,
    "DELETE /documents/{id:path}": FULL,
    "PUT /rotation": FULL,
    "DELETE /rotation": FULL,
    "PUT /query-map": FULL,
    "DELETE /query-map": FULL,
    "POST /compact": FULL,
    "POST /recall": FULL,
    "DELETE /recall": FULL,
    "DELETE /recall/calibration": FULL,
    "POST /snapshots": FULL,
    "GET /snapshots/{name}": FULL,  # holds what was deleted since, too
    "DELETE /snapshots/{name}": FULL,
}


class Rights:
    """The table, looked up as the router reads addresses."""

    def __init__(self, **changed: Right) -> None:
        """`changed` as in `metrics=Right.OPEN`, for GET of that name."""
        table = RIGHTS | {f"GET /{name}": right for name, right in changed.items()}
        self._exact = {name: right for name, right in table.items() if "{" not in name}
        self._patterns = [_compiled(name, right) for name, right in table.items() if "{" in name]

    def of(self, method: str, path: str) -> Right | None:
        """The right that a request needs, None where the table has nothing; HEAD is GET without a body."""
        method = "GET" if method == "HEAD" else method
        if (known := self._exact.get(f"{method} {path}")) is not None:
            return known
        found = (right for verb, pattern, right in self._patterns if verb == method and pattern.match(path))
        return next(found, None)


def _compiled(name: str, right: Right) -> tuple[str, Pattern[str], Right]:
    method, path = name.split(" ")
    return method, compile_path(path)[0], right
