"""Health, information, metrics, the interface, start and stop."""

import asyncio
import json
import logging
import re
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from app import routes_service
from app.main import create_app
from app.responses import Info
from app.service import Service, limit_threads
from app.settings import SettingsError
from embedders import HashEmbedder
from index.errors import FingerprintMismatch, StoreCorrupt, StoreLocked
from index_cases import until
from service import BlockingEmbedder, assert_problem, fill, running, settings_for


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with some documents."""
    with running(tmp_path_factory.mktemp("service")) as client:
        fill(client)
        yield client


def test_a_started_service_is_alive_and_ready(client: TestClient) -> None:
    """Both checks pass."""
    assert client.get("/livez").json() == {"status": "alive"}
    assert client.get("/readyz").json() == {"status": "ready"}


def test_before_the_start_it_is_alive_but_not_ready(tmp_path: Path) -> None:
    """Without its resources a service answers readyz with a 503."""
    client = TestClient(create_app(settings_for(tmp_path), HashEmbedder()))
    assert client.get("/livez").status_code == 200
    answer = client.get("/readyz")
    assert_problem(answer, 503, "not-ready")
    assert "retry-after" in answer.headers


def test_a_service_without_a_model_is_ready_too(tmp_path: Path) -> None:
    """The probe is a vector then."""
    with running(tmp_path, model="none", dim=4) as client:
        assert client.get("/readyz").status_code == 200


def test_a_flood_of_probes_is_one_search_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Probes need no key: fifty at once take one place of the searches, and all are answered."""
    monkeypatch.setattr(routes_service, "PROBE_SECONDS", 60)
    with running(tmp_path, model="none", dim=4) as client, ThreadPoolExecutor(50) as threads:
        service: Service = client.app.state.service  # type: ignore[attr-defined]
        gate, searches, asked = threading.Event(), list[int](), list[Any]()
        search, run = service.store.search, service.probing.run

        def slow(*args: Any) -> Any:
            searches.append(client.get("/stats").json()["waiting"]["search"])
            assert gate.wait(60)
            return search(*args)

        def noted(work: Any) -> Any:
            asked.append(work)
            return run(work)

        monkeypatch.setattr(service.store, "search", slow)
        monkeypatch.setattr(service.probing, "run", noted)
        answers = [threads.submit(client.get, "/readyz") for _ in range(50)]
        until(lambda: len(asked) == 50)
        gate.set()
        assert [answer.result().status_code for answer in answers] == [200] * 50
        assert searches[:1] == [0]
        assert len(searches) < 5
        assert client.get("/readyz").status_code == 200  # and the next one looks again
        assert len(searches) < 6


