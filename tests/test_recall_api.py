"""Recall over HTTP: a run in the background, its state, its end, and what it leaves behind."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app import recalling
from app.recall_responses import RecallStatus
from index_cases import until
from service import assert_problem, running

COUNT, DIM = 500, 16
PLAIN = {"model": "none", "dim": DIM, "prefix_dim": 8}
ROWS = np.random.default_rng(0).standard_normal((COUNT, DIM)) * np.where(np.arange(DIM) < 8, 2, 1)
QUICK: dict[str, Any] = {"source": "documents", "sample": 150, "shortlists": [30], "stages": []}


def fill(client: TestClient, rows: np.ndarray = ROWS) -> None:
    """A document for each row."""
    documents = [{"id": f"d{n}", "vector": row.tolist()} for n, row in enumerate(rows)]
    assert client.post("/ingest", json={"documents": documents}).status_code == 200


def ended(client: TestClient) -> dict[str, Any]:
    """The state of the run at its end, in the shape that is described."""
    until(lambda: client.get("/recall").json()["state"] not in ("waiting", "running"), 60)
    body: dict[str, Any] = client.get("/recall").json()
    RecallStatus.model_validate(body)
    return body


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with 500 vectors and no model."""
    with running(tmp_path_factory.mktemp("recall"), keep_queries=300, **PLAIN) as client:
        fill(client)
        yield client


def test_a_run_from_its_start_to_the_searches_after_it(client: TestClient) -> None:
    """202 and where to look; the result; targets go by the calibration; forgotten, they do not."""
    assert RecallStatus.model_validate(client.get("/recall").json()).state == "none"
    begun = client.post("/recall", json=QUICK)
    assert (begun.status_code, begun.headers["location"]) == (202, "/recall")
    state = ended(client)
    assert (state["state"], state["id"], state["phase"]) == ("done", begun.json()["id"], "done")
    made = state["result"]["calibration"]
    stats = client.get("/stats").json()["calibration"]
    assert (stats["id"], stats["in_force"]) == (made["id"], True)
    wanted = {"vector": ROWS[3].tolist(), "target_recall": 0.9, "limit": 10}
    assert client.post("/search", json=wanted).json()["funnel"]["shortlist_source"] == "calibration"
    assert client.delete("/recall/calibration").json() == {"forgotten": True}
    assert client.delete("/recall/calibration").json() == {"forgotten": False}
    assert client.get("/stats").json()["calibration"] is None
    assert client.post("/search", json=wanted).json()["funnel"]["shortlist_source"] == "uncalibrated"


def test_a_second_run_is_refused_and_the_first_can_be_cancelled(client: TestClient) -> None:
    """The problem names the run; searches are answered meanwhile; cancelled, it has changed nothing."""
    begun = client.post("/recall", json={"source": "documents", "sample": COUNT}).json()
    body = assert_problem(client.post("/recall", json=QUICK), 409, "recall-busy")
    assert begun["id"] in body["detail"]
    assert client.post("/search", json={"vector": ROWS[0].tolist()}).status_code == 200
    cancelled = client.delete("/recall").json()
    assert (cancelled["state"], cancelled["result"]) == ("cancelled", None)
    assert client.get("/stats").json()["calibration"] is None
    assert client.delete("/recall").json() == cancelled


def test_recent_live_queries_are_a_source_with_a_guarantee(client: TestClient) -> None:
    """Once enough were kept; before, that is said with both numbers."""
    body = assert_problem(client.post("/recall", json={"source": "live"}), 422, "validation")
    assert "at least 200 live queries" in body["detail"]
    queries = np.random.default_rng(1).standard_normal((256, DIM))
    for start in range(0, len(queries), 64):
        assert client.post("/search", json={"vectors": queries[start : start + 64].tolist()}).status_code == 200
    client.post("/recall", json={"shortlists": [30], "stages": [], "calibrate": False})
    result = ended(client)["result"]
    assert (result["source"], result["guaranteed"], result["warnings"]) == ("live", True, [])
    assert result["queries"] >= 200


def test_an_index_that_is_searched_exactly_says_so(tmp_path: Path) -> None:
    """Its curve is the exact search; nothing can be calibrated; nothing at all can be measured without documents."""
    with running(tmp_path, model="none", dim=DIM) as client:
        assert "0 documents are stored" in assert_problem(client.post("/recall", json={}), 422, "validation")["detail"]
        fill(client, ROWS[:300])
        none = assert_problem(client.post("/recall", json={"filter": {"a": 1}}), 422, "validation")
        assert "0 of 300 documents match the filter" in none["detail"]
        client.post("/recall", json={"source": "documents", "sample": 120})
        result = ended(client)["result"]
        assert [point["exact"] for point in result["curve"]] == [1.0]
        assert any("searched exactly" in warning for warning in result["warnings"])
        assert result["calibration"] is None
        assert_problem(client.post("/recall", json={"shortlists": [50]}), 422, "invalid-plan")


def test_the_service_closes_during_a_run_and_keeps_calibrations_over_a_restart(tmp_path: Path) -> None:
    """What runs is given up at once; what was finished is there again."""
    with running(tmp_path, **PLAIN) as client:
        fill(client)
        client.post("/recall", json=QUICK)
        made = ended(client)["result"]["calibration"]["id"]
        client.post("/recall", json={"source": "documents", "sample": COUNT})
        started = time.monotonic()
    assert time.monotonic() - started < 10
    with running(tmp_path, **PLAIN) as client:
        known = client.get("/stats").json()["calibration"]
        assert (known["id"], known["in_force"]) == (made, True)
        assert client.get("/recall").json()["state"] == "none"


def test_a_service_calibrates_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the size of the settings on, when writing has stopped; and says why it did."""
    monkeypatch.setattr(recalling, "LOOK", 0.02)
    with running(tmp_path, calibrate_from=400, **PLAIN) as client:
        fill(client, ROWS[:390])
        time.sleep(0.2)
        assert client.get("/recall").json()["state"] == "none"
        fill(client, ROWS[:410])
        until(lambda: client.get("/stats").json()["calibration"] is not None, 60)
        state = ended(client)
        assert state["automatic"] == "there is no calibration yet"
        assert state["result"]["curve"] == []
        assert client.get("/stats").json()["calibration"]["documents"] == 410


def test_a_service_that_is_told_to_never_calibrates_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """FUNNEL_AUTO_CALIBRATE=false."""
    monkeypatch.setattr(recalling, "LOOK", 0.02)
    with running(tmp_path, calibrate_from=100, auto_calibrate=False, **PLAIN) as client:
        fill(client)
        time.sleep(0.3)
        assert client.get("/recall").json()["state"] == "none"
