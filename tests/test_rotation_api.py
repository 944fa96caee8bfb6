"""Rotation, query map, samples and embeddings over HTTP and through the client."""

import base64
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from app import routes_rotation
from app.busy import Busy
from app.client import Client, ProblemError
from app.embedder import ModelError
from app.main import create_app
from app.matrix_responses import Embeddings, Matrices
from app.pools import Pool
from app.responses import Info
from app.serving import in_process
from cli_runner import at_work
from embedders import DIM, HashEmbedder
from index import build, rotator, sampling
from index.errors import StorageFull
from index.store import Store
from index_cases import random_rotation, unit_vectors, until
from service import TEXTS, Departure, assert_problem, fill, ids, running, settings_for
from tiny_models import save_static

TURN = random_rotation(DIM)


def coded(matrix: np.ndarray) -> str:
    """Base64 of float32, as bodies carry matrices."""
    return base64.b64encode(matrix.astype("<f4").tobytes()).decode()


def body(matrix: np.ndarray = TURN, widths: tuple[int, ...] = (16, 8), **rest: Any) -> dict[str, Any]:
    """The body of a rotation."""
    return {"matrix": coded(matrix), "widths": list(widths), **rest}


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """A service with the documents of TEXTS."""
    with running(tmp_path) as client:
        fill(client)
        yield client


@contextmanager
def served(path: Path, **values: Any) -> Iterator[Client]:
    """The library's client of a service behind a socket, without a model."""
    app = create_app(settings_for(path, model="none", **values), None)
    with at_work(app) as url, Client(url, attempts=1) as client:
        yield client


def test_a_rotation_is_applied_shown_and_undone(client: TestClient) -> None:
    """In /rotation, /stats and /info; exact answers stay to the bit."""
    question = {"query": "sort a list of numbers", "exact": True}
    before = client.post("/search", json=question).json()["results"]
    answer = client.put("/rotation", json=body(method="pca", measured={"recall@10": [0.7, 0.9]}))
    told = Matrices.model_validate(answer.json())
    assert told.rotation is not None
    assert (told.rotation.method, told.rotation.widths, told.rotation.rows) == ("pca", [16, 8], len(TEXTS))
    assert told.rotation.measured == {"recall@10": [0.7, 0.9]}
    assert client.get("/rotation").json() == answer.json()
    assert client.get("/stats").json()["rotation"] == answer.json()["rotation"]
    info = Info.model_validate(client.get("/info").json())
    assert info.rotation is not None
    assert info.rotation.widths == [16, 8]
    assert client.post("/search", json=question).json()["results"] == before
    assert client.delete("/rotation").json() == {"rotation": None, "query_map": None}
    assert client.get("/info").json()["rotation"] is None


@pytest.mark.parametrize(
    ("sent", "detail"),
    [
        (body(TURN * 2), "not orthogonal: |R^T R - I| is 3"),
        (body(np.eye(16)), "32 x 32 matrix, got shape (16, 16)"),
        (body(widths=(33,)), "between 1 and 32, got [33]"),
        (body(widths=(16,)), "learned for 16 numbers, the prefix has 8"),
        (body(widths=()), "/widths"),
        (body(TURN[:3]), "a matrix is square, got 96 numbers"),
        ({"matrix": "!", "widths": [8]}, "not base64"),
        ({"matrix": [[1]], "widths": [8]}, "a matrix is base64"),
        (body(extra=1), "unknown field"),
    ],
)
def test_what_is_no_rotation_is_refused(client: TestClient, sent: Any, detail: str) -> None:
    """With both numbers, whether the answer streams or not; nothing changes."""
    for accept in ("application/json", "application/x-ndjson"):
        problem = assert_problem(client.put("/rotation", json=sent, headers={"accept": accept}), 422, "validation")
        assert detail in problem["detail"]
    assert client.get("/rotation").json()["rotation"] is None


def test_a_matrix_may_be_larger_than_other_bodies(tmp_path: Path) -> None:
    """The limit follows from the width: a matrix passes a max_body_bytes that stops a search."""
    with running(tmp_path, max_body_bytes=1_024) as client:
        assert client.put("/rotation", json=body()).status_code == 200
        assert client.put("/query-map", json={"matrix": coded(TURN)}).status_code == 200
        huge = {"matrix": coded(np.eye(600)), "widths": [8]}
        assert_problem(client.put("/rotation", json=huge), 413, "body-too-large")


