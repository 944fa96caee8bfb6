"""A collection in the directory of Chroma's PersistentClient; needs chromadb."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from app.extras import extra_module
from app.foreign import PAGE, ForeignError, Rows, chosen, must_hold


class ChromaCollection:
    """One collection; nothing of it is embedded again, whatever embedding function it had.

    Raises ExtraMissing without chromadb, ForeignError for what is no such directory or an empty collection.
    """

    notice: str | None = None

    def __init__(self, folder: Path, collection: str | None = None) -> None:
        chromadb = extra_module("chromadb", "chroma")
        must_hold(folder, "chroma.sqlite3", "directory of Chroma's PersistentClient")
        client = _opened(chromadb, folder)
        named = chosen(collection, [one.name for one in client.list_collections()], str(folder))
        self._collection = client.get_collection(named, embedding_function=None)
        self.name, self.count = f"Chroma's {named}", self._collection.count()
        first = self._collection.get(limit=1, include=["embeddings"])["embeddings"]
        if first is None or not len(first):
            raise ForeignError(f"{self.name} is empty")
        self.dim = len(first[0])

    def rows(self) -> Iterator[Rows]:
        """Page by page."""
        wanted = ["embeddings", "documents", "metadatas"]
        for offset in range(0, self.count, PAGE):
            page = self._collection.get(limit=PAGE, offset=offset, include=wanted)
            vectors = np.asarray(page["embeddings"], dtype=np.float32)
            yield Rows(page["ids"], vectors, page["documents"], page["metadatas"])


def _opened(chromadb: Any, folder: Path) -> Any:
    try:
        return chromadb.PersistentClient(str(folder), chromadb.config.Settings(anonymized_telemetry=False))
    except (chromadb.errors.ChromaError, ValueError) as error:
        raise ForeignError(f"{folder}: {error}") from None
