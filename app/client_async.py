"""The calls of the service, each written once: `AsyncClient` awaits them, `app.client.Client` runs them on the spot."""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal
from urllib.parse import quote

import numpy as np

from app.client_arrow import ArrowCalls
from app.client_compact import Compaction
from app.client_documents import bodies
from app.client_http import checked
from app.client_ingest import Totals, events
from app.client_recall import followed
from app.client_retry import once, resumable
from app.client_rotation import embeddings_bodies, embeddings_of, matrix_body, rows_of
from app.client_snapshots import SnapshotCalls

Mode = Literal["upsert", "insert_only", "update_only"]


class AsyncClient(ArrowCalls, Compaction, SnapshotCalls):
    """The calls of the service, for an event loop; any number of them may run at once."""

    async def search(self, /, query: str | Sequence[str] | None = None, **body: Any) -> dict[str, Any]:
        """`POST /search`; a text, a list of texts, or `vector`, `vectors` or `id` among the other fields."""
        question = {} if query is None else {"query" if isinstance(query, str) else "queries": query}
        return await self._json("POST", "/search", json={**question, **body})

    async def ingest(
        self,
        documents: Iterable[Mapping[str, Any]] | AsyncIterable[Mapping[str, Any]],
        mode: Mode = "upsert",
        progress: Callable[[Totals], None] | None = None,
    ) -> Totals:
        """Send any number of documents, also from an async iterable; `progress` is called whenever more are durable.

        A repeated ingest is quick: the service neither embeds nor moves what has not changed.
        """
        totals = Totals()
        again = resumable if mode == "upsert" else once
        async for body in bodies(documents):
            tell = partial(_tell, progress, totals)
            totals = totals.plus(await self._patiently(partial(self._send, body, mode, tell), again))
        return totals

    async def get(self, document_id: str, with_vector: bool = False) -> dict[str, Any]:
        """One document; ProblemError with status 404 when there is none."""
        return await self._json("GET", _address(document_id), params={"with_vector": with_vector})

    async def delete(self, ids: Sequence[str]) -> int:
        """Delete documents by id; how many there were."""
        return int((await self._json("POST", "/documents/delete", json={"ids": list(ids)}))["deleted"])

    async def delete_where(self, condition: Mapping[str, Any]) -> int:
        """Delete all documents that match a filter; how many there were."""
        return int((await self._json("POST", "/documents/delete", json={"filter": condition}))["deleted"])

    async def count(self, condition: Mapping[str, Any] | None = None) -> int:
        """How many documents there are, or match a filter."""
        return int((await self._json("POST", "/documents/count", json={"filter": condition}))["count"])

    async def scroll(
        self, condition: Mapping[str, Any] | None = None, page: int = 100, with_vector: bool = False
    ) -> AsyncIterator[dict[str, Any]]:
        """All documents, or those that match a filter, in the order of their ids."""
        after = None
        while True:
            body = {"limit": page, "after": after, "filter": condition, "with_vector": with_vector}
            answer = await self._json("POST", "/documents/scroll", json=body)
            for document in answer["documents"]:
                yield document
            if (after := answer["next"]) is None:
                return

    async def rotation(self) -> dict[str, Any]:
        """`rotation` and `query_map` in force, null where there is none."""
        return await self._json("GET", "/rotation")

    async def rotate(
        self,
        matrix: np.ndarray,
        widths: Sequence[int],
        method: str = "learned",
        measured: Mapping[str, Any] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> dict[str, Any]:
        """Put all prefixes under an orthogonal (dim, dim) matrix; `progress` gets (rows done, rows).

        What is raised meanwhile, Ctrl-C included, leaves the index as it was.
        """
        body = matrix_body(matrix, widths=[int(width) for width in widths], method=method, measured=measured)
        return await self._followed("PUT", "/rotation", body, progress)

    async def remove_rotation(self, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
        """Undo the rotation."""
        return await self._followed("DELETE", "/rotation", None, progress)

    async def set_query_map(self, matrix: np.ndarray, measured: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Multiply all query vectors by a (dim, dim) matrix from now on; scores change."""
        return await self._json("PUT", "/query-map", json=matrix_body(matrix, measured=measured))

    async def remove_query_map(self) -> dict[str, Any]:
        """Use queries as they are again."""
        return await self._json("DELETE", "/query-map")

    async def rotation_matrix(self) -> np.ndarray | None:
        """(dim, dim) float32 of the rotation in force; None where there is none."""
        rows = await self._rows("/rotation/matrix")
        return rows if len(rows) else None

    async def query_map_matrix(self) -> np.ndarray | None:
        """(dim, dim) float32 of the query map in force; None where there is none."""
        rows = await self._rows("/query-map/matrix")
        return rows if len(rows) else None

    async def sample_vectors(self, size: int, seed: int = 0) -> np.ndarray:
        """(n, dim) float32 stored vectors of n = min(size, count) documents drawn at random."""
        return await self._rows("/vectors/sample", params={"size": size, "seed": seed})

    async def embed(self, texts: Sequence[str], kind: Literal["query", "document"] = "query") -> np.ndarray:
        """(n, dim) float32 unit vectors of n >= 1 texts."""
        answers = [await self._json("POST", "/v1/embeddings", json=body) for body in embeddings_bodies(texts, kind)]
        return np.concatenate([embeddings_of(answer) for answer in answers])

    async def recall(self, /, progress: Callable[[str, int, int], None] | None = None, **body: Any) -> dict[str, Any]:
        """Measure recall, and calibrate: the fields of `POST /recall`; `progress` gets (phase, done, total).

        What is raised meanwhile, Ctrl-C included, cancels the run, which then has changed nothing. RunEnded when
        there is no result.
        """
        begun = await self._json("POST", "/recall", json=body)
        return await followed(begun, self.recall_status, self.cancel_recall, progress, self.pause)

    async def recall_status(self) -> dict[str, Any]:
        """State and result of the run that waits, runs or ran last."""
        return await self._json("GET", "/recall")

    async def cancel_recall(self) -> dict[str, Any]:
        """Give up the run; how it ended."""
        return await self._json("DELETE", "/recall")

    async def forget_calibration(self) -> bool:
        """Search with default shortlists again; whether there was a calibration."""
        return bool((await self._json("DELETE", "/recall/calibration"))["forgotten"])

    async def info(self) -> dict[str, Any]:
        """Model, widths, limits and capabilities of the service."""
        return await self._json("GET", "/info")

    async def stats(self) -> dict[str, Any]:
        """Counts, sizes and the state of the index."""
        return await self._json("GET", "/stats")

    async def _rows(self, path: str, **request: Any) -> np.ndarray:
        """(n, dim) float32 of an answer in bytes."""

        async def sent() -> np.ndarray:
            return rows_of(await checked(await self._http.get(path, **request)))

        return await self._patiently(sent)

    async def _send(self, body: bytes, mode: Mode, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """One chunk of an ingest: every line of the answer goes to `tell`, the last one is returned."""
        headers = {"content-type": "application/x-ndjson", "accept": "application/x-ndjson"}
        query = {"mode": mode}
        async with self._http.stream("POST", "/ingest", params=query, content=body, headers=headers) as response:
            async for event in events((await checked(response)).aiter_lines()):
                tell(event)
        return event


def _tell(progress: Callable[[Totals], None] | None, before: Totals, event: dict[str, Any]) -> None:
    if progress:
        progress(before.plus(event))


def _address(document_id: str) -> str:
    return f"/documents/{quote(document_id, safe='')}"