def test_an_exact_index_becomes_a_funnel_and_back(tmp_path: Path) -> None:
    """Vectors of unknown origin: a shortlist is refused before, used under a rotation, and refused again."""
    V = unit_vectors(600)
    with served(tmp_path, dim=32) as client:
        client.ingest({"id": str(i), "vector": v.tolist()} for i, v in enumerate(V))
        question = {"vector": V[3].tolist(), "shortlist": 50}
        with pytest.raises(ProblemError, match="no trained prefix"):
            client.search(**question)
        seen: list[tuple[int, int]] = []
        client.rotate(TURN, (16, 12), "random", {"n": 1}, lambda done, rows: seen.append((done, rows)))
        assert seen[-1] == (600, 600)
        info = client.info()
        assert (info["exact_only"], info["prefix_dim"], info["notice"]) == (False, 12, None)
        answer = client.search(**question)
        assert (ids(answer["results"])[0], answer["funnel"]["stages"]) == ("3", [[12, 50], [32, 10]])
    with served(tmp_path, dim=32) as client:
        assert client.search(**question)["funnel"]["stages"] == [[12, 50], [32, 10]]
        assert client.remove_rotation()["rotation"] is None
        assert client.info()["exact_only"]
        assert "funnel adapt" in client.info()["notice"]


def test_a_client_that_goes_away_has_changed_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its stream is broken off before the swap; meanwhile a second rotation is refused with a 409."""
    monkeypatch.setattr(build, "BLOCK", 8)
    gone, ended = Departure(monkeypatch), threading.Event()
    with served(tmp_path, dim=32, prefix_dim=8) as client:
        client.ingest({"id": str(i), "vector": v.tolist()} for i, v in enumerate(unit_vectors(64)))
        real, rotate = build.turned, rotator.Rotator._rotate

        def slow(*arguments: Any) -> Any:
            gone.step()
            return real(*arguments)

        def watched(*arguments: Any) -> None:
            try:
                rotate(*arguments)
            finally:
                ended.set()

        monkeypatch.setattr(build, "turned", slow)
        monkeypatch.setattr(rotator.Rotator, "_rotate", watched)

        def leave(*_: int) -> None:
            with pytest.raises(ProblemError) as refused:
                client.remove_rotation()
            assert refused.value.type == "/problems/maintenance-busy"
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            client.rotate(TURN, (8,), progress=leave)
        assert ended.wait(60)
        assert client.rotation()["rotation"] is None
        assert not list((tmp_path / "data" / "collections" / "default").glob("rotation-*"))
        client.rotate(TURN, (8,))
        assert client.rotation()["rotation"]["method"] == "learned"


def test_a_service_that_stops_gives_a_rotation_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It neither waits for it beyond its time to shut down, nor applies what it could not answer any more."""
    settings = settings_for(tmp_path, model="none", dim=32, prefix_dim=8, shutdown_seconds=5)
    read, blocks = build.turned, count()
    monkeypatch.setattr(build, "BLOCK", 8)

    def slow(*arguments: Any) -> Any:
        if next(blocks) >= 2:
            until(app.state.admission.stopping.is_set)
            sleep(0.5)
        return read(*arguments)

    monkeypatch.setattr(build, "turned", slow)
    app = create_app(settings)
    with ThreadPoolExecutor(1) as pool:
        with in_process(app, settings) as transport:
            client, started = Client(transport=transport, attempts=1), threading.Event()
            client.ingest({"id": str(i), "vector": v.tolist()} for i, v in enumerate(unit_vectors(1_600)))
            rotating = pool.submit(client.rotate, TURN, (8,), progress=lambda *_: started.set())
            assert started.wait(60)
            since = perf_counter()
        assert perf_counter() - since < 30  # of a hundred that the rest of the rotation takes
        with pytest.raises(ProblemError, match="given up, and nothing has changed") as refused:
            rotating.result(60)
        assert (refused.value.status, refused.value.type) == (503, "/problems/shutting-down")
    with Store.open(tmp_path / "data", None) as store:
        assert (store.rotation, store.count()) == (None, 1_600)


