"""What a browser is told about every answer, what a path can reach, and what the log says about a request."""

import http.client
import json
import logging
import re
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from access_cases import FULL, INGEST, JSON, KEYED, READ, address, bearer
from app.access_headers import HEADERS, PAGE
from app.access_rights import RIGHTS
from app.main import create_app
from app.serving import in_process
from cli_runner import at_work
from embedders import HashEmbedder
from service import NDJSON, STREAMED, fill, running, settings_for

SWAGGER = Path(__file__).parent.parent / "app" / "static" / "swagger"
Ask = Callable[..., tuple[int, str, bytes]]
TEXT = "the-secret-sentence-of-a-document"
VECTOR = 0.123456789


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with documents."""
    with running(tmp_path_factory.mktemp("web")) as client:
        fill(client)
        yield client


@pytest.mark.parametrize("name", [*RIGHTS, "GET /nothing", "POST /info", "OPTIONS /search"])
def test_every_answer_carries_the_headers(client: TestClient, name: str) -> None:
    """Of every route, good or bad, and where there is none."""
    method, path = name.split(" ")
    answer = client.request(method, address(path), headers=JSON, follow_redirects=False)
    for header in set(HEADERS) - {"content-security-policy"}:
        assert answer.headers[header] == HEADERS[header], header
    page = answer.headers.get("content-type", "").startswith("text/html")
    assert answer.headers["content-security-policy"] == (PAGE if page else HEADERS["content-security-policy"])


def test_refusals_streams_and_accidents_carry_them_too(tmp_path: Path) -> None:
    """What the gate answers, what is answered in pieces, and a 500, which passes no middleware."""
    app = create_app(settings_for(tmp_path, **KEYED), HashEmbedder())

    async def accident() -> None:
        raise RuntimeError("unforeseen")

    app.add_api_route("/accident", accident)
    with TestClient(app, raise_server_exceptions=False) as client:
        line = b'{"id": "a", "text": "t"}\n'
        answers = [
            client.get("/stats"),
            client.get("/stats", headers={"sec-fetch-site": "cross-site"}),
            client.post("/ingest", content=line, headers=STREAMED | bearer(INGEST)),
            client.get("/accident", headers=bearer(FULL)),
        ]
    assert [answer.status_code for answer in answers] == [401, 403, 200, 500]
    for answer in answers:
        assert HEADERS.items() <= dict(answer.headers).items()
        assert answer.headers["x-request-id"]


def test_what_is_refused_before_the_application_carries_them_too(tmp_path: Path) -> None:
    """Over a real socket: a request that is none."""
    settings = settings_for(tmp_path)
    with in_process(create_app(settings, HashEmbedder()), settings) as transport:
        path = transport._pool._uds  # type: ignore[attr-defined]
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(path)
            raw.sendall(b"not a request\r\n\r\n")
            answer = b"".join(iter(lambda: raw.recv(65_536), b""))
    head = answer.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert head[0].startswith(b"HTTP/1.1 400 ")
    assert {f"{name}: {value}".encode() for name, value in HEADERS.items()} <= set(head)


def test_the_page_keeps_to_its_policy(client: TestClient) -> None:
    """Nothing inline, nothing from elsewhere, and no eval that the policy would stop."""
    page = client.get("/docs").text
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son\w+=|javascript:", page)
    files = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert len(files) == 4
    for file in files:
        assert file == "data:," or client.get(f"/{file}").status_code == 200
    script = (SWAGGER / "swagger-ui-bundle.js").read_text("utf-8")
    assert not re.search(r"[^.\w]eval\(", script)
    assert 'createElement("style")' not in script
    assert "validatorUrl: null" in (SWAGGER / "start.js").read_text("utf-8")  # it would ask another site
    for part in ("unsafe", "http:", "https:", "*"):
        assert part not in PAGE


WAYS_UP = (
    "../settings.py",
    "..%2fsettings.py",
    "%2e%2e/settings.py",
    "%2e%2e%2fsettings.py",
    "..%5csettings.py",
    "..\\settings.py",
    "%252e%252e%252fsettings.py",
    "%c0%ae%c0%ae/settings.py",
    "./../../settings.py",
    "swagger/../../../settings.py",
    "/etc/passwd",
    "%2fetc%2fpasswd",
    "//etc/passwd",
    "index.html%00.py",
    "....//settings.py",
    "",
    ".",
)


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Ask]]:
    """A folder with the data of a service behind a real socket, and a way to ask it for a path exactly as written."""
    folder = tmp_path_factory.mktemp("wire")
    with at_work(create_app(settings_for(folder), HashEmbedder())) as url:

        def ask(method: str, path: str, body: bytes | None = None) -> tuple[int, str, bytes]:
            connection = http.client.HTTPConnection(url.removeprefix("http://"))
            connection.request(method, path, body, JSON)
            answer = connection.getresponse()
            with closing(connection):
                return answer.status, answer.headers["content-type"], answer.read()

        yield folder, ask


@pytest.mark.parametrize("way", WAYS_UP)
def test_no_path_leads_out_of_the_pages(wire: tuple[Path, Ask], way: str) -> None:
    """Dots, slashes of both kinds, encoded once, twice or wrongly, and absolute paths."""
    for prefix in ("/docs/", "/problems/", "/snapshots/", "/docs/..%2f", "/docs//", "/snapshots/..%2f..%2f"):
        status, kind, body = wire[1]("GET", prefix + way)
        assert (status, kind) == (404, "application/problem+json"), body[:200]
    assert wire[1]("DELETE", f"/snapshots/{way}")[0] in (404, 405)


@pytest.mark.parametrize("way", WAYS_UP)
def test_a_snapshot_is_named_and_not_placed(wire: tuple[Path, Ask], way: str) -> None:
    """A name that could be a path is refused, and nothing is written."""
    folder, ask = wire
    before = files(folder)
    status, kind, _ = ask("POST", "/snapshots", json.dumps({"name": way}).encode())
    assert (status, kind) == (422, "application/problem+json")
    assert files(folder) == before


@pytest.mark.parametrize("way", WAYS_UP)
def test_an_id_is_no_path(wire: tuple[Path, Ask], way: str) -> None:
    """Whatever an id looks like, it is a key of the database: it comes back as it is, and no file appears."""
    folder, ask = wire
    before = files(folder)
    for one in (way or "x", f"../{way}", f"/documents/{way}", f"{way}/..", "..", "."):
        body = json.dumps({"documents": [{"id": one, "text": "t"}]}).encode()
        assert ask("POST", "/ingest", body)[0] == 200
        quoted = "/documents/" + "".join(f"%{byte:02x}" for byte in one.encode())
        status, _, found = ask("GET", quoted)
        assert (status, json.loads(found)["id"]) == (200, one)
        assert ask("DELETE", quoted)[0] == 200
    assert files(folder) == before


def files(folder: Path) -> set[str]:
    """Everything in the folders around the data."""
    return {str(path) for path in folder.parent.rglob("*") if "wire" in str(path)}


def test_the_log_has_no_key_text_or_vector(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At the most talkative level: ingest, search, wrong bodies of every kind, wrong keys, wrong hosts."""
    secrets = (FULL, INGEST, READ, "not-a-key-but-secret", TEXT, str(VECTOR))
    vector = [VECTOR] * 768
    with caplog.at_level(logging.DEBUG), running(tmp_path, **KEYED) as client:
        for key in (FULL, "not-a-key-but-secret"):
            client.headers.update(bearer(key))
            document = {"id": TEXT, "text": TEXT, "title": TEXT, "metadata": {TEXT: TEXT}}
            client.post("/ingest", json={"documents": [document]})
            client.post("/ingest", content=f'{{"id": 1, "text": "{TEXT}"}}\n{TEXT}\n'.encode(), headers=NDJSON)
            client.post("/ingest", json={"documents": [document | {"vector": vector}, document | {TEXT: TEXT}]})
            client.post("/search", json={"query": TEXT, "filter": {TEXT: {"$gt": TEXT}}})
            client.post("/search", json={"query": {TEXT: TEXT}})
            client.post("/search", json={"vector": vector, "limit": VECTOR})
            client.post("/search", json={TEXT: TEXT})
            client.post("/search", content=f'{{"query": "{TEXT}'.encode(), headers=JSON)
            client.post("/search", content=TEXT.encode(), headers={"content-type": "text/plain"})
            client.get(f"/documents/{TEXT}", params={TEXT: TEXT})
            client.patch(f"/documents/{TEXT}", json={"text": TEXT, TEXT: 1})
            client.get(f"/{TEXT}?key={FULL}", headers={"x-request-id": f"{FULL} {TEXT}"})
            client.get("/info", headers={"host": f"{TEXT}.example", "origin": f"http://{TEXT}"})
            client.delete(f"/documents/{TEXT}")
    ours = [record for record in caplog.records if record.name.split(".")[0] in ("app", "index", "uvicorn")]
    said = "\n".join(f"{record.name} {record.getMessage()} {record.exc_text or ''}" for record in ours)
    assert "route=/search status=200" in said
    assert "route=/search status=422" in said
    assert "route=unknown status=401" in said
    assert [secret for secret in secrets if secret in said] == []


def test_an_error_never_shows_the_key_that_was_sent(client: TestClient, tmp_path: Path) -> None:
    """Neither the right one nor a wrong one is in any answer."""
    with running(tmp_path, **KEYED) as keyed:
        for key in (FULL, READ, "not-a-key-but-secret"):
            for name in RIGHTS:
                method, path = name.split(" ")
                answer = keyed.request(method, address(path), headers=JSON | bearer(key), follow_redirects=False)
                assert key not in answer.text + str(answer.headers), name
