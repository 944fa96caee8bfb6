"""Keys: who has which right, where they come from, and that a key which would not be applied is never accepted."""

import gc
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from access_cases import FULL, INGEST, JSON, KEYED, KEYS, READ, address, bearer, routes
from app.access import check_bind, open_access
from app.access_keys import Keys, read_keys
from app.access_rights import RIGHTS, Right, Rights
from app.main import create_app
from app.settings import Settings, SettingsError, load_settings
from service import assert_problem, fill, running, settings_for


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with a key of each kind."""
    with running(tmp_path_factory.mktemp("keys"), **KEYED) as client:
        yield client


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder without .env, and an environment without settings."""
    for name in Settings.model_fields:
        monkeypatch.delenv(f"FUNNEL_{name.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_every_route_has_a_right_and_every_right_a_route(tmp_path: Path) -> None:
    """Who adds a route has to say in the table which key may use it."""
    app = create_app(settings_for(tmp_path))
    assert {f"{method} {path}" for method, path in routes(app)} == set(RIGHTS)


def test_what_the_rights_are_worth() -> None:
    """Said once more, so that a slip in the table is none here: without a key one learns nothing that is stored; only
    /ingest writes without a full key, and with its key nothing that is stored can be read."""
    asking = {"POST /search", "POST /v1/embeddings", "POST /documents/count", "POST /documents/scroll"}
    pages = {"GET /", "GET /page/{path:path}", "GET /docs", "GET /docs/{path:path}", "GET /openapi.json"}
    open_to_all = {"GET /livez", "GET /readyz", "GET /problems", "GET /problems/{slug}", *pages}
    assert {name for name, right in RIGHTS.items() if right is Right.OPEN} == open_to_all
    assert {name for name, right in RIGHTS.items() if right is Right.ANY} == {"GET /info"}
    assert {name for name, right in RIGHTS.items() if right is Right.INGEST} == {"POST /ingest"}
    reading = {name for name, right in RIGHTS.items() if right is Right.READ}
    assert asking <= reading
    assert all(name.startswith("GET ") for name in reading - asking)
    assert RIGHTS["GET /snapshots/{name}"] is Right.FULL  # it may hold what was deleted since


def test_the_table_reads_addresses_as_the_router_does(tmp_path: Path) -> None:
    """Each address gets the right of its own route, with HEAD as GET; what is not in the table is known to nobody."""
    rights = Rights()
    for method, path in routes(create_app(settings_for(tmp_path))):
        assert rights.of(method, address(path)) is RIGHTS[f"{method} {path}"]
    assert rights.of("HEAD", "/documents/a/b") is Right.READ
    assert rights.of("GET", "/nothing") is rights.of("POST", "/documents/a") is None


@pytest.mark.parametrize("kind", [None, *KEYS])
def test_each_route_lets_in_the_keys_of_its_right(client: TestClient, kind: str | None) -> None:
    """For every route and kind of key: 401 without one, 403 with the wrong one, and neither with the right one."""
    headers = JSON | (bearer(KEYS[kind]) if kind else {})
    for name, right in RIGHTS.items():
        method, path = name.split(" ")
        answer = client.request(method, address(path), headers=headers, follow_redirects=False)
        if right is Right.OPEN or kind == "full" or (kind and right in (Right.ANY, kind)):
            assert answer.status_code not in (401, 403), name
        elif kind is None:
            assert_problem(answer, 401, "unauthorized")
            assert answer.headers["www-authenticate"] == 'Bearer realm="funnel"'
        else:
            assert right in assert_problem(answer, 403, "forbidden")["detail"], name
            assert f'error="insufficient_scope", scope="{right}"' in answer.headers["www-authenticate"]


def test_unknown_addresses_need_a_full_key(client: TestClient) -> None:
    """Nobody without one learns what is there."""
    assert_problem(client.get("/nothing"), 401, "unauthorized")
    assert_problem(client.get("/nothing", headers=bearer(READ)), 403, "forbidden")
    assert_problem(client.get("/nothing", headers=bearer(FULL)), 404, "not-found")
    assert_problem(client.post("/info", headers=bearer(FULL)), 405, "method-not-allowed")


@pytest.mark.parametrize(
    "headers",
    [{"authorization": f"Bearer {READ}"}, {"authorization": f"bearer  {READ}"}, {"api-key": READ}, {"x-api-key": READ}],
)
def test_a_key_comes_in_one_of_three_headers(client: TestClient, headers: dict[str, str]) -> None:
    """Authorization: Bearer, as OpenAI's clients send it; api-key, as Qdrant's do; x-api-key."""
    assert client.get("/stats", headers=headers).status_code == 200


def test_wrong_keys_are_refused(client: TestClient) -> None:
    """Another key, part of one, more than one, no scheme, other schemes, bytes beyond ASCII."""
    wrong = [FULL[:-1], FULL + "x", FULL.upper(), "", " ", f"{FULL},{READ}", "é" * 16]
    for key in wrong:
        answer = client.get("/stats", headers={"api-key": key.encode("utf-8")})
        assert_problem(answer, 401, "unauthorized")
        assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    for value in (FULL, f"Basic {FULL}", f"Token {FULL}", "Bearer"):
        assert_problem(client.get("/stats", headers={"authorization": value}), 401, "unauthorized")


def test_two_different_keys_are_none(client: TestClient) -> None:
    """Neither wins; the same key twice is one, and another scheme is somebody else's."""
    both = {**bearer(FULL), "api-key": READ}
    assert "different keys" in assert_problem(client.get("/stats", headers=both), 401, "unauthorized")["detail"]
    twice = [("api-key", FULL), ("api-key", READ)]
    assert_problem(client.get("/stats", headers=twice), 401, "unauthorized")
    assert client.get("/stats", headers={**bearer(FULL), "x-api-key": FULL}).status_code == 200
    assert client.get("/stats", headers={"authorization": "Basic eDp5", "api-key": READ}).status_code == 200


def test_keys_of_each_kind_do_their_work(tmp_path: Path) -> None:
    """One key ingests, one finds it and can change nothing, one deletes."""
    with running(tmp_path, **KEYED) as client:
        client.headers.update(bearer(INGEST))
        fill(client)
        assert client.post("/search", json={"query": "date"}).status_code == 403
        client.headers.update(bearer(READ))
        assert client.post("/search", json={"query": "parse a date"}).json()["results"][0]["id"] == "date"
        assert client.delete("/documents/date").status_code == 403
        client.headers.update(bearer(FULL))
        assert client.delete("/documents/date").status_code == 200


def test_a_kind_may_have_several_keys_for_changing_them(tmp_path: Path) -> None:
    """The old one and the new one both work, from the setting and from the file."""
    file = tmp_path / "keys"
    file.write_text("third-key-of-the-tests\nfourth-key-of-the-tests\n", "utf-8")
    several = "first-key-of-the-tests, second-key-of-the-tests"
    with running(tmp_path, api_key=several, api_key_file=file) as client:
        for number in ("first", "second", "third", "fourth"):
            assert client.get("/stats", headers=bearer(f"{number}-key-of-the-tests")).status_code == 200
        assert client.get("/stats").status_code == 401


def test_a_lone_read_key_protects_writes_too(tmp_path: Path) -> None:
    """Where there is any key, what it may not do nobody may."""
    with running(tmp_path, read_key=READ) as client:
        assert client.get("/stats", headers=bearer(READ)).status_code == 200
        assert client.request("DELETE", "/documents/a", headers=bearer(READ)).status_code == 403
        assert client.post("/ingest", json={"documents": []}).status_code == 401


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"api_key": "short"}, "FUNNEL_API_KEY: key 1 has 5 characters, at least 16"),
        ({"read_key": f"{READ},short"}, "FUNNEL_READ_KEY: key 2 has 5 characters"),
        ({"api_key": "a key with blanks in it"}, "FUNNEL_API_KEY: key 1 has 1 characters"),
        ({"api_key": "schlüssel-mit-umlaut"}, "other characters than letters"),
        ({"ingest_key": " , "}, "FUNNEL_INGEST_KEY: there is no key in it"),
        ({"api_key": FULL, "read_key": FULL}, "FUNNEL_READ_KEY: the same key is a full key too"),
        ({"api_key_file": "missing"}, "FUNNEL_API_KEY_FILE: cannot read missing: No such file"),
        ({"read_key_file": "empty"}, "FUNNEL_READ_KEY_FILE: there is no key in it"),
        ({"read_key_file": "binary"}, "FUNNEL_READ_KEY_FILE: cannot read binary: it is not UTF-8 text"),
        ({"read_key_file": "."}, "FUNNEL_READ_KEY_FILE: cannot read .: Is a directory"),
    ],
)
def test_a_key_that_cannot_be_applied_stops_the_start(bare: Path, values: dict[str, str], said: str) -> None:
    """With what to do about it, and never with the key."""
    (bare / "empty").write_text("\n \n", "utf-8")
    (bare / "binary").write_bytes(b"\xff" * 32)
    with pytest.raises(SettingsError) as caught:
        create_app(Settings(_env_file=None, **values))
    assert said in str(caught.value)
    assert not [key for key in values.values() if len(key) > 8 and key in str(caught.value)]


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("FUNNEL_API_KEYS", "did you mean FUNNEL_API_KEY?"),
        ("FUNNEL_APIKEY", "did you mean FUNNEL_API_KEY?"),
        ("FUNNEL_API_KYE", "did you mean FUNNEL_API_KEY?"),
        ("FUNNEL_KEY", "nothing would be protected"),
        ("FUNNEL_AUTH_TOKEN", "nothing would be protected"),
        ("funnel_readonly_key", "did you mean FUNNEL_READ_KEY?"),
        ("FUNNEL_API_KEY_FILES", "did you mean FUNNEL_API_KEY_FILE?"),
        ("FUNNEL_ALLOWED_HOST", "did you mean FUNNEL_ALLOWED_HOSTS?"),
    ],
)
@pytest.mark.parametrize("place", ["environment", ".env"])
def test_a_misspelt_key_stops_the_start(
    bare: Path, monkeypatch: pytest.MonkeyPatch, variable: str, said: str, place: str
) -> None:
    """Who writes it believes to be protected; other misspelt settings are warnings."""
    if place == ".env":
        (bare / ".env").write_text(f"{variable}={FULL}\n", "utf-8")
    else:
        monkeypatch.setenv(variable, FULL)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert variable in str(caught.value)
    assert said in str(caught.value)
    assert FULL not in str(caught.value)


