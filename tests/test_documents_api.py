"""Documents by id and in bulk."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.embedder import Embedded
from app.patch import merge_patch
from app.responses import DocumentShape, Page
from embedders import HashEmbedder
from service import TEXTS, assert_problem, fill, ids, running


class Counting(HashEmbedder):
    """Remembers the texts of documents."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def embed_documents(self, texts: Sequence[str]) -> Embedded:
        """As ever."""
        self.texts += texts
        return super().embed_documents(texts)


@pytest.fixture
def embedder() -> Counting:
    """The embedder of `client`."""
    return Counting()


@pytest.fixture
def client(tmp_path: Path, embedder: Counting) -> Iterator[TestClient]:
    """A service that holds TEXTS."""
    with running(tmp_path, embedder) as client:
        fill(client)
        embedder.texts.clear()
        yield client


@pytest.fixture(scope="module")
def lasting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service for many examples."""
    with running(tmp_path_factory.mktemp("documents")) as client:
        yield client


def address(doc_id: str) -> str:
    """The path of a document."""
    return f"/documents/{quote(doc_id, safe='')}"


def test_a_document_is_read_as_it_was_written(client: TestClient) -> None:
    """Text, title and metadata; the vector when it is asked for."""
    body = {"id": "x", "title": "A title", "text": "a text", "metadata": {"deep": {"list": [1, None, "ü"]}}}
    client.post("/ingest", json={"documents": [body]})
    assert client.get("/documents/x").json() == body
    answer = client.get("/documents/x?with_vector=true").json()
    DocumentShape.model_validate(answer)
    np.testing.assert_allclose(answer["vector"], HashEmbedder().embed_queries(["A title\na text"])[0], atol=1e-6)
    assert_problem(client.get("/documents/nowhere"), 404, "document-not-found")


@settings(max_examples=60)
@given(st.text(st.characters(exclude_characters="\0\n", exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_any_id_has_an_address(lasting: TestClient, doc_id: str) -> None:
    """Slashes, spaces, percent signs, dots, any script: stored, read and deleted under the same name."""
    if doc_id.strip("/").split("/")[-1] in (".", "..") or "/./" in f"/{doc_id}/" or "/../" in f"/{doc_id}/":
        return  # clients resolve these before they send
    assert lasting.post("/ingest", json={"documents": [{"id": doc_id, "text": "t"}]}).status_code == 200
    assert lasting.get(address(doc_id)).json()["id"] == doc_id
    assert lasting.delete(address(doc_id)).json() == {"deleted": 1}
    assert_problem(lasting.get(address(doc_id)), 404, "document-not-found")


def test_an_id_with_a_newline_is_never_taken_for_another(client: TestClient) -> None:
    """Such ids work in bodies; in an address they are refused, and the document without it is untouched."""
    client.post("/ingest", json={"documents": [{"id": "perl\n", "text": "another"}]})
    assert_problem(client.delete("/documents/perl%0A"), 404, "not-found")
    assert client.get("/documents/perl").status_code == 200
    assert client.post("/documents/delete", json={"ids": ["perl\n"]}).json() == {"deleted": 1}


def test_words_of_the_interface_are_ids_too(client: TestClient) -> None:
    """Documents called delete, count and scroll are read and deleted like others."""
    names = ["delete", "count", "scroll"]
    client.post("/ingest", json={"documents": [{"id": name, "text": name} for name in names]})
    for name in names:
        assert client.get(f"/documents/{name}").json()["id"] == name
        assert client.delete(f"/documents/{name}").status_code == 200


def test_a_patch_of_metadata_embeds_nothing(client: TestClient, embedder: Counting) -> None:
    """Objects are merged, null removes, text and vector stay."""
    before = client.get("/documents/perl?with_vector=true").json()
    answer = client.patch("/documents/perl", json={"metadata": {"words": None, "new": {"a": 1}}}).json()
    assert answer == {"id": "perl", "status": "updated", "truncated": False}
    client.patch("/documents/perl", json={"metadata": {"new": {"b": [2]}}})
    after = client.get("/documents/perl?with_vector=true").json()
    assert after == {**before, "metadata": {"name": "perl", "new": {"a": 1, "b": [2]}}}
    assert embedder.texts == []


def test_a_patch_of_the_text_embeds_it_again(client: TestClient, embedder: Counting) -> None:
    """Title and text are one: changing either gives a new vector, and a title can be taken away."""
    client.patch("/documents/perl", json={"text": "apples and pears"})
    assert ids(client.post("/search", json={"query": "apples and pears"}).json()["results"])[0] == "perl"
    client.patch("/documents/perl", json={"title": "Fruit"})
    client.patch("/documents/perl", json={"title": None})
    assert embedder.texts == ["apples and pears", "Fruit\napples and pears", "apples and pears"]
    answer = client.patch("/documents/perl", json={"text": "apples and pears"}).json()
    assert answer["status"] == "unchanged"
    assert client.get("/documents/perl").json()["metadata"]["name"] == "perl"


def test_a_patch_of_metadata_keeps_a_vector_of_the_users_own(tmp_path: Path) -> None:
    """Also without a model, where a new text is refused because nothing could embed it."""
    with running(tmp_path, model="none", dim=4) as client:
        client.post("/ingest", json={"documents": [{"id": "a", "text": "x", "vector": [3, 4, 0, 0]}]})
        assert client.patch("/documents/a", json={"metadata": {"k": 1}}).json()["status"] == "updated"
        answer = client.get("/documents/a?with_vector=true").json()
        assert answer["metadata"] == {"k": 1}
        assert answer["vector"] == pytest.approx([0.6, 0.8, 0, 0], abs=1e-6)
        assert_problem(client.patch("/documents/a", json={"text": "y"}), 422, "no-model")


def test_a_patch_of_metadata_leaves_a_document_without_text_in_its_place(lasting: TestClient) -> None:
    """Ingesting the document again finds its vector unchanged, whether or not the patch repeats the text."""
    document = {"id": "bare", "vector": [3.0] + [0.1] * 31}
    lasting.post("/ingest", json={"documents": [document]})
    rows = lasting.get("/stats").json()["rows"]
    changes: list[dict[str, Any]] = [{}, {"text": ""}, {"title": None}]
    for number, change in enumerate(changes):
        answer = lasting.patch("/documents/bare", json={"metadata": {"k": number}, **change})
        assert answer.json() == {"id": "bare", "status": "updated", "truncated": False}
        assert lasting.post("/documents/count", json={"filter": {"k": number}}).json() == {"count": 1}
    again = lasting.post("/ingest", json={"documents": [{**document, "metadata": {"k": 2}}]}).json()
    assert again["unchanged"] == 1
    assert lasting.get("/stats").json()["rows"] == rows


def test_a_new_text_replaces_a_vector_of_the_users_own(client: TestClient, embedder: Counting) -> None:
    """Where there is a model: from then on the document is one like others, and needs a text."""
    client.post("/ingest", json={"documents": [{"id": "own", "vector": [3.0] + [0.1] * 31}]})
    assert_problem(client.patch("/documents/own", json={"text": " "}), 422, "invalid-document")
    assert client.patch("/documents/own", json={"text": "apples and pears"}).json()["status"] == "updated"
    assert embedder.texts == ["apples and pears"]
    same = {"id": "own", "text": "apples and pears"}
    assert client.post("/ingest", json={"documents": [same]}).json()["unchanged"] == 1


def test_a_patch_notices_a_text_that_others_change(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    """A text that was read as unchanged and is another one at the commit is compared again."""
    store = client.app.state.service.store  # type: ignore[attr-defined]
    update, others = store.update_metadata, iter([{"id": "perl", "text": "apples"}])

    def late(doc_id: str, change: Any) -> Any:
        for document in others:
            client.post("/ingest", json={"documents": [document]})
        return update(doc_id, change)

    monkeypatch.setattr(store, "update_metadata", late)
    client.patch("/documents/perl", json={"text": TEXTS["perl"], "metadata": {"k": 1}})
    after = client.get("/documents/perl").json()
    assert (after["text"], after["metadata"]) == (TEXTS["perl"], {"k": 1})


def test_a_patch_that_cannot_be_is_refused(client: TestClient) -> None:
    """Unknown ids, unknown fields, a text of null or of nothing."""
    assert_problem(client.patch("/documents/nowhere", json={"text": "x"}), 404, "document-not-found")
    assert_problem(client.patch("/documents/perl", json={"colour": 1}), 422, "validation")
    assert_problem(client.patch("/documents/perl", json={"text": None}), 422, "validation")
    assert_problem(client.patch("/documents/perl", json={"text": " "}), 422, "invalid-document")


JSON = st.recursive(
    st.none() | st.integers(0, 3),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from("abc"), JSON), st.dictionaries(st.sampled_from("abc"), JSON))
def test_a_merge_patch_is_that_of_the_rfc(target: dict[str, Any], changes: dict[str, Any]) -> None:
    """The pseudo-code of RFC 7396, written again; and applying a patch twice is applying it once."""

    def by_the_rfc(target: Any, changes: Any) -> Any:
        if not isinstance(changes, dict):
            return changes
        result = dict(target) if isinstance(target, dict) else {}
        for name, value in changes.items():
            result.pop(name, None) if value is None else result.update({name: by_the_rfc(result.get(name), value)})
        return result

    merged = merge_patch(target, changes)
    assert merged == by_the_rfc(target, changes)
    assert merge_patch(merged, changes) == merged


def test_deleting_a_document_is_final(client: TestClient) -> None:
    """It is not found, not read, not deleted again."""
    assert client.delete("/documents/perl").json() == {"deleted": 1}
    assert_problem(client.delete("/documents/perl"), 404, "document-not-found")
    assert_problem(client.get("/documents/perl"), 404, "document-not-found")
    assert "perl" not in ids(client.post("/search", json={"query": "perl"}).json()["results"])


def test_deleting_by_ids_counts_those_that_were_there(client: TestClient) -> None:
    """Unknown and repeated ids are no error."""
    answer = client.post("/documents/delete", json={"ids": ["perl", "perl", "nowhere", "sort"]})
    assert answer.json() == {"deleted": 2}
    assert client.post("/documents/count", json={}).json() == {"count": len(TEXTS) - 2}


def test_deleting_by_filter_takes_what_matches(client: TestClient) -> None:
    """As many as were counted with the same filter; an empty filter is refused."""
    condition = {"filter": {"words": 5}}
    number = client.post("/documents/count", json=condition).json()["count"]
    assert number == sum(len(text.split()) == 5 for text in TEXTS.values())
    assert client.post("/documents/delete", json=condition).json() == {"deleted": number}
    assert client.post("/documents/count", json=condition).json() == {"count": 0}
    assert_problem(client.post("/documents/delete", json={"filter": {}}), 422, "validation")
    assert_problem(client.post("/documents/delete", json={}), 422, "validation")
    assert_problem(client.post("/documents/delete", json={"ids": [], "filter": condition["filter"]}), 422, "validation")


def test_too_many_ids_are_refused_with_both_numbers(client: TestClient) -> None:
    """The list of ids is bounded."""
    problem = assert_problem(client.post("/documents/delete", json={"ids": ["a"] * 10_001}), 422, "validation")
    assert "10000" in problem["detail"]
    assert "10001" in problem["detail"]


def test_scrolling_sees_every_document_once(client: TestClient) -> None:
    """Pages are in the order of ids, `next` is null at the end."""
    seen, after = [], None
    while True:
        page = client.post("/documents/scroll", json={"limit": 2, "after": after}).json()
        Page.model_validate(page)
        seen += ids(page["documents"])
        if (after := page["next"]) is None:
            break
    assert seen == sorted(TEXTS)


def test_scrolling_carries_what_was_asked_for(client: TestClient) -> None:
    """Filter, vectors, and members left out."""
    body = {"filter": {"name": "sort"}, "with_text": False, "with_metadata": False, "with_vector": True}
    (document,) = client.post("/documents/scroll", json=body).json()["documents"]
    assert set(document) == {"id", "vector"}
    problem = assert_problem(client.post("/documents/scroll", json={"limit": 5_000}), 422, "limit-exceeded")
    assert "1000" in problem["detail"]
    assert "5000" in problem["detail"]


BODIES = st.dictionaries(
    st.sampled_from(["ids", "filter", "limit", "after", "text", "title", "metadata", "with_vector", "typo"]),
    JSON | st.booleans() | st.text(max_size=3) | st.lists(st.text(max_size=3), max_size=2) | st.integers(),
    max_size=3,
)


@settings(max_examples=100)
@given(st.sampled_from(["POST delete", "POST count", "POST scroll", "PATCH some-id"]), BODIES)
def test_any_body_gets_a_clear_answer(lasting: TestClient, route: str, body: dict[str, Any]) -> None:
    """Never a 5xx, and every refusal is a problem."""
    method, path = route.split()
    answer = lasting.request(method, f"/documents/{path}", json=body)
    assert answer.status_code in (200, 404, 422)
    if answer.status_code != 200:
        assert answer.headers["content-type"] == "application/problem+json"
