"""A service without a key, and the ways by which a web page could reach it through the browser of its user."""

import http.client
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from starlette.testclient import TestClient

from access_cases import JSON, KEYED, READ, address, bearer
from app.access import open_access
from app.access_hosts import host_name, is_loopback
from app.access_rights import RIGHTS
from app.main import create_app
from app.settings import Settings, SettingsError
from cli_runner import at_work
from embedders import HashEmbedder
from service import assert_problem, fill, running, settings_for

HERE = "http://127.0.0.1:8000"
CROSS, SAME = {"sec-fetch-site": "cross-site"}, {"sec-fetch-site": "same-site"}
PROBES = ("/livez", "/readyz")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service without a key, asked by its own address, with documents in it."""
    with running(tmp_path_factory.mktemp("hosts"), allowed_hosts="search.lan") as client:
        client.base_url = HERE
        fill(client)
        yield client


def count(client: TestClient) -> int:
    """How many documents are left."""
    return int(client.post("/documents/count", json={}).json()["count"])


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST:8000", "127.0.0.1", "127.0.0.1:9", "127.9.9.9:8000", "[::1]", "[::1]:8000", "search.lan"],
)
def test_it_answers_to_loopback_names_and_to_those_that_are_listed(client: TestClient, host: str) -> None:
    """With any port."""
    assert client.get("/info", headers={"host": host}).status_code == 200


REBOUND = (
    "evil.example",
    "evil.example:8000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example#localhost",
    "localhost@evil.example",
    "localhost:8000:80",
    "sub.search.lan",
    "192.168.1.5:8000",
    "[::2]:8000",
    "0.0.0.0:8000",
    "localhost.",
    "2130706433",
    "127.1",
    "",
    " ",
)


@pytest.mark.parametrize("host", REBOUND)
def test_a_page_that_gives_its_own_name_our_address_reaches_nothing(client: TestClient, host: str) -> None:
    """DNS rebinding: to the browser it is the page's own site, and every header but Host is what ours would be."""
    own = {"host": host, "sec-fetch-site": "same-origin", "origin": f"http://{host}", **JSON}
    for name in RIGHTS:
        method, path = name.split(" ")
        if path not in PROBES:
            answer = client.request(method, address(path), headers=own, follow_redirects=False)
            assert_problem(answer, 421, "misdirected")
    assert count(client) == 5


def test_one_host_header_and_only_one(tmp_path: Path) -> None:
    """Over a real socket: none, two, or one that hides behind an absolute address."""
    with at_work(create_app(settings_for(tmp_path), HashEmbedder())) as url:
        port = urlsplit(url).port
        cases = (
            ("/info", [f"localhost:{port}"], 200),
            ("/info", [], 421),
            ("/info", ["localhost", "evil.example"], 421),
            ("/info", ["evil.example", "localhost"], 421),
            ("http://localhost/info", ["evil.example"], 421),
        )
        for target, hosts, status in cases:
            connection = http.client.HTTPConnection("127.0.0.1", port or 0)
            connection.putrequest("GET", target, skip_host=True)
            for host in hosts:
                connection.putheader("Host", host)
            connection.endheaders()
            assert connection.getresponse().status == status, (target, hosts)
            connection.close()


@pytest.mark.parametrize("path", PROBES)
def test_health_is_told_to_everybody(client: TestClient, path: str) -> None:
    """An orchestrator asks by the address of the container, and learns nothing but that it lives."""
    assert client.get(path, headers={"host": "10.1.2.3:8000", **CROSS}).status_code == 200


FORMS = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain", "text/plain; {}")


@pytest.mark.parametrize("kind", [*FORMS, "", "text/plain; application/json", "application/json2", "application/csp"])
@pytest.mark.parametrize("body", [b"", b'{"ids": ["date"]}', b'{"documents": []}'])
def test_what_a_form_or_a_beacon_can_send_is_refused_by_its_kind(client: TestClient, kind: str, body: bytes) -> None:
    """Browsers of any age: a POST whose content type needs no leave is refused everywhere, with a body or without."""
    headers = {"content-type": kind} if kind else {}
    for name in RIGHTS:
        method, path = name.split(" ")
        if method == "POST":
            assert_problem(
                client.request(method, address(path), content=body, headers=headers), 415, "unsupported-media-type"
            )
    assert count(client) == 5