@pytest.mark.parametrize("line", ["FUNNEL_API_KEY=", "FUNNEL_API_KEY", "FUNNEL_READ_KEY_FILE=''", "funnel_api_key= "])
def test_an_empty_key_stops_the_start(bare: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """Whether in .env or in the environment: what fills it in has failed."""
    (bare / ".env").write_text(line + "\n", "utf-8")
    with pytest.raises(SettingsError, match="there is nothing in it"):
        load_settings()
    (bare / ".env").unlink()
    monkeypatch.setenv("FUNNEL_INGEST_KEY", "")
    with pytest.raises(SettingsError, match="FUNNEL_INGEST_KEY: there is nothing in it"):
        load_settings()


def test_variables_of_others_are_left_alone(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only names of FUNNEL_ are ours, and the key of the command line is a setting of clients."""
    for name in ("API_KEY", "OPENAI_API_KEY", "FUNNELS_KEY"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("FUNNEL_CLIENT_KEY", FULL)
    monkeypatch.setenv("FUNNEL_MODLE", "none")  # a warning, when the service starts
    assert load_settings().api_key is None


def test_other_machines_are_let_in_only_with_a_key_or_on_purpose(bare: Path) -> None:
    """All ways to listen elsewhere without a key are refused, and the message has the three ways out."""
    for host in ("0.0.0.0", "::", "", "192.168.1.5", "myhost", "10.0.0.1"):
        with pytest.raises(SettingsError) as caught:
            check_bind(Settings(_env_file=None, host=host))
        for way in ("FUNNEL_API_KEY", "FUNNEL_HOST=127.0.0.1", "FUNNEL_ALLOW_NO_KEY=1"):
            assert way in str(caught.value)
        check_bind(Settings(_env_file=None, host=host, allow_no_key=True))
        check_bind(Settings(_env_file=None, host=host, read_key=READ))
    for host in ("127.0.0.1", "127.8.8.8", "localhost", "::1"):
        check_bind(Settings(_env_file=None, host=host))


def test_the_service_keeps_digests_alone(tmp_path: Path) -> None:
    """No object of a running application has a key in it, neither its settings nor what it shows of its keys."""
    with running(tmp_path, **KEYED) as client:
        service = client.app.state.service  # type: ignore[attr-defined]
        assert service.settings.api_key is service.settings.read_key_file is None
        gc.collect()  # what other tests left
        held = [o for o in gc.get_objects() if type(o) is Settings and o.api_key is not None]
        assert held == []
    keys = read_keys(Settings(_env_file=None, **KEYED))
    found = keys.find(READ)
    assert found is not None
    assert (found.kind, found.number) == ("read", 1)
    assert READ not in repr(found)
    assert repr(found.digest) not in repr(found)
    other = Keys([("read", READ)]).find(READ)
    assert other is not None
    assert other.digest != found.digest  # of another process it is worth nothing


def test_settings_never_show_their_keys(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not printed, not as JSON, not in the error of a wrong neighbour or of a wrong key."""
    settings = Settings(_env_file=None, **KEYED)
    assert not [key for key in KEYS.values() if key in f"{settings!r} {settings} {settings.model_dump_json()}"]
    monkeypatch.setenv("FUNNEL_API_KEY", FULL)
    monkeypatch.setenv("FUNNEL_PORT", "many")
    with pytest.raises(SettingsError) as caught:
        load_settings(read_key=[READ])
    assert "FUNNEL_READ_KEY" in str(caught.value)
    assert not [key for key in KEYS.values() if key in str(caught.value)]


def test_what_protects_the_service_is_said_at_its_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """How many keys there are, or that there is none and what it answers to instead."""
    with caplog.at_level(logging.INFO, "app.main"):
        with running(tmp_path / "a", **KEYED):
            assert "keys: full 1, ingest 1, read 1" in caplog.messages
        with running(tmp_path / "b"):
            assert any("no key: answers to localhost" in line for line in caplog.messages)
    assert open_access(Settings(_env_file=None, read_key=f"{READ},{INGEST}")).summary == "keys: read 2"
    exposed = open_access(Settings(_env_file=None, host="0.0.0.0", allow_no_key=True)).summary
    assert "any machine or program that can connect may read and write everything" in exposed
    rebound = open_access(Settings(_env_file=None, allowed_hosts="*")).summary
    assert "a web page that gives its own name this address may read and write everything" in rebound


def test_trust_in_the_code_of_a_model_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Once, at the start, and only when somebody gave it."""
    with caplog.at_level(logging.WARNING, "app.main"):
        with running(tmp_path / "a"):
            assert not caplog.messages
        with running(tmp_path / "b", trust_remote_code=True):
            assert [line for line in caplog.messages if "FUNNEL_TRUST_REMOTE_CODE" in line]


def test_metrics_and_docs_can_be_opened_and_closed(tmp_path: Path) -> None:
    """Metrics need a read key unless they are open; what is closed is not there, with any key."""
    with running(tmp_path / "a", **KEYED, metrics="open") as client:
        assert client.get("/metrics").status_code == 200
        assert client.get("/docs").status_code == 200
        assert client.get("/openapi.json").status_code == 200
    with running(tmp_path / "b", **KEYED, metrics="closed", docs=False) as client:
        client.headers.update(bearer(FULL))
        for closed in ("/", "/page/main.js", "/docs", "/docs/swagger-ui.css", "/openapi.json", "/metrics", "/metrics/"):
            assert_problem(client.get(closed), 404, "not-found")
            assert_problem(client.get(f"{closed}%0A"), 404, "not-found")
        assert client.get("/stats").status_code == 200
        assert client.get("/problems/unauthorized", headers={"authorization": ""}).status_code == 200


def test_the_interface_declares_its_keys(client: TestClient, tmp_path: Path) -> None:
    """Which requests need none, and that none does where there is no key."""
    document = client.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert {scheme["type"] for scheme in schemes.values()} == {"http", "apiKey"}
    assert document["security"] == [{"bearer": []}, {"api-key": []}]
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            needs_none = Rights().of(method.upper(), address(path)) is Right.OPEN
            assert operation.get("security") == ([] if needs_none else None), path
    with running(tmp_path) as open_to_all:
        assert open_to_all.get("/openapi.json").json()["security"] == []


def test_without_a_key_any_key_will_do(tmp_path: Path) -> None:
    """OpenAI's clients always send one."""
    with running(tmp_path) as client:
        assert client.get("/stats", headers=bearer("whatever")).status_code == 200
