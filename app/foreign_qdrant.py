"""A collection of a Qdrant server, or of qdrant-client's local mode; needs qdrant-client."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from app.extras import extra_module
from app.foreign import PAGE, ForeignError, Rows, chosen, must_hold, texts_of


class QdrantCollection:
    """One collection with one of its dense vectors."""

    notice: str | None = None

    def __init__(self, client: Any, named: str, vector: str | None, text_field: str) -> None:
        """`vector` may be left out where there is only one. Raises ForeignError where there is none of the name."""
        self._client = client
        self.name, self._named, self._text = f"Qdrant's {named}", named, text_field
        self._vector, self.dim = self._of(self._client.get_collection(named).config.params.vectors, vector)
        self.count = self._client.count(named).count

    def _of(self, vectors: Any, wanted: str | None) -> tuple[str | None, int]:
        """Name and width of the vector to take; an unnamed one has no name."""
        if not isinstance(vectors, dict):
            return None, vectors.size
        if wanted is None and len(vectors) == 1:
            wanted = next(iter(vectors))
        if wanted not in vectors:
            raise ForeignError(f"{self.name} has the vectors {', '.join(vectors) or '(none)'}: name one with --vector")
        return wanted, vectors[wanted].size

    def rows(self) -> Iterator[Rows]:
        """Page by page, in the order of the points' ids. Raises ForeignError for a point without the vector."""
        wanted, offset = True if self._vector is None else [self._vector], None
        while True:
            points, offset = self._client.scroll(
                self._named, limit=PAGE, offset=offset, with_payload=True, with_vectors=wanted
            )
            if points:
                yield self._rows(points)
            if offset is None:
                return

    def _rows(self, points: list[Any]) -> Rows:
        payloads = [dict(point.payload or {}) for point in points]
        vectors = np.array([self._numbers(point) for point in points], dtype=np.float32)
        texts = texts_of(payloads, self._text)
        return Rows([str(point.id) for point in points], vectors, texts, list(payloads))

    def _numbers(self, point: Any) -> list[float]:
        numbers = point.vector if self._vector is None else (point.vector or {}).get(self._vector)
        if not isinstance(numbers, list) or len(numbers) != self.dim:
            got = f"{len(numbers)} numbers" if isinstance(numbers, list) else "none"
            raise ForeignError(f"{self.name}, point {point.id}: expected a vector of {self.dim} numbers, got {got}")
        return numbers


@contextmanager
def qdrant_collection(
    source: str, collection: str | None, vector: str | None, text_field: str, trusted: bool = False
) -> Iterator[QdrantCollection]:
    """A collection of the server at an address, to which QDRANT_API_KEY is sent, or of a directory of the local mode.

    The points in such a directory are pickles, which can run code: it has to be `trusted`.
    Raises ExtraMissing without qdrant-client, ForeignError for what cannot be imported.
    """
    client = _opened(source, trusted)
    failures = extra_module("qdrant_client.http.exceptions", "qdrant")
    try:
        named = chosen(collection, [one.name for one in client.get_collections().collections], source)
        yield QdrantCollection(client, named, vector, text_field)
    except failures.ApiException as error:
        raise ForeignError(f"{source}: {error}") from None
    finally:
        client.close()


def _opened(source: str, trusted: bool) -> Any:
    qdrant = extra_module("qdrant_client", "qdrant")
    if "://" in source:
        return qdrant.QdrantClient(url=source, api_key=os.environ.get("QDRANT_API_KEY"))
    must_hold(Path(source), "meta.json", "directory of qdrant-client's local mode, nor an address such as http://...")
    if not trusted:
        raise ForeignError(
            f"{source}: the local mode keeps pickles, which can run code when they are read; "
            "if this directory was made by you, add --trust"
        )
    try:
        return qdrant.QdrantClient(path=source)
    except (RuntimeError, ValueError) as error:  # open elsewhere, or no longer what it was
        raise ForeignError(f"{source}: {error}") from None
