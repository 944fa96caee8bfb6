"""What a service learns from its live queries, seen from outside."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app.service import Service
from embedders import HashEmbedder
from index_cases import until
from recall_cases import asked_of, collection, unit
from service import fill, running


def test_queries_are_kept_if_the_operator_wants(tmp_path: Path) -> None:
    """Texts and vectors, as unit vectors; not searches by id, not the probe of the health check."""
    with running(tmp_path, keep_queries=10) as client:
        fill(client)
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        client.get("/readyz")
        client.post("/search", json={"id": "list"})
        assert len(service.reservoir) == 0
        client.post("/search", json={"queries": ["sort a list", "a socket"]})
        client.post("/search", json={"vector": [2.0] * 32})
        kept = service.reservoir.vectors()
    expected = np.vstack([HashEmbedder().embed_queries(["sort a list", "a socket"]), np.full((1, 32), 32**-0.5)])
    assert kept.shape == (3, 32)
    assert np.allclose(np.sort(kept @ expected.T, axis=1)[:, -1], 1.0, atol=1e-6)


def test_no_query_is_kept_by_default(tmp_path: Path) -> None:
    """Keeping them is opt-in."""
    with running(tmp_path) as client:
        fill(client)
        client.post("/search", json={"query": "sort a list"})
        assert len(client.app.state.service.reservoir) == 0  # type: ignore[attr-defined]


def series(client: TestClient) -> dict[str, float]:
    """Values by the name of the series; of those with labels the last."""
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {one.name: one.value for family in families for one in family.samples}


def test_live_answers_are_compared_with_exact_search(tmp_path: Path) -> None:
    """The statistics and the metrics tell the recall of a funnel that is too narrow; the probe is no live query."""
    with running(tmp_path, truth_share=1) as client:
        documents = [{"id": f"d{i}", "text": f"word{i % 7} word{i % 11} word{i % 13} word{i}"} for i in range(300)]
        assert client.post("/ingest", json={"documents": documents}).status_code == 200
        client.get("/readyz")
        queries = [f"word{i} word{i + 1} word{i + 50}" for i in range(60)]
        for query in queries:
            body = {"query": query, "limit": 10, "shortlist": 10}
            assert client.post("/search", json=body).status_code == 200
        until(lambda: bool(client.get("/stats").json()["truth"]["waiting"] == 0))  # what is too much would be dropped
        exact = client.post("/search", json={"queries": queries, "exact": True}).json()["results"]
        narrow = client.post("/search", json={"queries": queries, "shortlist": 10}).json()["results"]
        until(lambda: bool(client.get("/stats").json()["truth"]["compared"] == 120))
        truth, found = client.get("/stats").json()["truth"], series(client)
    shares = [
        sum(hit["score"] >= best[-1]["score"] - 1e-6 for hit in hits) / 10
        for hits, best in zip(narrow, exact, strict=True)
    ]
    assert np.mean(shares) < 0.9
    assert truth["recall"] == pytest.approx(np.mean(shares), abs=1e-3)
    assert found["funnel_truth_recall"] == pytest.approx(np.mean(shares), abs=1e-3)
    assert found["funnel_truth_queries_total"] == 120
    assert (truth["target"], truth["estimate_error"], truth["warning"]) == (None, None, None)  # nothing was promised


def test_comparisons_can_be_switched_off(tmp_path: Path) -> None:
    """The statistics say so by a null."""
    with running(tmp_path, truth_share=0) as client:
        assert client.get("/stats").json()["truth"] is None


def test_answers_with_an_estimate_are_counted_by_it(tmp_path: Path) -> None:
    """An exact answer is estimated at 1."""
    with running(tmp_path) as client:
        fill(client)
        client.post("/search", json={"query": "sort a list", "exact": True})
        found = series(client)
    assert (found["funnel_search_recall_estimate_count"], found["funnel_search_recall_estimate_sum"]) == (1, 1)


def test_queries_of_another_kind_bring_a_warning(tmp_path: Path) -> None:
    """While queries are those of the calibration its promises hold; when others come, the drop is told everywhere,
    and a recalibration asked for."""
    documents, queries = collection(1_000, 180)
    others = unit(np.random.default_rng(1).standard_normal((200, 32)))
    with running(tmp_path, model="none", dim=32, prefix_dim=8, truth_share=1, default_recall=0.95) as client:
        body = [{"id": f"d{i}", "vector": row.tolist()} for i, row in enumerate(documents)]
        assert client.post("/ingest", json={"documents": body}).status_code == 200
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        service.store.calibrate(asked_of(queries[:120]))

        def asked(vectors: np.ndarray, before: int) -> dict[str, Any]:
            for part in np.split(vectors, len(vectors) // 20):
                client.post("/search", json={"vectors": part.tolist()})
                until(lambda: bool(client.get("/stats").json()["truth"]["waiting"] == 0))
            until(lambda: bool(client.get("/stats").json()["truth"]["compared"] == before + len(vectors)))
            told: dict[str, Any] = client.get("/stats").json()["truth"]
            return told

        same = asked(queries[120:], 0)
        assert (same["target"], same["warning"], same["dropped"]) == (0.95, None, 0)
        assert abs(same["estimate_error"]) < 0.1
        assert same["coverage"] > 0.7
        different = asked(others, 60)
        assert different["recall"] < 0.9
        assert "95.0% was asked for" in different["warning"]
        assert series(client)["funnel_truth_warning"] == 1
        assert series(client)["funnel_truth_false_certificates_total"] == 0
        watch = service.recall._watch
        assert watch is not None
        assert "compared with exact search" in (watch._wanted or "")
        service.store.forget_calibration()  # as another one would, this begins anew
        assert client.get("/stats").json()["truth"]["warning"] is None
        assert series(client)["funnel_truth_warning"] == 0
