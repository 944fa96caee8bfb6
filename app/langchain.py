"""LangChain's `VectorStore` on this service.

    store = FunnelVectorStore(Client("http://127.0.0.1:8000"))
    store.add_texts(["parse a date from text"], ids=["strptime"])
    store.similarity_search("dates", k=3, filter={"kind": "function"}, target_recall=0.98)

Texts and queries are embedded by the service, or by `embedding` if it is given. What `search` of the client takes can
be given to every search. The async methods are LangChain's own, which run these in a thread.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any
from uuid import uuid4

import numpy as np
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore
from langchain_core.vectorstores.utils import maximal_marginal_relevance

from app import adapters
from app.client import Client

Json = dict[str, Any]


class FunnelVectorStore(VectorStore):
    """Documents of one service; its scores are cosines, higher is better."""

    def __init__(self, client: Client, embedding: Embeddings | None = None) -> None:
        """`embedding` computes vectors here; they are as wide as the service's index."""
        self.client, self._embedding = client, embedding

    @property
    def embeddings(self) -> Embeddings | None:
        """What embeds here; None when the service does."""
        return self._embedding

    def add_texts(
        self,
        texts: Iterable[str],
        metadatas: list[Json] | None = None,
        *,
        ids: Sequence[str | None] | None = None,
        **kwargs: Any,
    ) -> list[str]:
        """Store texts, replacing what has the same id; a random id for each that has none. `mode` and `progress` go to
        the client. Returns the ids; ValueError when one of them was refused, or the lists differ in length."""
        contents = list(texts)
        named = [given or str(uuid4()) for given in ids or [None] * len(contents)]
        described = metadatas or [{}] * len(contents)
        rows: list[Json] = [
            {"id": one, "text": text, "metadata": metadata}
            for one, text, metadata in zip(named, contents, described, strict=True)
        ]
        if self._embedding is not None:
            for row, vector in zip(rows, self._embedding.embed_documents(contents), strict=True):
                row["vector"] = vector
        adapters.store(self.client, rows, **kwargs)
        return named

    def delete(self, ids: list[str] | None = None, *, filter: Json | None = None, **kwargs: Any) -> bool:
        """Delete documents by id, or what matches a filter, or all."""
        if ids is not None:
            self.client.delete(ids)
        elif filter is not None:
            self.client.delete_where(filter)
        else:
            adapters.delete_all(self.client)
        return True

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """Those of the documents that there are."""
        return [_document(one) for one in adapters.found(self.client, ids)]

    def similarity_search(self, query: str, k: int = 4, **kwargs: Any) -> list[Document]:
        """The k most similar documents; `filter`, `target_recall`, ... as in the client's `search`."""
        return [document for document, _ in self.similarity_search_with_score(query, k, **kwargs)]

    def similarity_search_with_score(self, query: str, k: int = 4, **kwargs: Any) -> list[tuple[Document, float]]:
        """The same, each with its cosine."""
        asked = {"query": query} if self._embedding is None else {"vector": self._embedding.embed_query(query)}
        return [(_document(hit), hit["score"]) for hit in self._hits(k, {**asked, **kwargs})]

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, **kwargs: Any) -> list[Document]:
        """The k documents most similar to a vector."""
        return [_document(hit) for hit in self._hits(k, {"vector": embedding, **kwargs})]

    def max_marginal_relevance_search(
        self, query: str, k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """k of the `fetch_k` most similar documents, unlike each other; `lambda_mult` 1 is similarity alone."""
        own = self._embedding
        vector = self.client.embed([query])[0].tolist() if own is None else own.embed_query(query)
        return self.max_marginal_relevance_search_by_vector(vector, k, fetch_k, lambda_mult, **kwargs)

    def max_marginal_relevance_search_by_vector(
        self, embedding: list[float], k: int = 4, fetch_k: int = 20, lambda_mult: float = 0.5, **kwargs: Any
    ) -> list[Document]:
        """The same for a vector."""
        hits = self._hits(fetch_k, {"vector": embedding, "with_vector": True, **kwargs})
        rows = [hit["vector"] for hit in hits]
        chosen = maximal_marginal_relevance(np.array(embedding), rows, lambda_mult, k)
        return [_document(hits[place]) for place in chosen]

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: Embeddings | None = None,
        metadatas: list[Json] | None = None,
        *,
        ids: list[str] | None = None,
        client: Client | None = None,
        **kwargs: Any,
    ) -> "FunnelVectorStore":
        """A store with these texts; without a client, of the service on this machine."""
        store = cls(client or Client(), embedding)
        store.add_texts(texts, metadatas, ids=ids, **kwargs)
        return store

    def _select_relevance_score_fn(self) -> Callable[[float], float]:
        """LangChain's relevance is between 0 and 1: opposites are as little relevant as strangers."""
        return lambda cosine: min(max(cosine, 0.0), 1.0)

    def _hits(self, k: int, body: Json) -> list[Json]:
        hits: list[Json] = self.client.search(limit=k, **body)["results"]
        return hits


def _document(found: Json) -> Document:
    return Document(id=found["id"], page_content=found["text"], metadata=found["metadata"])
