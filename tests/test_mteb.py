"""The service under MTEB: its own evaluation of a small task."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from app.client import Client
from app.main import create_app
from app.settings import Settings
from embedders import HashEmbedder

if find_spec("mteb") is None:
    pytest.skip("mteb is missing: pip install 'funnel-search[mteb]'", allow_module_level=True)
# Half a minute of imports, with warnings of theirs.
pytestmark = [pytest.mark.long, pytest.mark.filterwarnings("default")]


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    with Client(app=create_app(Settings(data_dir=tmp_path / "data", _env_file=None), HashEmbedder())) as made:
        yield made


def a_task(texts: dict[str, str], queries: dict[str, str], relevant: dict[str, dict[str, int]]) -> Any:
    """A retrieval task of MTEB over these."""
    from datasets import Dataset
    from mteb.mocks.mock_tasks.retrieval import MockRetrievalTask

    class Task(MockRetrievalTask):
        def load_data(self, *_: Any, **__: Any) -> None:
            data = {
                "corpus": Dataset.from_list([{"id": one, "title": one, "text": text} for one, text in texts.items()]),
                "queries": Dataset.from_list([{"id": one, "text": text} for one, text in queries.items()]),
                "relevant_docs": relevant,
                "top_ranked": None,
            }
            self.dataset = {"default": {"test": data, "val": data}}
            self.data_loaded = True

    return Task()


def test_a_task_is_evaluated(client: Client) -> None:
    """Each split's corpus replaces the one before; nDCG is that of the ranking."""
    import mteb

    from app.mteb import FunnelSearch

    texts = {f"d{n}": f"text number {n}" for n in range(100)} | {"empty": ""}
    queries = {f"q{n}": f"number {n}" for n in range(70)}
    right = {f"q{n}": {f"d{n}": 1} for n in range(70)}
    task = a_task(texts, queries, right)
    model = FunnelSearch(client, exact=True)
    result = mteb.evaluate(model, task, cache=None, co2_tracker=False, show_progress_bar=False)
    expected = _ndcg(client, queries, right)
    for split in ("test", "val"):
        (scores,) = result.task_results[0].scores[split]
        assert scores["ndcg_at_10"] == pytest.approx(expected, abs=1e-4)
    assert expected > 0.5
    assert client.count() == 101
    assert result.model_name == "funnel-search/hash-words"


def _ndcg(client: Client, queries: dict[str, str], right: dict[str, dict[str, int]]) -> float:
    """nDCG@10 with one right document a query, computed here."""
    from math import log2

    gains = []
    for one, text in queries.items():
        ids = [hit["id"] for hit in client.search(text, limit=10, exact=True)["results"]]
        (wanted,) = right[one]
        gains.append(1 / log2(ids.index(wanted) + 2) if wanted in ids else 0.0)
    return sum(gains) / len(gains)


def test_documents_of_others_are_not_touched(client: Client) -> None:
    """A service that holds something is refused, and so is a reranking task."""
    from app.mteb import FunnelSearch

    client.ingest([{"id": "mine", "text": "keep me"}])
    with pytest.raises(ValueError, match="holds 1 documents"):
        FunnelSearch(client).index([{"id": "a", "text": "b"}])
    assert client.count() == 1
    with pytest.raises(ValueError, match="reranking"):
        FunnelSearch(client).search([], top_k=10, top_ranked={"q": ["a"]})