def test_a_probe_that_fails_is_told_to_all_and_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was broken once is looked at again."""
    with running(tmp_path, model="none", dim=4) as client:
        with monkeypatch.context() as broken:
            broken.setattr(client.app.state.service.store, "search", Mock(side_effect=StoreCorrupt("damaged")))  # type: ignore[attr-defined]
            assert_problem(client.get("/readyz"), 500, "store-corrupt")
        assert client.get("/readyz").status_code == 200


def test_info_tells_model_widths_limits_and_capabilities(client: TestClient) -> None:
    """Everything a client has to know before it sends something."""
    info = Info.model_validate(client.get("/info").json())
    embedder = HashEmbedder()
    assert info.model is not None
    assert info.model.name == embedder.model_name
    assert info.model.matryoshka_dims == list(embedder.matryoshka_dims)
    assert (info.dim, info.prefix_dim) == (embedder.space.dim, embedder.space.prefix_dim)
    assert info.fingerprint == embedder.space.fingerprint_id
    assert info.limits["max_limit"] == 1_000
    assert "search.stages" in info.capabilities


def test_without_a_known_prefix_the_notice_says_that_searches_are_exact(tmp_path: Path) -> None:
    """Vectors of unknown origin are searched exactly until FUNNEL_PREFIX_DIM says how far their prefix carries."""
    with running(tmp_path / "a", model="none", dim=4) as client:
        info = client.get("/info").json()
        assert info["exact_only"]
        assert "FUNNEL_PREFIX_DIM" in info["notice"]
        assert client.post("/search", json={"vector": [1, 0, 0, 0]}).json()["funnel"]["exact"]
    with running(tmp_path / "b", model="none", dim=4, prefix_dim=2) as client:
        info = client.get("/info").json()
        assert (info["exact_only"], info["prefix_dim"], info["notice"]) == (False, 2, None)


def test_stats_count(client: TestClient) -> None:
    """Documents, bytes, queues."""
    stats = client.get("/stats").json()
    assert stats["count"] == 5
    assert stats["disk_bytes"]["vectors"] > 0
    assert set(stats["waiting"]) == {"query", "document", "search", "store", "write", "ingest"}


def test_metrics_count_what_happened(tmp_path: Path) -> None:
    """Requests by route and status, stages, documents by outcome, the state of the index."""
    with running(tmp_path) as client:
        fill(client)
        client.post("/search", json={"queries": ["a", "b"]})
        client.get("/documents/some/secret%20id")
        answer = client.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    families = list(text_string_to_metric_families(answer.text))
    samples = {(s.name, *sorted(s.labels.values())): s.value for family in families for s in family.samples}
    assert samples["funnel_ingest_documents_total", "created"] == 5
    assert samples["funnel_search_queries_total", "exact"] == 2
    assert samples["funnel_http_requests_total", "/search", "200", "POST"] == 1
    assert samples["funnel_http_requests_total", "/documents/{id:path}", "404", "GET"] == 1
    assert samples["funnel_search_stage_seconds_count", "embed"] == 1
    assert samples["funnel_index_documents",] == 5
    assert samples["funnel_queue_depth", "query"] == 0
    assert "secret" not in answer.text


def test_two_services_in_one_process_count_for_themselves(tmp_path: Path) -> None:
    """Each application has its own registry."""
    with running(tmp_path / "a") as first, running(tmp_path / "b") as second:
        fill(first)
        assert 'outcome="created"} 5.0' in first.get("/metrics").text
        assert 'outcome="created"' not in second.get("/metrics").text


def test_the_log_has_a_line_a_request_without_texts(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Method, route, status, time, the stages of a search, and id; no text, no document id."""
    caplog.set_level(logging.DEBUG, "app.requests")
    with running(tmp_path) as client:
        client.post("/ingest", json={"documents": [{"id": "secret-id", "text": "secret text"}]})
        client.post("/search", json={"query": "secret query"})
        client.get("/documents/secret-id")
    lines = [record.getMessage() for record in caplog.records if record.name == "app.requests"]
    assert len(lines) == 3
    for line in lines:
        stages = r"timing_ms=queue:[\d.]+,embed:[\d.]+,\S*,total:[\d.]+ " if "/search" in line else ""
        assert re.fullmatch(rf"method=\w+ route=\S+ status=200 ms=[\d.]+ {stages}request_id=[0-9a-f]{{32}}", line)
    assert "secret" not in caplog.text


