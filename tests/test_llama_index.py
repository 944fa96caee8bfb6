"""The LlamaIndex store, under LlamaIndex's own index and retrievers."""

import asyncio
from collections.abc import Iterator

import pytest

from app.client import Client
from app.main import create_app
from app.settings import Settings
from embedders import HashEmbedder

pytest.importorskip("llama_index.core", reason="llama-index-core is missing: pip install 'funnel-search[integrations]'")

from llama_index.core import Document, VectorStoreIndex
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import (
    FilterCondition,
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)

from app.llama_index import FunnelEmbedding, FunnelVectorStore

pytestmark = pytest.mark.long  # for the packages that it brings
TEXTS = {"a": "red green", "b": "red green blue", "c": "yellow"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    path = tmp_path_factory.mktemp("llama")
    with Client(app=create_app(Settings(data_dir=path / "data", _env_file=None), HashEmbedder())) as made:
        yield made


@pytest.fixture
def store(client: Client) -> FunnelVectorStore:
    """Three nodes, the first two of one document."""
    made = FunnelVectorStore(client)
    made.clear()
    rows = client.embed(list(TEXTS.values()), "document").tolist()
    made.add([
        TextNode(
            id_=one, text=text, embedding=row, metadata={"n": n, "tags": ["all", one], **({"odd": 1} if n % 2 else {})},
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id="first" if n < 2 else "second")},
        )
        for n, ((one, text), row) in enumerate(zip(TEXTS.items(), rows, strict=True))
    ])  # fmt: skip
    return made


def test_an_index_over_it(client: Client) -> None:
    """Documents are split, embedded by the service, stored, found, and deleted by document."""
    store = FunnelVectorStore(client)
    store.clear()
    index = VectorStoreIndex.from_vector_store(store, embed_model=FunnelEmbedding(client))
    for name, text in TEXTS.items():
        index.insert(Document(text=text, id_=name, metadata={"name": name}))
    retriever = index.as_retriever(similarity_top_k=2, vector_store_kwargs={"exact": True})
    best, _ = retriever.retrieve("yellow")
    assert (best.get_content(), best.metadata, best.node.ref_doc_id) == ("yellow", {"name": "c"}, "c")
    (again, _) = asyncio.run(retriever.aretrieve("yellow"))
    assert again.node_id == best.node_id
    index.delete_ref_doc("c")
    assert client.count() == 2


def test_what_comes_back_is_what_went_in(store: FunnelVectorStore) -> None:
    """Text, metadata and relations; similarity is the cosine."""
    found = store.query(VectorStoreQuery(query_str="yellow", similarity_top_k=1))
    assert (found.ids, found.similarities) == (["c"], [pytest.approx(1)])
    (node,) = found.nodes
    assert (node.text, node.metadata, node.ref_doc_id) == ("yellow", {"n": 2, "tags": ["all", "c"]}, "second")


@pytest.mark.parametrize(
    ("key", "operator", "value", "expected"),
    [
        ("n", FilterOperator.EQ, 1, "b"),
        ("n", FilterOperator.NE, 1, "ac"),
        ("n", FilterOperator.GT, 0, "bc"),
        ("n", FilterOperator.LTE, 1, "ab"),
        ("n", FilterOperator.IN, [0, 2], "ac"),
        ("n", FilterOperator.NIN, [0, 2], "b"),
        ("tags", FilterOperator.ANY, ["a", "c"], "ac"),
        ("tags", FilterOperator.ALL, ["all", "c"], "c"),
        ("tags", FilterOperator.CONTAINS, "b", "b"),
        ("odd", FilterOperator.IS_EMPTY, None, "ac"),
    ],
)
def test_filters(store: FunnelVectorStore, key: str, operator: FilterOperator, value: object, expected: str) -> None:
    """Every operator of LlamaIndex that the service has."""
    filters = MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=operator)])
    assert "".join(node.node_id for node in store.get_nodes(filters=filters)) == expected
    found = store.query(VectorStoreQuery(query_str="red", similarity_top_k=3, filters=filters))
    assert "".join(sorted(found.ids)) == expected


def test_combined_filters(store: FunnelVectorStore) -> None:
    """Or, not, nested, with ids of nodes and documents."""
    first, last = (MetadataFilter(key="n", value=n) for n in (0, 2))
    either = MetadataFilters(filters=[first, last], condition=FilterCondition.OR)
    neither = MetadataFilters(filters=[either], condition=FilterCondition.NOT)
    assert [node.node_id for node in store.get_nodes(filters=either)] == ["a", "c"]
    assert [node.node_id for node in store.get_nodes(filters=neither)] == ["b"]
    assert [node.node_id for node in store.get_nodes(["a", "b"], either)] == ["a"]
    asked = VectorStoreQuery(query_str="red", similarity_top_k=3, doc_ids=["first"], filters=either)
    assert store.query(asked).ids == ["a"]


def test_deleting(store: FunnelVectorStore) -> None:
    """By document, by node, in a thread; never everything by mistake."""
    asyncio.run(store.adelete("first"))
    assert [node.node_id for node in asyncio.run(store.aget_nodes())] == ["c"]
    with pytest.raises(ValueError, match="clear"):
        store.delete_nodes()
    asyncio.run(store.adelete_nodes(["c"]))
    assert store.get_nodes() == []
    assert asyncio.run(store.async_add([TextNode(id_="d", text="a text without a vector")])) == ["d"]
    asyncio.run(store.aclear())
    assert store.client.count() == 0


def test_what_the_service_has_not(store: FunnelVectorStore) -> None:
    """Is refused by name."""
    with pytest.raises(ValueError, match="hybrid"):
        store.query(VectorStoreQuery(query_str="x", mode=VectorStoreQueryMode.HYBRID))
    asked = MetadataFilter(key="n", value="x", operator=FilterOperator.TEXT_MATCH)
    with pytest.raises(ValueError, match="text_match"):
        store.get_nodes(filters=MetadataFilters(filters=[asked]))
    with pytest.raises(ValueError, match="1 of 1 documents were refused"):
        store.add([TextNode(id_="e", text="")])
