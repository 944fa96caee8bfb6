"""LlamaIndex's vector store on this service, and the service's model as its embedding.

client = Client("http://127.0.0.1:8000")
store, model = FunnelVectorStore(client), FunnelEmbedding(client)
index = VectorStoreIndex.from_vector_store(store, embed_model=model)
"""

from asyncio import to_thread
from collections.abc import Sequence
from typing import Any, ClassVar

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode
from llama_index.core.vector_stores.types import (
    BasePydanticVectorStore,
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
    VectorStoreQueryResult,
)
from llama_index.core.vector_stores.utils import metadata_dict_to_node, node_to_metadata_dict

from app import adapters
from app.client import Client

Json = dict[str, Any]
NODE_ID = "_node_id"
SAME_NAME = {
    FilterOperator.EQ: "$eq", FilterOperator.NE: "$ne", FilterOperator.GT: "$gt", FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt", FilterOperator.LTE: "$lte", FilterOperator.IN: "$in", FilterOperator.NIN: "$nin",
    FilterOperator.ANY: "$in", FilterOperator.CONTAINS: "$contains",
}  # fmt: skip


class FunnelVectorStore(BasePydanticVectorStore):
    """Nodes in one service; similarities are cosines."""

    stores_text: bool = True
    is_embedding_query: bool = True
    _client: Client = PrivateAttr()

    def __init__(self, client: Client) -> None:
        super().__init__(stores_text=True)
        self._client = client

    @classmethod
    def class_name(cls) -> str:
        """As LlamaIndex writes it down."""
        return "FunnelVectorStore"

    @property
    def client(self) -> Client:
        """The client of the service."""
        return self._client

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Store nodes by their vectors, or by their texts where they have none; `mode` and `progress` go to the client.
        Returns their ids; ValueError when one was refused."""
        adapters.store(self._client, [_row(node) for node in nodes], **kwargs)
        return [node.node_id for node in nodes]

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """The most similar nodes. What `search` of the client takes (`target_recall`, `exact`, ...) can be given as
        `vector_store_kwargs` of a retriever. ValueError for modes that the service has not."""
        if query.mode != VectorStoreQueryMode.DEFAULT:
            raise ValueError(f"the query mode is 'default', got {query.mode.value!r}")
        vector = query.query_embedding
        asked: Json = {"query": query.query_str} if vector is None else {"vector": vector}
        asked["filter"] = condition(query.filters, query.node_ids, query.doc_ids)
        hits = self._client.search(limit=query.similarity_top_k, **asked, **kwargs)["results"]
        return VectorStoreQueryResult(
            nodes=[_node(hit) for hit in hits],
            similarities=[hit["score"] for hit in hits],
            ids=[hit["id"] for hit in hits],
        )

    def get_nodes(self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """Nodes by id, by filter, or all."""
        return [_node(found) for found in self._client.scroll(condition(filters, node_ids))]

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete the nodes of a document."""
        self._client.delete_where({"ref_doc_id": ref_doc_id})

    def delete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """Delete nodes that have one of the ids and match the filter; ValueError without either."""
        matching = condition(filters, node_ids)
        if matching is None:
            raise ValueError("give ids or filters; clear() deletes all nodes")
        self._client.delete_where(matching)

    def clear(self) -> None:
        """Delete every node."""
        adapters.delete_all(self._client)

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """`add` in a thread."""
        return await to_thread(self.add, nodes, **kwargs)

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """`query` in a thread."""
        return await to_thread(self.query, query, **kwargs)

    async def aget_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None
    ) -> list[BaseNode]:
        """`get_nodes` in a thread."""
        return await to_thread(self.get_nodes, node_ids, filters)

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """`delete` in a thread."""
        await to_thread(self.delete, ref_doc_id)

    async def adelete_nodes(
        self, node_ids: list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """`delete_nodes` in a thread."""
        await to_thread(self.delete_nodes, node_ids, filters)

    async def aclear(self) -> None:
        """`clear` in a thread."""
        await to_thread(self.clear)


class FunnelEmbedding(BaseEmbedding):
    """Vectors of the service's model."""

    _client: Client = PrivateAttr()
    model_config: ClassVar[Any] = {"protected_namespaces": (), "arbitrary_types_allowed": True}

    def __init__(self, client: Client, **values: Any) -> None:
        """`values` as of every embedding of LlamaIndex, such as `embed_batch_size`."""
        super().__init__(model_name="funnel-search", **values)
        self._client = client

    def _get_query_embedding(self, query: str) -> list[float]:
        vector: list[float] = self._client.embed([query])[0].tolist()
        return vector

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        vectors: list[list[float]] = self._client.embed(texts, "document").tolist()
        return vectors

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return await to_thread(self._get_query_embedding, query)

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return await to_thread(self._get_text_embedding, text)


def condition(
    filters: MetadataFilters | None, node_ids: list[str] | None = None, doc_ids: list[str] | None = None
) -> Json | None:
    """The service's filter for what LlamaIndex asks for; None when that is everything."""
    parts: list[Json] = [{name: {"$in": ids}} for name, ids in ((NODE_ID, node_ids), ("ref_doc_id", doc_ids)) if ids]
    if filters is not None and filters.filters:
        parts.append(_combined(filters))
    return {"$and": parts} if parts else None


def _combined(filters: MetadataFilters) -> Json:
    parts = [_combined(part) if isinstance(part, MetadataFilters) else _single(part) for part in filters.filters]
    match filters.condition:
        case FilterCondition.OR:
            return {"$or": parts}
        case FilterCondition.NOT:
            return {"$not": {"$or": parts}}
    return {"$and": parts}


def _single(asked: MetadataFilter) -> Json:
    if asked.operator in SAME_NAME:
        return {asked.key: {SAME_NAME[asked.operator]: asked.value}}
    if asked.operator == FilterOperator.ALL and isinstance(asked.value, list):
        return {"$and": [{asked.key: {"$contains": one}} for one in asked.value]}
    if asked.operator == FilterOperator.IS_EMPTY:
        return {"$or": [{asked.key: {"$exists": False}}, {asked.key: None}]}
    raise ValueError(f"the service has no filter {asked.operator.value!r} for {asked.key!r}: {asked.value!r}")


def _row(node: BaseNode) -> Json:
    metadata = {**node_to_metadata_dict(node, remove_text=True), NODE_ID: node.node_id}
    row = {"id": node.node_id, "text": node.get_content(metadata_mode=MetadataMode.NONE), "metadata": metadata}
    return row if node.embedding is None else {**row, "vector": node.embedding}


def _node(found: Json) -> BaseNode:
    return metadata_dict_to_node(found["metadata"], text=found["text"])