@pytest.mark.parametrize(("slow", "lines"), [(0.0, 2), (3_600.0, 1)])
def test_what_failed_or_was_slow_is_logged(
    slow: float, lines: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """At the level of every day; the others are in the metrics alone."""
    caplog.set_level(logging.INFO, "app.requests")
    with running(tmp_path, log_slow_seconds=slow) as client:
        client.get("/info")
        client.get("/documents/none")
    assert len([record for record in caplog.records if record.name == "app.requests"]) == lines
    assert "status=404" in caplog.text


class Links(HTMLParser):
    """Collects what a page makes a browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember sources and addresses."""
        self.found += [value for name, value in attrs if name in ("src", "href") and value]


def test_the_interface_needs_nothing_from_outside(client: TestClient) -> None:
    """Every file of /docs is ours, is there, and names no other host to load from."""
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    links = Links()
    links.feed(page.text)
    files = [link for link in links.found if not link.startswith("data:")]
    assert len(files) == 3
    for link in files:
        assert re.fullmatch(r"docs/[a-z.-]+", link)
        assert client.get(f"/{link}").status_code == 200
    assert "url(http" not in client.get("/docs/swagger-ui.css").text
    assert "validatorUrl: null" in client.get("/docs/start.js").text
    for name in ("LICENSE", "NOTICE"):
        assert client.get(f"/docs/{name}").status_code == 200


def test_files_beside_the_interface_cannot_be_read(client: TestClient) -> None:
    """The folder has no way out."""
    for path in ("/docs/../../main.py", "/docs/%2e%2e/%2e%2e/main.py", "/docs/nothing.js", "/docs/"):
        assert_problem(client.get(path), 404, "not-found")


def test_the_description_is_true(client: TestClient) -> None:
    """Every route is described with its bodies, its answers and our problems, and every reference resolves."""
    document = client.get("/openapi.json").json()
    assert "HTTPValidationError" not in json.dumps(document)
    for name in re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(document)):
        assert name in document["components"]["schemas"], name
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], path
            assert ("requestBody" in operation) == (method in ("post", "put", "patch")), path
            for status, answer in operation["responses"].items():
                if status[0] in "45d" and status != "default":
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)
    ingest = document["paths"]["/ingest"]["post"]
    kinds = {"application/json", "application/x-ndjson", "application/vnd.apache.arrow.stream"}
    assert set(ingest["requestBody"]["content"]) == kinds
    assert set(ingest["responses"]["200"]["content"]) == {"application/json", "application/x-ndjson"}
    search = document["components"]["schemas"]["SearchRequest"]
    assert search["additionalProperties"] is False
    assert set(search["properties"]) >= {"query", "vector", "shortlist", "stages", "timeout_ms"}


def test_the_examples_of_the_description_work(client: TestClient) -> None:
    """Each example body is accepted by its route."""
    document = client.get("/openapi.json").json()
    client.post("/ingest", json={"documents": [{"id": "datetime.datetime.strptime", "text": "x"}]})
    tried = 0
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            content: dict[str, Any] = operation.get("requestBody", {}).get("content", {})
            for example in content.get("application/json", {}).get("examples", {}).values():
                answer = client.request(method, path.replace("{id}", "list"), json=example["value"])
                if "matrix" in example["value"]:  # an example of two numbers is refused for its shape alone
                    assert "32 x 32 matrix, got shape (2, 2)" in answer.json()["detail"]
                else:
                    assert answer.status_code in (200, 202), (path, answer.text)
                tried += 1
    assert tried >= 9


def test_another_model_on_an_old_index_does_not_start(tmp_path: Path) -> None:
    """The start is refused and says what differs."""
    with running(tmp_path) as client:
        fill(client)
    with pytest.raises(FingerprintMismatch, match="revision"), running(tmp_path, HashEmbedder(revision="2")):
        pass


def test_a_directory_is_served_once_and_again_after_the_end(tmp_path: Path) -> None:
    """A second service on it does not start; after the first has stopped one does."""
    with running(tmp_path), pytest.raises(StoreLocked), running(tmp_path):
        pass
    with running(tmp_path) as client:
        assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize(("values", "part"), [({}, "FUNNEL_DIM"), ({"dim": 4, "prefix_dim": 5}, "FUNNEL_PREFIX_DIM")])
def test_without_a_model_the_width_has_to_be_known(tmp_path: Path, values: dict[str, Any], part: str) -> None:
    """A new index needs FUNNEL_DIM, and a prefix has to fit in it."""
    with pytest.raises(SettingsError, match=part), running(tmp_path, model="none", **values):
        pass


def test_an_old_index_knows_its_own_width(tmp_path: Path) -> None:
    """Without a model and without FUNNEL_DIM the directory's own space is used."""
    with running(tmp_path, model="none", dim=4, prefix_dim=2) as client:
        client.post("/ingest", json={"documents": [{"id": "a", "vector": [1, 0, 0, 0]}]})
    with running(tmp_path, model="none") as client:
        assert (client.get("/info").json()["dim"], client.get("/stats").json()["count"]) == (4, 1)


