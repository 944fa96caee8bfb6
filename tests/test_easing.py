"""Targets that step down under load, and come back."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.easing import Easing, eased
from app.service import Service
from index.query import Answer, Query
from index_cases import until
from recall_cases import asked_of, collection
from service import running

ANSWER = Answer([], "cosine", [], "calibration", "none", False, None, {}, 0, 0, "", target_recall=0.93)
BY_TARGET = Query(target_recall=0.98)


def targets(easing: Easing, depths: list[int], query: Query = BY_TARGET) -> list[float | None]:
    """What a search asks for at each of these lengths of the queue, one after the other."""
    found = [easing.of(query, depth) for depth in depths]
    return [None if one is None else one.query.target_recall for one in found]


def test_it_steps_down_as_the_queue_grows_and_back_as_it_empties() -> None:
    """With two threads at 4, 8 and 16 waiting; back below half of that, so that it does not flutter."""
    easing = Easing(0.9, 2, None)
    down = targets(easing, [0, 3, 4, 7, 8, 15, 16, 200])
    assert down == [None, None, 0.966, 0.966, 0.942, 0.942, 0.9, 0.9]
    back = targets(easing, [8, 7, 4, 3, 2, 1, 0])
    assert back == [0.9, 0.942, 0.942, 0.966, 0.966, None, None]


def test_a_jump_of_the_queue_is_followed_at_once() -> None:
    """All steps in one search, both ways."""
    assert targets(Easing(0.9, 2, None), [100, 0]) == [0.9, None]


def test_each_step_misses_more_by_the_same_factor() -> None:
    """From 2 % missed to 16 %: 4 % and 8 % between."""
    assert [eased(0.98, 0.84, step) for step in range(4)] == [0.98, 0.96, 0.92, 0.84]


@pytest.mark.parametrize(("target", "floor"), [(0.9999, 0.9996), (0.99951, 0.9995), (0.9998, 0.5), (0.9, 0.8996)])
def test_rounding_asks_neither_for_more_nor_for_all(target: float, floor: float) -> None:
    """A target of 1 would be an exact search, which is the most expensive of all."""
    found = [eased(target, floor, step) for step in range(4)]
    assert found[0] == target
    assert found[3] == pytest.approx(floor, abs=5e-4)
    assert all(floor <= later <= earlier < 1 for earlier, later in pairwise(found))


@pytest.mark.parametrize(
    "query",
    [
        Query(shortlist=100),
        Query(oversampling=10.0),
        Query(stages=((64, 100),)),
        Query(exact=True),
        Query(rescore=False),
        Query(target_recall=0.98, confidence=0.95),
        Query(target_recall=1.0),
        Query(target_recall=0.9),
        Query(target_recall=0.5),
    ],
)
def test_what_was_asked_for_in_another_way_is_never_changed(query: Query) -> None:
    """Shortlists, stages, exact searches, confidences, and targets at or below the floor."""
    assert Easing(0.9, 2, 0.98).of(query, 1_000) is None


def test_the_default_target_is_eased_too() -> None:
    """A search that names nothing has the target of the service, if there is one."""
    one = Easing(0.9, 2, 0.98).of(Query(), 1_000)
    assert one is not None
    assert (one.query.target_recall, one.meant) == (0.9, 0.98)
    assert Easing(0.9, 2, None).of(Query(), 1_000) is None


def test_it_is_off_without_a_floor() -> None:
    """Whatever the load."""
    easing = Easing(None, 2, 0.98)
    assert easing.of(BY_TARGET, 1_000) is None
    assert easing.describe(1_000) is None


def test_the_answer_says_what_it_lost() -> None:
    """Both targets; a timeout is told as the reason when there was one as well; a proved answer lost nothing."""
    one = Easing(0.9, 2, None).of(BY_TARGET, 1_000)
    assert one is not None
    said = {"reason": "load", "target_recall": 0.98, "eased_to": 0.9}
    assert one.marked(ANSWER).degraded == said
    late = replace(ANSWER, degraded={"reason": "timeout", "reranked": 7})
    assert one.marked(late).degraded == {**said, "reason": "timeout", "reranked": 7}
    proved = one.marked(replace(ANSWER, certified=True))
    assert (proved.degraded, proved.target_recall) == (None, 0.98)


class Gate:
    """Holds up the searches of a store until it is opened, and counts those that came."""

    def __init__(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        self._open, self._search = threading.Event(), service.store.search
        monkeypatch.setattr(service.store, "search", self._held)

    def open(self) -> None:
        """Let all through, slowly."""
        self._open.set()

    def _held(self, vectors: np.ndarray, query: Query) -> list[Answer]:
        assert self._open.wait(30)
        time.sleep(0.002)
        return self._search(vectors, query)


DOCUMENTS, QUERIES = collection(1_000, 120)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A service that may ease down to 0.7, without a calibration."""
    with running(tmp_path, model="none", dim=32, prefix_dim=8, ease_recall=0.7, default_recall=0.98) as client:
        documents = [{"id": f"d{i}", "vector": row.tolist()} for i, row in enumerate(DOCUMENTS)]
        assert client.post("/ingest", json={"documents": documents}).status_code == 200
        yield client


def test_many_searches_at_once_are_eased_and_afterwards_none(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty searches wait for two threads: the last of them ask for less and say so; those by a shortlist do not."""
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    service.store.calibrate(asked_of(QUERIES))

    def search(place: int) -> dict[str, Any]:
        body: dict[str, Any] = {"vector": QUERIES[place].tolist()}
        answer = client.post("/search", json=body | ({"shortlist": 50} if place % 4 == 0 else {}))
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    gate = Gate(service, monkeypatch)
    with ThreadPoolExecutor(40) as pool:
        futures = [pool.submit(search, place) for place in range(40)]
        until(lambda: service.searches.depth == 38)
        assert client.get("/stats").json()["easing"] == {"floor": 0.7, "step": 3, "steps": 3}
        gate.open()
        answers = [future.result(30) for future in futures]
    loaded = [answer for answer in answers if answer["degraded"]]
    assert len(loaded) >= 10
    for answer in loaded:
        asked, reached = answer["degraded"]["target_recall"], answer["degraded"]["eased_to"]
        assert (answer["degraded"]["reason"], asked) == ("load", 0.98)
        assert 0.7 <= reached < asked
        assert answer["funnel"]["target_recall"] == reached
        assert answer["funnel"]["shortlist_source"] == "calibration"
    assert not any(answer["degraded"] for answer in answers[::4])
    counted = client.get("/metrics").text
    assert f'funnel_search_degraded_total{{reason="load"}} {float(len(loaded))}' in counted
    after = [search(place) for place in range(41, 44)]
    assert [(answer["degraded"], answer["funnel"]["target_recall"]) for answer in after] == [(None, 0.98)] * 3
    assert client.get("/stats").json()["easing"]["step"] == 0


def test_without_a_calibration_nothing_is_eased(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody knows then what a lower target would save."""
    service: Service = client.app.state.service  # type: ignore[attr-defined]
    monkeypatch.setattr(type(service.searches), "depth", property(lambda pool: 1_000))
    answer = client.post("/search", json={"vector": QUERIES[0].tolist(), "target_recall": 0.9}).json()
    assert (answer["degraded"], answer["funnel"]["target_recall"]) == (None, 0.9)
