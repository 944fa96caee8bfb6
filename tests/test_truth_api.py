"""What a service learns from its live queries, seen from outside."""

from pathlib import Path

import numpy as np

from app.service import Service
from embedders import HashEmbedder
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
