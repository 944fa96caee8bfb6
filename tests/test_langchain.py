"""The LangChain store: its standard suite, and what it adds."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from app.client import Client
from app.main import create_app
from app.settings import Settings
from embedders import HashEmbedder

pytest.importorskip("langchain_tests", reason="langchain-tests is missing: pip install 'funnel-search[integrations]'")

from langchain_core.documents import Document
from langchain_tests.integration_tests.vectorstores import EMBEDDING_SIZE, VectorStoreIntegrationTests

from app.langchain import FunnelVectorStore

pytestmark = pytest.mark.long  # for the packages that it brings


def client(path: Path, **values: object) -> Client:
    return Client(app=create_app(Settings(data_dir=path / "data", _env_file=None, **values), HashEmbedder()))


@pytest.mark.anyio
class TestStandard(VectorStoreIntegrationTests):
    """LangChain's own suite, with vectors that it computes."""

    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[FunnelVectorStore]:
        settings = Settings(data_dir=tmp_path / "data", model="none", dim=EMBEDDING_SIZE, _env_file=None)
        with Client(app=create_app(settings)) as client:
            yield FunnelVectorStore(client, self.get_embeddings())


@pytest.mark.anyio
class TestStandardWithTheServicesModel(TestStandard):
    """The same with texts that the service embeds."""

    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[FunnelVectorStore]:
        with client(tmp_path) as made:
            yield FunnelVectorStore(made)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FunnelVectorStore]:
    with client(tmp_path) as made:
        texts = ["red green", "red green blue", "yellow"]
        yield FunnelVectorStore.from_texts(texts, metadatas=[{"n": n} for n in range(3)], ids=list("abc"), client=made)


def test_searches(store: FunnelVectorStore) -> None:
    """With scores, filters, by vector, by relevance, and other fields of a search."""
    ((best, score),) = store.similarity_search_with_score("yellow", k=1, exact=True)
    assert (best, score) == (Document(id="c", page_content="yellow", metadata={"n": 2}), pytest.approx(1))
    assert {d.id for d in store.similarity_search("yellow", filter={"n": {"$lt": 2}})} == {"a", "b"}
    vector = store.client.embed(["yellow"])[0].tolist()
    assert store.similarity_search_by_vector(vector, k=1) == [best]
    assert store.similarity_search_with_relevance_scores("yellow", score_threshold=0.9)[0][0] == best
    retriever = store.as_retriever(search_kwargs={"k": 1, "shortlist": 3})
    assert [d.id for d in retriever.invoke("red green")] == ["a"]


def test_different_documents(store: FunnelVectorStore) -> None:
    """The second one is not nearly the first."""
    assert [d.id for d in store.similarity_search("red green", k=2)] == ["a", "b"]
    assert [d.id for d in store.max_marginal_relevance_search("red green", k=2, lambda_mult=0.1)] == ["a", "c"]


def test_deleting(store: FunnelVectorStore) -> None:
    """By filter, or everything."""
    store.delete(filter={"n": 0})
    assert store.client.count() == 2
    store.delete()
    assert store.client.count() == 0


def test_refused_documents(store: FunnelVectorStore) -> None:
    """Are an error that names the first, and lists that do not fit are one before anything is sent."""
    with pytest.raises(ValueError, match="1 of 2 documents were refused, the first is 'x'"):
        store.add_texts(["", "good"], ids=["x", "y"])
    assert [d.id for d in store.get_by_ids(["x", "y"])] == ["y"]
    with pytest.raises(ValueError, match="shorter"):
        store.add_texts(["one", "two"], [{}])
