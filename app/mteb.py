"""The service under MTEB's and BEIR's retrieval tasks: indexed and searched as it is in use, funnel included.

mteb.evaluate(FunnelSearch(client, target_recall=0.98), mteb.get_task("SciFact"))
"""

import logging
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from mteb.models.model_meta import ModelMeta

from app import adapters
from app.client import Client

log = logging.getLogger(__name__)


class FunnelSearch:
    """A search model of MTEB (its SearchProtocol) over a service that holds nothing else."""

    def __init__(self, client: Client, **options: Any) -> None:
        """`options` go to every search: `shortlist`, `target_recall`, `exact`, ..."""
        self._client, self._options, self._own = client, options, False
        self._info = client.info()

    @property
    def mteb_model_meta(self) -> ModelMeta:
        """Under which name MTEB keeps the results: the model, its fingerprint, and the options of the searches."""
        model = self._info["model"] or {"name": "none"}
        named = {
            "name": f"funnel-search/{model['name'].replace('/', '--')}",
            "revision": self._info["fingerprint"],
            "embed_dim": self._info["dim"],
            "experiment_kwargs": self._options or None,
        }
        return ModelMeta.create_empty(named)

    def index(self, corpus: Iterable[Mapping[str, Any]], **kwargs: Any) -> None:
        """Store a corpus in the place of the one before; ValueError when the service holds documents of others."""
        if not self._own and (count := self._client.count()):
            raise ValueError(f"the service holds {count:,} documents: a corpus needs an empty one")
        self._own = True
        adapters.delete_all(self._client)
        totals = self._client.ingest(_document(row) for row in corpus)
        if totals.failures:
            first = totals.failures[0]
            log.warning("%d documents cannot be found, the first is %s: %s", totals.failed, first.id, first.detail)

    def search(
        self, queries: Iterable[Mapping[str, Any]], *, top_k: int, top_ranked: Any = None, **kwargs: Any
    ) -> dict[str, dict[str, float]]:
        """The scores of the best documents by query; at most as many as the service gives at once (`max_limit`)."""
        if top_ranked is not None:
            raise ValueError("this searches the whole corpus; a reranking task asks for scores of given documents")
        limits = self._info["limits"]
        wanted = min(top_k, limits["max_limit"])
        found: dict[str, dict[str, float]] = {}
        for part in _parts(queries, limits["max_queries"]):
            answers = self._client.search([row["text"] for row in part], limit=wanted, with_text=False, **self._options)
            for row, hits in zip(part, answers["results"], strict=True):
                found[row["id"]] = {hit["id"]: hit["score"] for hit in hits}
        return found


def _document(row: Mapping[str, Any]) -> dict[str, Any]:
    title = row.get("title")
    return {"id": row["id"], "text": row["text"], **({"title": title} if title else {})}


def _parts(rows: Iterable[Mapping[str, Any]], size: int) -> Iterator[list[Mapping[str, Any]]]:
    left = iter(rows)
    while part := list(islice(left, size)):
        yield part