def test_a_second_content_type_does_not_count(client: TestClient) -> None:
    """The guard goes by the first, as routes do."""
    for name in RIGHTS:
        method, path = name.split(" ")
        if method == "POST":
            headers = [("content-type", "text/plain"), ("content-type", "application/json")]
            answer = client.request(method, address(path), content=b"{}", headers=headers)
            assert_problem(answer, 415, "unsupported-media-type")


def test_a_newline_at_the_end_of_an_address_is_no_way_around(client: TestClient) -> None:
    """Routes drop it: what a form could send would have erased and deleted at an address that the rules do not know."""
    for name in RIGHTS:
        method, path = name.split(" ")
        answer = client.request(method, f"{address(path)}%0A", content=b"{}", headers={"content-type": "text/plain"})
        assert_problem(answer, 404, "not-found")
    assert count(client) == 5


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE"])
def test_other_methods_ask_for_leave_and_never_get_it(client: TestClient, method: str) -> None:
    """A browser asks with OPTIONS first; no answer names an origin, so that the request itself is never sent."""
    asking = {"origin": "http://evil.example", "access-control-request-method": method}
    for extra in ({}, CROSS):
        answer = client.options("/documents/date", headers=asking | extra)
        assert answer.status_code >= 400
        assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("site", [CROSS, SAME], ids=["cross-site", "same-site"])
@pytest.mark.parametrize("mode", ["cors", "no-cors", "navigate", "same-origin", "websocket"])
def test_a_page_of_another_site_reaches_nothing(client: TestClient, site: dict[str, str], mode: str) -> None:
    """fetch, forms, scripts: whatever it sends, by every route, even with our own content type."""
    marks = site | JSON | {"sec-fetch-mode": mode, "sec-fetch-dest": "empty"}
    for origin in ({}, {"origin": "http://evil.example"}, {"origin": "null"}, {"origin": "http://localhost:3000"}):
        for name in RIGHTS:
            method, path = name.split(" ")
            if path not in PROBES:
                answer = client.request(method, address(path), headers=marks | origin, follow_redirects=False)
                assert_problem(answer, 403, "cross-site")
    assert count(client) == 5


@pytest.mark.parametrize("target", ["image", "script", "style", "iframe", "frame", "object", "embed", "empty", "video"])
def test_nothing_of_ours_is_part_of_another_page(client: TestClient, target: str) -> None:
    """No picture, script or frame."""
    for path in ("/documents/date", "/docs", "/stats", "/metrics"):
        for mode in ("no-cors", "navigate"):
            marks = CROSS | {"sec-fetch-mode": mode, "sec-fetch-dest": target}
            assert_problem(client.get(path, headers=marks), 403, "cross-site")


def test_a_link_may_be_followed_from_anywhere(client: TestClient) -> None:
    """To look at a page is no harm; a form that arrives the same way is refused."""
    link = CROSS | {"sec-fetch-mode": "navigate", "sec-fetch-dest": "document"}
    assert client.get("/docs", headers=link).status_code == 200
    assert_problem(client.post("/documents/delete", json={"ids": ["date"]}, headers=link), 403, "cross-site")
    assert count(client) == 5


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://localhost:3000", "file://", "http://127.0.0.1", HERE + ".evil"]
)
def test_older_browsers_are_known_by_the_origin(client: TestClient, origin: str) -> None:
    """They send no Sec-Fetch-Site; another port is another origin too."""
    deletion = {"url": "/documents/delete", "json": {"ids": ["date"]}, "headers": {"origin": origin}}
    assert_problem(client.post(**deletion), 403, "cross-site")
    assert count(client) == 5


