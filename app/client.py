"""A client of the service over HTTP, or of an application in this process.

    with Client("http://127.0.0.1:8000") as client:
        client.ingest({"id": str(n), "text": line} for n, line in enumerate(open("lines.txt")))
        for hit in client.search("parse a date from text", limit=3)["results"]:
            print(hit["score"], hit["id"])

Answers are the service's own JSON. What it refuses is a ProblemError; when it is busy, or not there yet, a
request is tried again with growing pauses before that. `AsyncClient` has the same calls for an event loop.
"""

from typing import TYPE_CHECKING, Self

import httpx

from app.client_app import InThread
from app.client_async import AsyncClient, Mode
from app.client_blocking import Blocking, blocking, blocking_iterator, pause
from app.client_errors import ClientError, ProblemError, RunEnded, Unreachable
from app.client_ingest import Failure, Totals

if TYPE_CHECKING:
    from starlette.applications import Starlette

__all__ = [
    "AsyncClient", "Client", "ClientError", "Failure", "Mode", "ProblemError", "RunEnded", "Totals", "Unreachable",
]  # fmt: skip


class Client:
    """The calls of the service; safe to use from several threads."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        app: "Starlette | None" = None,
        transport: httpx.BaseTransport | None = None,
        timeout: float = 120.0,
        attempts: int = 6,
        api_key: str | None = None,
    ) -> None:
        """As of `AsyncClient`."""
        sender = httpx.Client(transport=transport if app is None else InThread(app))
        self.calls = AsyncClient(
            base_url, transport=Blocking(sender), timeout=timeout, attempts=attempts, api_key=api_key
        )
        self.calls.pause = pause

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    close = blocking(AsyncClient.aclose)

    search = blocking(AsyncClient.search)
    ingest = blocking(AsyncClient.ingest)
    ingest_arrow = blocking(AsyncClient.ingest_arrow)
    ingest_vectors = blocking(AsyncClient.ingest_vectors)
    get = blocking(AsyncClient.get)
    delete = blocking(AsyncClient.delete)
    delete_where = blocking(AsyncClient.delete_where)
    count = blocking(AsyncClient.count)
    scroll = blocking_iterator(AsyncClient.scroll)
    embed = blocking(AsyncClient.embed)
    info = blocking(AsyncClient.info)
    stats = blocking(AsyncClient.stats)

    recall = blocking(AsyncClient.recall)
    recall_status = blocking(AsyncClient.recall_status)
    cancel_recall = blocking(AsyncClient.cancel_recall)
    forget_calibration = blocking(AsyncClient.forget_calibration)

    rotation = blocking(AsyncClient.rotation)
    rotate = blocking(AsyncClient.rotate)
    remove_rotation = blocking(AsyncClient.remove_rotation)
    rotation_matrix = blocking(AsyncClient.rotation_matrix)
    set_query_map = blocking(AsyncClient.set_query_map)
    remove_query_map = blocking(AsyncClient.remove_query_map)
    query_map_matrix = blocking(AsyncClient.query_map_matrix)
    sample_vectors = blocking(AsyncClient.sample_vectors)

    compact = blocking(AsyncClient.compact)
    make_snapshot = blocking(AsyncClient.make_snapshot)
    snapshots = blocking(AsyncClient.snapshots)
    download_snapshot = blocking(AsyncClient.download_snapshot)
    delete_snapshot = blocking(AsyncClient.delete_snapshot)
