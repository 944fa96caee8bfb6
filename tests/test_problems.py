"""Errors as problems."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from app.main import create_app
from app.problems import BY_ERROR, PROBLEMS, pointer, problem_of
from embedders import HashEmbedder
from index import errors
from service import assert_problem, running, settings_for

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with a small limit on bodies."""
    with running(tmp_path_factory.mktemp("problems"), max_body_bytes=5_000) as client:
        yield client


def test_every_error_of_the_index_that_a_request_can_meet_has_a_problem() -> None:
    """All but those that keep the service from starting are in the table, or a more general one is."""
    at_start = {errors.StoreLocked, errors.StoreFormat, errors.FunnelError}
    kinds = {kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)}
    assert {kind for kind in kinds - at_start if not set(kind.__mro__) & set(BY_ERROR)} == set()
    assert set(BY_ERROR.values()) <= set(PROBLEMS)


def test_an_error_is_looked_up_by_its_nearest_kind() -> None:
    """A kind of its own comes before its base, and anything unknown is internal."""
    assert problem_of(errors.InvalidVector("x")).slug == "invalid-vector"
    assert problem_of(type("Special", (errors.InvalidFilter,), {})("x")).slug == "invalid-filter"
    assert problem_of(KeyError("x")).status == 500


def test_every_type_is_an_address_that_explains_it(client: TestClient) -> None:
    """The list of problems, and each one, are served."""
    for problem in client.get("/problems").json():
        answer = client.get(problem["type"])
        assert answer.json() == problem
        assert re.fullmatch(r"/problems/[a-z-]+", problem["type"])
    assert_problem(client.get("/problems/nothing"), 404, "not-found")


def test_a_request_has_an_id_of_its_own_or_a_new_one(client: TestClient) -> None:
    """A sane id is kept, anything else is replaced; it is in the header of every answer."""
    assert client.get("/livez", headers={"x-request-id": "my-id.1"}).headers["x-request-id"] == "my-id.1"
    for insane in ("a" * 65, "a b", "<script>"):
        given = client.get("/livez", headers={"x-request-id": insane}).headers["x-request-id"]
        assert re.fullmatch(r"[0-9a-f]{32}", given)
    problem = client.get("/nothing", headers={"x-request-id": "my-id.2"})
    assert assert_problem(problem, 404, "not-found")["request_id"] == "my-id.2"


def test_wrong_addresses_and_methods_are_problems(client: TestClient) -> None:
    """404, and 405 with what is allowed."""
    assert_problem(client.get("/search/"), 404, "not-found")
    answer = client.get("/search")
    assert_problem(answer, 405, "method-not-allowed")
    assert answer.headers["allow"] == "POST"
    assert client.put("/documents/some-id").headers["allow"] == "DELETE, GET, PATCH"
    assert client.options("/rotation").headers["allow"] == "DELETE, GET, PUT"


@pytest.mark.parametrize(
    "body",
    [b"{", b'{"query": NaN}', b'{"query": "\xff"}', b"[" * 2_000, b'{"query": "\\ud800"}', b"", b"  ", b"\x00"],
)
def test_what_is_not_json_is_said_to_be_so(client: TestClient, body: bytes) -> None:
    """A 400 whose text says where, and never has the body in it."""
    problem = assert_problem(client.post("/search", content=body, headers=JSON), 400, "malformed-json")
    assert "query" not in problem["detail"]


@pytest.mark.parametrize("body", [b"1", b"null", b'"text"', b"[]", b'{"id": ' + b"9" * 4_000 + b"}"])
def test_json_of_another_kind_is_a_validation_problem(client: TestClient, body: bytes) -> None:
    """A 422 with pointers."""
    assert assert_problem(client.post("/search", content=body, headers=JSON), 422, "validation")["errors"]


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "application/x-ndjson", None])
def test_another_content_type_is_refused(client: TestClient, kind: str | None) -> None:
    """415 names the accepted one; so a form of a web page reaches nothing."""
    answer = client.post("/search", content=b"{}", headers={"content-type": kind} if kind else {})
    assert "application/json" in assert_problem(answer, 415, "unsupported-media-type")["detail"]


def test_a_body_over_the_limit_is_refused_with_both_numbers(client: TestClient) -> None:
    """Whether its length was declared or not."""
    declared = client.post("/search", content=b" " * 5_001, headers=JSON)
    detail = assert_problem(declared, 413, "body-too-large")["detail"]
    assert "5001" in detail
    assert "5000" in detail
    chunked = client.post("/search", content=(b" " * 1_000 for _ in range(9)), headers=JSON)
    assert_problem(chunked, 413, "body-too-large")


def test_parameters_that_a_route_does_not_have_are_refused(client: TestClient) -> None:
    """A misspelt parameter is not ignored."""
    problem = assert_problem(client.post("/ingest?atomc=true", json={"documents": []}), 422, "validation")
    assert problem["errors"] == [{"parameter": "atomc", "detail": "unknown parameter"}]
    assert "atomic" in problem["detail"]
    assert_problem(client.post("/search?limit=3", json={"query": "a"}), 422, "validation")
    assert_problem(client.get("/documents/a?with_vector=maybe"), 422, "validation")


def test_refusals_do_not_repeat_what_was_sent(client: TestClient) -> None:
    """Texts and vectors of a request are not in its answer."""
    secret = "s3cr3t-text"
    for body in ({"query": 3, "id": secret}, {"vector": [secret]}, {"query": "a", "filter": secret}):
        assert secret not in client.post("/search", json=body).text
    assert secret not in client.post("/ingest", json={"documents": [{"id": "a", "text": [secret]}]}).text


def test_pointers_escape_what_means_something() -> None:
    """RFC 6901: ~ and / are written ~0 and ~1."""
    assert pointer() == ""
    assert pointer("documents", 3, "a/b~c") == "/documents/3/a~1b~0c"


class Broken(HashEmbedder):
    """Fails on every query."""

    def embed_queries(self, texts: object) -> None:  # type: ignore[override]
        """A programming error with a secret in its message."""
        raise RuntimeError("s3cr3t")


def test_an_unforeseen_error_says_nothing_of_itself(tmp_path: Path) -> None:
    """500 with the id under which the log has more."""
    app = create_app(settings_for(tmp_path), Broken())
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.post("/search", json={"query": "a"})
        assert_problem(answer, 500, "internal")
        assert "s3cr3t" not in answer.text
        assert client.get("/livez").status_code == 200