def test_a_problem_in_the_middle_is_told_by_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The client raises what the summary tells."""

    def full(*_: Any) -> None:
        raise StorageFull("no space left for the matrix")

    with served(tmp_path, dim=32, prefix_dim=8) as client:
        client.ingest({"id": str(i), "vector": v.tolist()} for i, v in enumerate(unit_vectors(64)))
        monkeypatch.setattr(rotator, "write_durably", full)
        with pytest.raises(ProblemError, match="no space left for the matrix") as refused:
            client.rotate(TURN, (8,))
        assert (refused.value.status, refused.value.type) == (507, "/problems/storage-full")


def test_a_query_map_is_for_queries_and_not_for_documents(client: TestClient) -> None:
    """A text and a vector go through it; "more like this" does not; removed, all is as before."""
    text, like = {"query": "parse a date"}, {"id": "sort", "exact": True}
    before = [client.post("/search", json=question).json()["results"] for question in (text, like)]
    answer = client.put("/query-map", json={"matrix": coded(-np.eye(DIM)), "measured": {"ndcg@10": [0.4, 0.5]}})
    assert Matrices.model_validate(answer.json()).query_map is not None
    mapped = [client.post("/search", json=question).json()["results"] for question in (text, like)]
    assert ids(mapped[0]) == ids(before[0])[::-1]
    assert mapped[0][-1]["score"] == pytest.approx(-before[0][0]["score"], abs=1e-6)
    assert mapped[1] == before[1]
    assert client.delete("/query-map").json() == {"rotation": None, "query_map": None}
    assert client.post("/search", json=text).json()["results"] == before[0]


def test_a_sample_is_bounded_and_reproducible(client: TestClient) -> None:
    """Little-endian rows with their shape in headers."""
    answer = client.get("/vectors/sample", params={"size": 3, "seed": 5})
    assert (answer.headers["x-rows"], answer.headers["x-dim"]) == ("3", str(DIM))
    rows = np.frombuffer(answer.content, dtype="<f4").reshape(3, DIM)
    assert np.allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    stored = HashEmbedder().embed_documents(list(TEXTS.values())).vectors
    assert all(np.isclose(stored @ row, 1, atol=1e-6).sum() == 1 for row in rows)
    assert client.get("/vectors/sample", params={"size": 3, "seed": 5}).content == answer.content
    problem = assert_problem(client.get("/vectors/sample?size=99999999999"), 422, "limit-exceeded")
    assert "at most 4194304 vectors of 32 numbers, got size=99999999999" in problem["detail"]
    assert_problem(client.get("/vectors/sample?size=0"), 422, "validation")


def test_a_sample_is_read_while_it_is_sent(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """However large it is, a reader who waits holds one piece of it in memory."""
    whole = client.get("/vectors/sample", params={"size": 5}).content
    read: list[int] = []
    real = sampling._read

    def watched(codec: Any, matrix: np.ndarray, rows: np.ndarray) -> np.ndarray:
        read.append(len(rows))
        return real(codec, matrix, rows)

    monkeypatch.setattr(sampling, "_read", watched)
    monkeypatch.setattr(routes_rotation, "PIECE", 2 * 4 * DIM)
    assert client.get("/vectors/sample", params={"size": 5}).content == whole
    assert read == [2, 2, 1]


def test_what_is_applied_is_no_error_when_the_queue_is_full_by_then(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer tells what is in force without another place in the queue."""
    real, calls = Pool.run, []

    async def once(self: Pool, *arguments: Any) -> Any:
        calls.append(self.name)
        if len(calls) > 1:
            raise Busy("store calls", 1)
        return await real(self, *arguments)

    monkeypatch.setattr(Pool, "run", once)
    sent = {"json": body(), "headers": {"accept": "application/x-ndjson"}}
    for method, path, rest in (
        ("PUT", "/rotation", {"json": body()}),
        ("PUT", "/rotation", sent),
        ("PUT", "/query-map", {"json": {"matrix": coded(TURN)}}),
        ("DELETE", "/query-map", {}),
        ("DELETE", "/rotation", {}),
    ):
        calls.clear()
        answer = client.request(method, path, **rest)
        assert (answer.status_code, calls) == (200, ["write"]), answer.text
        told = json.loads(answer.text.splitlines()[-1])
        assert told.get("status", 200) == 200
        assert {"rotation", "query_map"} <= told.keys()


