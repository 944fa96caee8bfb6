"""A client of the service over HTTP.

    with Client("http://127.0.0.1:8000") as client:
        client.ingest({"id": str(n), "text": line} for n, line in enumerate(open("lines.txt")))
        for hit in client.search("parse a date from text", limit=3)["results"]:
            print(hit["score"], hit["id"])

Answers are the service's own JSON. What it refuses is a ProblemError; when it is busy, or not there yet, a
request is tried again with growing pauses before that.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Literal
from urllib.parse import quote

import numpy as np

from app.client_compact import Compaction
from app.client_errors import ClientError, ProblemError, RunEnded, Unreachable
from app.client_http import checked
from app.client_ingest import Failure, Totals, chunks, events
from app.client_recall import followed
from app.client_retry import once, resumable
from app.client_rotation import embeddings_bodies, embeddings_of, matrix_body, rows_of
from app.client_snapshots import SnapshotCalls

__all__ = ["Client", "ClientError", "Failure", "ProblemError", "RunEnded", "Totals", "Unreachable"]

Mode = Literal["upsert", "insert_only", "update_only"]


class Client(Compaction, SnapshotCalls):
    """The calls of the service; safe to use from several threads."""

    def search(self, query: str | Sequence[str] | None = None, **body: Any) -> dict[str, Any]:
        """`POST /search`; a text, a list of texts, or `vector`, `vectors` or `id` among the other fields."""
        question = {} if query is None else {"query" if isinstance(query, str) else "queries": query}
        return self._json("POST", "/search", json={**question, **body})

    def ingest(
        self,
        documents: Iterable[Mapping[str, Any]],
        mode: Mode = "upsert",
        progress: Callable[[Totals], None] | None = None,
    ) -> Totals:
        """Send any number of documents; `progress` is called whenever more of them are durable.

        A repeated ingest is quick: the service neither embeds nor moves what has not changed.
        """
        totals = Totals()
        again = resumable if mode == "upsert" else once
        for body in chunks(documents):
            tell = partial(_tell, progress, totals)
            totals = totals.plus(self._patiently(partial(self._send, body, mode, tell), again))
        return totals

    def get(self, document_id: str, with_vector: bool = False) -> dict[str, Any]:
        """One document; ProblemError with status 404 when there is none."""
        return self._json("GET", _address(document_id), params={"with_vector": with_vector})

    def delete(self, ids: Sequence[str]) -> int:
        """Delete documents by id; how many there were."""
        return int(self._json("POST", "/documents/delete", json={"ids": list(ids)})["deleted"])

    def delete_where(self, condition: Mapping[str, Any]) -> int:
        """Delete all documents that match a filter; how many there were."""
        return int(self._json("POST", "/documents/delete", json={"filter": condition})["deleted"])

    def count(self, condition: Mapping[str, Any] | None = None) -> int:
        """How many documents there are, or match a filter."""
        return int(self._json("POST", "/documents/count", json={"filter": condition})["count"])

    def scroll(
        self, condition: Mapping[str, Any] | None = None, page: int = 100, with_vector: bool = False
    ) -> Iterator[dict[str, Any]]:
        """All documents, or those that match a filter, in the order of their ids."""
        after = None
        while True:
            body = {"limit": page, "after": after, "filter": condition, "with_vector": with_vector}
            answer = self._json("POST", "/documents/scroll", json=body)
            yield from answer["documents"]
            if (after := answer["next"]) is None:
                return

    def rotation(self) -> dict[str, Any]:
        """`rotation` and `query_map` in force, null where there is none."""
        return self._json("GET", "/rotation")

    def rotate(
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
        return self._followed("PUT", "/rotation", body, progress)

    def remove_rotation(self, progress: Callable[[int, int], None] | None = None) -> dict[str, Any]:
        """Undo the rotation."""
        return self._followed("DELETE", "/rotation", None, progress)

    def set_query_map(self, matrix: np.ndarray, measured: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Multiply all query vectors by a (dim, dim) matrix from now on; scores change."""
        return self._json("PUT", "/query-map", json=matrix_body(matrix, measured=measured))

    def remove_query_map(self) -> dict[str, Any]:
        """Use queries as they are again."""
        return self._json("DELETE", "/query-map")

    def rotation_matrix(self) -> np.ndarray | None:
        """(dim, dim) float32 of the rotation in force; None where there is none."""
        rows = self._rows("/rotation/matrix")
        return rows if len(rows) else None

    def query_map_matrix(self) -> np.ndarray | None:
        """(dim, dim) float32 of the query map in force; None where there is none."""
        rows = self._rows("/query-map/matrix")
        return rows if len(rows) else None

    def sample_vectors(self, size: int, seed: int = 0) -> np.ndarray:
        """(n, dim) float32 stored vectors of n = min(size, count) documents drawn at random."""
        return self._rows("/vectors/sample", params={"size": size, "seed": seed})

    def embed(self, texts: Sequence[str], kind: Literal["query", "document"] = "query") -> np.ndarray:
        """(n, dim) float32 unit vectors of n >= 1 texts."""
        answers = (self._json("POST", "/v1/embeddings", json=body) for body in embeddings_bodies(texts, kind))
        return np.concatenate([embeddings_of(answer) for answer in answers])

    def recall(self, progress: Callable[[str, int, int], None] | None = None, **body: Any) -> dict[str, Any]:
        """Measure recall, and calibrate: the fields of `POST /recall`; `progress` gets (phase, done, total).

        What is raised meanwhile, Ctrl-C included, cancels the run, which then has changed nothing. RunEnded when
        there is no result.
        """
        begun = self._json("POST", "/recall", json=body)
        return followed(begun, self.recall_status, self.cancel_recall, progress)

    def recall_status(self) -> dict[str, Any]:
        """State and result of the run that waits, runs or ran last."""
        return self._json("GET", "/recall")

    def cancel_recall(self) -> dict[str, Any]:
        """Give up the run; how it ended."""
        return self._json("DELETE", "/recall")

    def forget_calibration(self) -> bool:
        """Search with default shortlists again; whether there was a calibration."""
        return bool(self._json("DELETE", "/recall/calibration")["forgotten"])

    def info(self) -> dict[str, Any]:
        """Model, widths, limits and capabilities of the service."""
        return self._json("GET", "/info")

    def stats(self) -> dict[str, Any]:
        """Counts, sizes and the state of the index."""
        return self._json("GET", "/stats")

    def _rows(self, path: str, **request: Any) -> np.ndarray:
        """(n, dim) float32 of an answer in bytes."""
        return self._patiently(lambda: rows_of(checked(self._http.get(path, **request))))

    def _send(self, body: bytes, mode: Mode, tell: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
        """One chunk of an ingest: every line of the answer goes to `tell`, the last one is returned."""
        headers = {"content-type": "application/x-ndjson", "accept": "application/x-ndjson"}
        query = {"mode": mode}
        with self._http.stream("POST", "/ingest", params=query, content=body, headers=headers) as response:
            for event in events(checked(response).iter_lines()):
                tell(event)
        return event


def _tell(progress: Callable[[Totals], None] | None, before: Totals, event: dict[str, Any]) -> None:
    if progress:
        progress(before.plus(event))


def _address(document_id: str) -> str:
    return f"/documents/{quote(document_id, safe='')}"