def test_our_own_pages_and_programs_may_ask(client: TestClient) -> None:
    """/docs tries requests out; curl sends none of these headers; a user types an address."""
    own = {"origin": HERE, "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"}
    for headers in (own, {"origin": HERE}, {}, {"sec-fetch-site": "none", "sec-fetch-mode": "navigate"}):
        assert client.post("/search", json={"query": "date"}, headers=headers).status_code == 200
    assert client.delete("/recall", headers=own).status_code == 200  # without a body it needs no kind
    assert_problem(
        client.request("DELETE", "/recall", headers={"content-type": "text/plain"}), 415, "unsupported-media-type"
    )


def test_pages_that_are_listed_may_ask(tmp_path: Path) -> None:
    """They get leave, and the answer; others still get neither, and nobody's cookies are ever wanted."""
    app = "https://app.example.com"
    with running(tmp_path, cors_origins=f"{app}, http://localhost:3000") as client:
        asking = {"access-control-request-method": "POST", "access-control-request-headers": "content-type, api-key"}
        leave = client.options("/search", headers={"origin": app, **asking, **CROSS})
        assert leave.status_code == 200
        assert leave.headers["access-control-allow-origin"] == app
        assert "access-control-allow-credentials" not in leave.headers
        answer = client.post("/search", json={"query": "date"}, headers={"origin": app, **CROSS})
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == app
        other = client.options("/search", headers={"origin": "https://evil.example", **asking})
        assert "access-control-allow-origin" not in other.headers
        refused = client.post("/search", json={"query": "date"}, headers={"origin": "https://evil.example", **CROSS})
        assert_problem(refused, 403, "cross-site")
        assert client.post("/search", json={}, headers={"host": "evil.example", "origin": app}).status_code == 421


def test_all_origins_need_a_key(tmp_path: Path) -> None:
    """With one, any page that knows it may ask; without, a list."""
    with pytest.raises(SettingsError, match="lets every web page in, which needs keys"):
        create_app(settings_for(tmp_path, cors_origins="*"))
    with running(tmp_path, **KEYED, cors_origins="*") as client:
        page = {"origin": "https://any.example", **CROSS}
        assert client.get("/stats", headers=page | bearer(READ)).headers["access-control-allow-origin"] == "*"
        assert client.get("/stats", headers=page).status_code == 401


def test_with_a_key_any_name_will_do_unless_some_are_listed(tmp_path: Path) -> None:
    """A page cannot know the key; behind a proxy a service has names that it does not know."""
    with running(tmp_path / "a", **KEYED, allowed_hosts="") as client:
        assert client.get("/stats", headers={"host": "any.example", **bearer(READ)}).status_code == 200
    with running(tmp_path / "b", **KEYED, allowed_hosts="search.example.com") as client:
        for host, status in (("search.example.com", 200), ("SEARCH.example.com:443", 200), ("any.example", 421)):
            assert client.get("/stats", headers={"host": host, **bearer(READ)}).status_code == status
    with running(tmp_path / "c", allowed_hosts="*") as client:
        assert client.get("/stats", headers={"host": "any.example"}).status_code == 200


@pytest.mark.parametrize("name", ["https://search.lan", "search.lan:8000", "a b", "*.search.lan", "search.lan/", "::1"])
def test_a_listed_host_is_a_name(name: str) -> None:
    """Anything else would be compared with a name, and never be equal."""
    with pytest.raises(SettingsError, match="FUNNEL_ALLOWED_HOSTS"):
        open_access(Settings(_env_file=None, allowed_hosts=name))


@pytest.mark.parametrize("origin", ["app.example.com", "https://app.example.com/", "https://APP.example.com", "null"])
def test_a_listed_origin_is_one_as_browsers_write_it(origin: str) -> None:
    """Scheme, name and port, in lower case, and no path."""
    with pytest.raises(SettingsError, match="FUNNEL_CORS_ORIGINS"):
        open_access(Settings(_env_file=None, cors_origins=origin))


def test_names_of_hosts_are_read_without_their_port() -> None:
    """And what is no name is none."""
    assert host_name(b"Search.LAN:80") == "search.lan"
    assert host_name(b"[::1]:80") == "[::1]"
    for wrong in (b"", b":80", b"a:b", b"a:80:80", b"[::1", b"a]", b"a:123456"):
        assert host_name(wrong) is None
    assert is_loopback("[::1]")
    assert not is_loopback("::ffff:8.8.8.8")