def test_an_old_index_takes_the_prefix_it_is_started_with(tmp_path: Path) -> None:
    """Without FUNNEL_DIM too: exact before, a funnel with FUNNEL_PREFIX_DIM, and a wider one than it has is refused."""
    with running(tmp_path, model="none", dim=4) as client:
        client.post("/ingest", json={"documents": [{"id": "a", "vector": [1, 0, 0, 0]}]})
    with running(tmp_path, model="none") as client:
        assert client.get("/info").json()["exact_only"]
    with running(tmp_path, model="none", prefix_dim=2) as client:
        info = client.get("/info").json()
        assert (info["exact_only"], info["dim"], info["prefix_dim"], info["notice"]) == (False, 4, 2, None)
        assert client.get("/stats").json()["count"] == 1
    wide = running(tmp_path, model="none", prefix_dim=5)
    with pytest.raises(SettingsError, match=r"FUNNEL_PREFIX_DIM.*4, got 5"), wide:
        pass


def test_an_untrained_prefix_of_an_old_index_may_be_allowed(tmp_path: Path) -> None:
    """FUNNEL_ALLOW_UNTRAINED_PREFIX ends the exact mode of an index that knows no prefix."""
    with running(tmp_path, model="none", dim=4):
        pass
    with running(tmp_path, model="none", allow_untrained_prefix=True) as client:
        assert not client.get("/info").json()["exact_only"]


def test_the_start_warns_of_what_a_user_should_know(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notice of the model, which /info has too, and variables that are no setting."""
    monkeypatch.setenv("FUNNEL_MODLE", "none")
    with running(tmp_path, model="none", dim=4) as client:
        notice = client.get("/info").json()["notice"]
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert notice in warnings
    assert any("FUNNEL_MODLE" in warning and "FUNNEL_MODEL" in warning for warning in warnings)


def test_stopping_lets_a_running_ingest_finish_its_batch(tmp_path: Path) -> None:
    """The end waits for what the model computes, then closes the store; no thread stays behind."""
    before = set(threading.enumerate())
    embedder = BlockingEmbedder()
    with running(tmp_path, embedder) as client:
        body = {"documents": [{"id": "a", "text": "b"}]}
        thread = threading.Thread(target=client.post, args=("/ingest",), kwargs={"json": body})
        thread.start()
        assert embedder.waiting.wait(10)
        embedder.gate.set()
        thread.join(10)
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert not [name for name in left if not name.startswith("AnyIO")]  # the test client's own, which idle a while
    with running(tmp_path) as client:
        assert client.get("/documents/a").json()["text"] == "b"


@pytest.mark.parametrize("error", [SettingsError("FUNNEL_DIM: x"), StoreLocked("taken")])
def test_a_start_that_fails_for_a_known_reason_says_only_that(tmp_path: Path, error: Exception) -> None:
    """The server gets one line, not a traceback."""

    class Failing(HashEmbedder):
        @property
        def space(self) -> Any:
            raise error

        @space.setter
        def space(self, value: Any) -> None:
            pass

    sent: list[dict[str, Any]] = []
    app = create_app(settings_for(tmp_path), Failing())

    async def receive() -> dict[str, Any]:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    async def start() -> None:
        await app({"type": "lifespan", "state": {}}, receive, send)

    with pytest.raises(type(error)):
        asyncio.run(start())
    assert sent == [{"type": "lifespan.startup.failed", "message": f"cannot start: {error}"}]


def test_the_model_computes_with_as_many_threads_as_it_may() -> None:
    """The limit reaches torch, and with it every lane of the model."""
    before = torch.get_num_threads()
    try:
        limit_threads(before + 1)
        assert torch.get_num_threads() == before + 1
    finally:
        torch.set_num_threads(before)


def test_the_storage_is_that_of_the_index(tmp_path: Path) -> None:
    """A setting for new indexes does not change what GET /info says of an old one."""
    for setting in ("int8", "float32"):
        with running(tmp_path, storage=setting) as client:
            assert client.get("/info").json()["storage"] == "int8"