def test_matrices_and_samples_are_described_as_bytes(client: TestClient) -> None:
    """In the OpenAPI document, as they are sent."""
    paths = client.get("/openapi.json").json()["paths"]
    for path in ("/rotation/matrix", "/query-map/matrix", "/vectors/sample"):
        content = list(paths[path]["get"]["responses"]["200"]["content"])
        assert content == [client.get(path).headers["content-type"]] == ["application/octet-stream"]
    assert "507" in paths["/query-map"]["delete"]["responses"]


def test_embeddings_have_openai_s_shape(client: TestClient) -> None:
    """Of one text or several, as numbers or base64, cut and normalised again."""
    model, texts = HashEmbedder(), ["sort a list", "open a file"]
    expected = model.embed_queries(texts)
    answer = client.post("/v1/embeddings", json={"input": texts, "model": "any"}).json()
    told = Embeddings.model_validate(answer)
    assert (told.model, [item.index for item in told.data]) == (model.model_name, [0, 1])
    assert np.allclose([item.embedding for item in told.data], expected)
    short = client.post("/v1/embeddings", json={"input": texts[0], "dimensions": 8}).json()["data"][0]["embedding"]
    assert np.allclose(short, expected[0, :8] / np.linalg.norm(expected[0, :8]), atol=1e-6)
    sent = {"input": texts[1], "encoding_format": "base64", "input_type": "document"}
    data = base64.b64decode(client.post("/v1/embeddings", json=sent).json()["data"][0]["embedding"])
    assert np.allclose(np.frombuffer(data, dtype="<f4"), model.embed_documents(texts).vectors[1])
    problem = assert_problem(client.post("/v1/embeddings", json={"input": "x", "dimensions": 33}), 422, "validation")
    assert "at most 32, got 33" in problem["detail"]
    assert_problem(client.post("/v1/embeddings", json={"input": []}), 422, "validation")
    assert_problem(client.post("/v1/embeddings", json={"input": ["x"] * 2_049}), 422, "validation")


def test_the_client_embeds_any_number_of_texts(tmp_path: Path) -> None:
    """In requests of 256 texts, in their order; without a model it is told so."""
    with at_work(create_app(settings_for(tmp_path / "a"), HashEmbedder())) as url, Client(url) as client:
        texts = [f"word{i} text" for i in range(300)]
        assert np.allclose(client.embed(texts), HashEmbedder().embed_queries(texts))
        assert client.embed(texts[:1], "document").shape == (1, DIM)
        assert httpx.get(f"{url}/info").json()["limits"]
    with served(tmp_path / "b", dim=8) as client, pytest.raises(ProblemError, match="no model"):
        client.embed(["x"])


def test_an_untrained_width_is_refused_until_a_rotation_was_learned_for_it(tmp_path: Path) -> None:
    """FUNNEL_PREFIX_DIM=12 of a model that says nothing about widths; undone, the index is exact again."""
    model = str(save_static(tmp_path / "model"))
    start = {"model": model, "device": "cpu"}
    with pytest.raises(ModelError, match=r"FUNNEL_PREFIX_DIM=12.*funnel adapt"), running_model(tmp_path, 12, start):
        pass
    with running_model(tmp_path, "auto", start) as client:
        fill(client)
        assert client.get("/info").json()["exact_only"]
        assert client.put("/rotation", json=body(widths=(16, 12))).status_code == 200
    with running_model(tmp_path, 16, start) as client:
        info = client.get("/info").json()
        assert (info["exact_only"], info["prefix_dim"], info["notice"]) == (False, 16, None)
    with pytest.raises(ModelError, match="FUNNEL_PREFIX_DIM=10"), running_model(tmp_path, 10, start):
        pass
    with running_model(tmp_path, 12, start) as client:
        assert client.get("/info").json()["prefix_dim"] == 12
        client.delete("/rotation")
        until(lambda: client.get("/info").json()["exact_only"])
    with pytest.raises(ModelError, match="FUNNEL_PREFIX_DIM=12"), running_model(tmp_path, 12, start):
        pass


@contextmanager
def running_model(path: Path, prefix_dim: Any, start: dict[str, Any]) -> Iterator[TestClient]:
    """A service with a model of a folder."""
    with TestClient(create_app(settings_for(path, prefix_dim=prefix_dim, **start))) as client:
        yield client
