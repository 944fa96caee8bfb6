"""POST /search."""

import base64
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.requests import SearchRequest
from app.search_responses import SearchResponse
from embedders import DIM, PREFIX_DIM, HashEmbedder
from index.codec import CODECS, Float32
from index.query import Query
from index.rerank import CHUNK
from index.store import Store
from service import TEXTS, BlockingEmbedder, assert_problem, fill, ids, running


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service that holds TEXTS; the tests of this module only read."""
    with running(tmp_path_factory.mktemp("search")) as client:
        fill(client)
        yield client


def search(client: TestClient, **body: Any) -> dict[str, Any]:
    """The answer to a search that succeeds, which has the documented shape."""
    response = client.post("/search", json=body)
    assert response.status_code == 200, response.text
    SearchResponse.model_validate(response.json())
    return response.json()


def cosines(query: str) -> dict[str, float]:
    """What the scores have to be, computed by hand."""
    embedder = HashEmbedder()
    return {
        name: float(embedder.embed_queries([text])[0] @ embedder.embed_queries([query])[0])
        for name, text in TEXTS.items()
    }


def test_a_text_finds_documents_by_cosine(client: TestClient) -> None:
    """Every document comes back in the order of its exact cosine, with text and metadata."""
    answer = search(client, query="sort a list")
    expected = cosines("sort a list")
    assert ids(answer["results"]) == sorted(expected, key=lambda name: -expected[name])
    for hit in answer["results"]:
        assert hit["score"] == pytest.approx(expected[hit["id"]], abs=1e-6)
        assert hit["text"] == TEXTS[hit["id"]]
        assert hit["metadata"]["name"] == hit["id"]
        assert "vector" not in hit
        assert "explain" not in hit


def test_the_answer_says_how_it_was_found(client: TestClient) -> None:
    """Stages, strategy, state of the index and where the time went are echoed."""
    answer = search(client, query="sort a list", limit=3, shortlist=3)
    assert answer["score_kind"] == "cosine"
    assert answer["funnel"] == {
        "stages": [[PREFIX_DIM, 3], [DIM, 3]],
        "shortlist_source": "request",
        "filter_strategy": "none",
        "exact": False,
        "target_recall": None,
        "recall_estimate": None,
        "recall_lower_90": None,
        "certified": False,
        "calibration_id": None,
    }
    assert answer["degraded"] is None
    assert answer["index"]["count"] == len(TEXTS)
    assert answer["index"]["fingerprint"] == HashEmbedder().space.fingerprint_id
    parts = {name: took for name, took in answer["timing_ms"].items() if name != "total"}
    assert all(took >= 0 for took in parts.values())
    assert sum(parts.values()) <= answer["timing_ms"]["total"] + 0.01


def test_a_proved_answer_says_so(client: TestClient) -> None:
    """The best text is so near that no text outside the shortlist can be nearer; it is the exact answer."""
    answer = search(client, query=TEXTS["sort"], limit=1, shortlist=2)
    found = {name: answer["funnel"][name] for name in ("exact", "certified", "recall_estimate", "recall_lower_90")}
    assert found == {"exact": False, "certified": True, "recall_estimate": 1.0, "recall_lower_90": 1.0}
    assert ids(answer["results"]) == ids(search(client, query=TEXTS["sort"], limit=1, exact=True)["results"])


def test_without_a_shortlist_the_default_is_named(tmp_path: Path) -> None:
    """It keeps to the service's bound; an index so small that it covers everything is scanned, and says so."""
    with running(tmp_path, max_shortlist=50) as client:
        fill(client)
        funnel = search(client, query="list")["funnel"]
        assert (funnel["shortlist_source"], funnel["stages"], funnel["exact"]) == ("default", [[DIM, 10]], True)
        documents = [{"id": f"n{number}", "text": f"number {number}"} for number in range(220)]
        client.post("/ingest", json={"documents": documents})
        funnel = search(client, query="list")["funnel"]
        assert (funnel["shortlist_source"], funnel["stages"]) == ("default", [[PREFIX_DIM, 50], [DIM, 10]])
        assert client.get("/readyz").status_code == 200


def test_several_queries_have_an_entry_each(client: TestClient) -> None:
    """Results, funnel and degraded become lists in the order of the queries, each equal to a single search."""
    answer = search(client, queries=["sort a list", "perl", "sort a list"], limit=2)
    assert len(answer["results"]) == len(answer["funnel"]) == len(answer["degraded"]) == 3
    for query, results, funnel in zip(
        ["sort a list", "perl", "sort a list"], answer["results"], answer["funnel"], strict=True
    ):
        alone = search(client, query=query, limit=2)
        assert ids(results) == ids(alone["results"])
        assert [hit["score"] for hit in results] == pytest.approx([h["score"] for h in alone["results"]], abs=1e-6)
        assert funnel == alone["funnel"]


def test_vectors_are_numbers_or_base64(client: TestClient) -> None:
    """Both forms of a vector, of any length, answer like the text they were made from."""
    vector = HashEmbedder().embed_queries(["parse a date"])[0]
    expected = search(client, query="parse a date")["results"]
    scaled = (vector * 7).astype("<f4")
    for form in ([float(number) for number in scaled], base64.b64encode(scaled.tobytes()).decode()):
        found = search(client, vector=form)["results"]
        assert ids(found) == ids(expected)
        assert found[0]["score"] == pytest.approx(expected[0]["score"], abs=1e-6)
    both = search(client, vectors=[vector.tolist(), base64.b64encode(scaled.tobytes()).decode()])
    assert ids(both["results"][0]) == ids(both["results"][1]) == ids(expected)


def test_more_like_a_document_leaves_it_out(client: TestClient) -> None:
    """`id` searches with the stored vector and never answers the document itself."""
    found = search(client, id="sort", limit=10)["results"]
    expected = cosines(TEXTS["sort"])
    assert ids(found) == sorted((n for n in expected if n != "sort"), key=lambda name: -expected[name])
    assert_problem(client.post("/search", json={"id": "nowhere"}), 404, "document-not-found")


def test_limit_offset_and_top_k_page_through(client: TestClient) -> None:
    """Pages put together are the whole order, and top_k is limit."""
    whole = ids(search(client, query="a list")["results"])
    pages = [ids(search(client, query="a list", top_k=2, offset=offset)["results"]) for offset in (0, 2, 4)]
    assert [*pages[0], *pages[1], *pages[2]] == whole


def test_a_threshold_cuts_low_scores(client: TestClient) -> None:
    """Only results with at least that score are answered."""
    scores = cosines("sort a list")
    found = ids(search(client, query="sort a list", score_threshold=0.5)["results"])
    assert set(found) == {name for name, score in scores.items() if score >= 0.5}


def test_a_filter_leaves_only_what_matches_and_is_exact_when_few_match(client: TestClient) -> None:
    """Law 6: hits are a subset of the matches; with at most `shortlist` matches they are the exact answer."""
    answer = search(client, query="a list", filter={"words": {"$lte": 5}, "name": {"$ne": "perl"}})
    expected = {n: s for n, s in cosines("a list").items() if len(TEXTS[n].split()) <= 5 and n != "perl"}
    assert ids(answer["results"]) == sorted(expected, key=lambda name: -expected[name])
    assert answer["funnel"]["exact"]
    assert answer["funnel"]["filter_strategy"] == "exact_subset"


@pytest.mark.parametrize(
    "plan", [{"shortlist": 5}, {"oversampling": 5}, {"stages": [[8, 5], [16, 5]]}, {"exact": True}]
)
def test_every_plan_that_covers_the_collection_is_exact(client: TestClient, plan: dict[str, Any]) -> None:
    """Law 1, over HTTP: same ids, scores within 1e-6."""
    answer = search(client, query="text of numbers", limit=1, **plan)
    expected = cosines("text of numbers")
    best = max(expected, key=lambda name: expected[name])
    assert ids(answer["results"]) == [best]
    assert answer["results"][0]["score"] == pytest.approx(expected[best], abs=1e-6)
    assert answer["funnel"]["exact"]
    assert answer["funnel"]["shortlist_source"] == "request"


def test_without_rescore_scores_are_those_of_the_prefix(client: TestClient) -> None:
    """score_kind says so, and the numbers are cosines of the re-normalised prefixes."""
    answer = search(client, query="sort a list", rescore=False)
    assert answer["score_kind"] == "cosine_prefix"
    embedder = HashEmbedder()
    query = embedder.embed_queries(["sort a list"])[0, :PREFIX_DIM]
    for hit in answer["results"]:
        prefix = embedder.embed_queries([TEXTS[hit["id"]]])[0, :PREFIX_DIM]
        cosine = query @ prefix / np.linalg.norm(query) / np.linalg.norm(prefix)
        assert hit["score"] == pytest.approx(float(cosine), abs=1e-5)


def test_explain_tells_both_ranks(client: TestClient) -> None:
    """Full ranks count the results, prefix ranks are those of a search without rescore."""
    explained = search(client, query="list of text", explain=True)["results"]
    order = ids(search(client, query="list of text", rescore=False)["results"])
    for rank, hit in enumerate(explained, start=1):
        assert hit["explain"]["full_rank"] == rank
        assert order[hit["explain"]["prefix_rank"] - 1] == hit["id"]


def test_explain_tells_what_the_answer_took(client: TestClient) -> None:
    """Candidates, comparisons, cold rows; nothing of it unless asked for."""
    asked = {"query": "list of text", "limit": 2, "shortlist": 3, "filter": {"words": {"$gte": 4}}}
    assert "explain" not in search(client, **asked)["funnel"]
    told = search(client, **asked, explain=True)["funnel"]["explain"]
    assert told.pop("cold_rows") in (0, None)
    matching = sum(len(text.split()) >= 4 for text in TEXTS.values())
    assert told == {
        "candidates": 3,
        "reranked": 3,
        "distances": {"prefix": len(TEXTS), "middle": 0, "full": 3},
        "corrections": 0,
        "matching": matching,
        "target_recall": None,
        "stop": None,
    }


def test_fewer_results_than_wanted_say_why(client: TestClient) -> None:
    """Each query in its own entry; null where there are as many as were wanted."""
    answer = search(client, query="list", limit=3)
    assert answer["fewer"] is None
    answer = search(client, query="list", limit=3, filter={"name": {"$in": ["list", "sort"]}})
    assert answer["fewer"] == {
        "reason": "filter",
        "matching": 2,
        "wanted": 3,
        "detail": f"2 documents of {len(TEXTS)} pass the filter; limit 3",
    }
    answer = search(client, queries=["sort a list in place", "nothing like it"], limit=1, score_threshold=0.99)
    assert [fewer and fewer["reason"] for fewer in answer["fewer"]] == [None, "score_threshold"]


def test_the_shape_of_explanations_is_documented(client: TestClient) -> None:
    """OpenAPI names every member."""
    shapes = client.get("/openapi.json").json()["components"]["schemas"]
    assert set(shapes["Fewer"]["properties"]) == {"reason", "matching", "wanted", "detail"}
    assert {"candidates", "reranked", "distances", "cold_rows", "corrections", "stop"} <= set(
        shapes["Work"]["properties"]
    )


def test_results_carry_what_was_asked_for(client: TestClient) -> None:
    """with_text, with_metadata and with_vector switch members on and off."""
    (hit,) = search(client, query="a", limit=1, with_text=False, with_metadata=False)["results"]
    assert set(hit) == {"id", "score"}
    (hit,) = search(client, id="perl", limit=1, with_vector=True)["results"]
    np.testing.assert_allclose(hit["vector"], HashEmbedder().embed_queries([TEXTS[hit["id"]]])[0], atol=1e-6)


REFUSED: list[tuple[dict[str, Any], str, list[str]]] = [
    ({}, "validation", ["exactly one of query, queries, vector, vectors, id", "got none"]),
    ({"query": "a", "id": "b"}, "validation", ["exactly one of", "got query and id"]),
    ({"query": ""}, "validation", ["/query", "at least 1"]),
    ({"query": 3}, "validation", ["/query"]),
    ({"queries": []}, "validation", ["/queries", "at least 1"]),
    ({"queries": ["a"] * 5}, "limit-exceeded", ["at most 4", "got 5"]),
    ({"query": "a", "limit": 0}, "validation", ["/limit", "1", "got 0"]),
    ({"query": "a", "limit": "3"}, "validation", ["/limit"]),
    ({"query": "a", "limit": True}, "validation", ["/limit"]),
    ({"query": "a", "limit": 3, "top_k": 3}, "validation", ["limit and top_k"]),
    ({"query": "a", "limit": 1001}, "invalid-plan", ["1000", "1001"]),
    ({"query": "a", "limit": 10, "offset": 991}, "invalid-plan", ["1000", "1001"]),
    ({"query": "a", "offset": -1}, "validation", ["/offset", "0", "got -1"]),
    ({"query": "a", "shortlist": 9}, "invalid-plan", ["10", "9"]),
    ({"query": "a", "oversampling": 0.5}, "validation", ["/oversampling", "1", "got 0.5"]),
    ({"query": "a", "shortlist": 20, "oversampling": 2}, "invalid-plan", ["shortlist and oversampling"]),
    ({"query": "a", "shortlist": 20, "stages": [[8, 20]]}, "invalid-plan", ["shortlist and stages"]),
    ({"query": "a", "stages": [[16, 20]]}, "invalid-plan", ["8", "16"]),
    ({"query": "a", "stages": [[8, 20, 3]]}, "validation", ["/stages/0", "at most 2", "3"]),
    ({"query": "a", "exact": True, "shortlist": 20}, "invalid-plan", ["exact"]),
    ({"query": "a", "exact": True, "rescore": False}, "invalid-plan", ["exact"]),
    ({"query": "a", "target_recall": 0}, "validation", ["/target_recall", "0", "got 0"]),
    ({"query": "a", "target_recall": 1.5}, "validation", ["/target_recall", "1", "got 1.5"]),
    ({"query": "a", "target_recall": 0.9, "shortlist": 20}, "invalid-plan", ["shortlist and target_recall"]),
    ({"query": "a", "target_recall": 0.9, "rescore": False}, "invalid-plan", ["target_recall and rescore=false"]),
    ({"query": "a", "confidence": 0.95}, "invalid-plan", ["confidence", "target_recall", "0.95"]),
    ({"query": "a", "target_recall": 0.9, "confidence": 1}, "validation", ["/confidence", "1", "got 1"]),
    ({"query": "a", "hybrid": {"weight": 1.5}}, "validation", ["/hybrid/weight", "1", "got 1.5"]),
    ({"query": "a", "hybrid": {"mode": "rrf"}}, "validation", ["/hybrid/mode", "unknown field"]),
    ({"query": "a", "hybrid": {"method": "rrf", "weight": 0.3}}, "validation", ["rrf", "0.3", "one of them"]),
    ({"vector": [1.0] * 32, "hybrid": {}}, "validation", ["hybrid needs words"]),
    ({"query": "a", "hybrid": {}, "rescore": False}, "invalid-plan", ["hybrid and rescore=false"]),
    ({"query": "a", "hybrid": {}, "limit": 1001}, "invalid-plan", ["1000", "1001"]),
    ({"query": "a", "hybrid": {}, "shortlist": 9}, "invalid-plan", ["10", "9"]),
    ({"query": "a", "shortlst": 20}, "validation", ["/shortlst", "unknown field"]),
    ({"query": "a", "filter": {"$foo": 1}}, "invalid-filter", ["$foo"]),
    ({"query": "a", "filter": []}, "validation", ["/filter"]),
    ({"query": "a", "timeout_ms": 0}, "validation", ["/timeout_ms", "0", "got 0"]),
    ({"vector": [1.0] * 31}, "invalid-vector", ["32", "31"]),
    ({"vector": [0.0] * 32}, "invalid-vector", ["zeros"]),
    ({"vector": [1e39] + [0.0] * 31}, "invalid-vector", ["Inf"]),
    ({"vector": "AAAA!"}, "validation", ["/vector", "base64"]),
    ({"vector": "AAAA"}, "validation", ["/vector", "multiple of 4", "got 3"]),
    ({"vector": ["1"] * 32}, "validation", ["/vector", "list of numbers"]),
    ({"vectors": [[1.0] * 32, [1.0] * 33]}, "invalid-vector", ["32", "33"]),
]


@pytest.mark.parametrize(("body", "slug", "parts"), REFUSED, ids=[json.dumps(r[0])[:50] for r in REFUSED])
def test_what_cannot_be_is_refused_with_both_numbers(
    small: TestClient, body: dict[str, Any], slug: str, parts: list[str]
) -> None:
    """A 422 that says what is wrong; nothing is clamped or ignored."""
    problem = assert_problem(small.post("/search", json=body), 422, slug)
    for part in parts:
        assert part in problem["detail"], problem


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service that takes at most 4 queries in a request."""
    with running(tmp_path_factory.mktemp("small"), max_queries=4) as client:
        fill(client)
        yield client


def test_hits_over_http_are_those_of_the_store(tmp_path: Path) -> None:
    """Law 7: the same directory answers the same ids, scores and documents with and without HTTP."""
    embedder = HashEmbedder()
    texts = [f"word{n % 7} word{n % 11} word{n % 13}" for n in range(200)]
    with running(tmp_path) as client:
        documents = [{"id": f"d{n}", "text": text, "metadata": {"n": n % 3}} for n, text in enumerate(texts)]
        client.post("/ingest", json={"documents": documents})
        plan = {"shortlist": 40, "filter": {"n": {"$in": [0, 2]}}, "limit": 20}
        over_http = search(client, query="word3 word5", **plan)["results"]
        data_dir = client.app.state.service.settings.data_dir
    with Store.open(data_dir, embedder.space) as store:
        (answer,) = store.search(embedder.embed_queries(["word3 word5"]), Query(**plan))
    assert [(hit.doc_id, hit.text, hit.metadata) for hit in answer.hits] == [
        (hit["id"], hit["text"], hit["metadata"]) for hit in over_http
    ]
    assert [hit.score for hit in answer.hits] == pytest.approx([hit["score"] for hit in over_http], abs=1e-6)


def test_a_hybrid_search_tells_the_rank_by_vectors_and_by_words(client: TestClient) -> None:
    """Of each hit; the document with the rare word is first, with RRF and with a weight; `text` replaces the words."""
    for fused, kind in (({}, "rrf"), ({"method": "rrf"}, "rrf"), ({"weight": 0.5}, "weighted")):
        answer = search(client, query="a network of lists", hybrid={**fused, "text": "socket"}, explain=True)
        first, *others = answer["results"]
        assert (answer["score_kind"], first["id"], first["hybrid"]["words_rank"]) == (kind, "socket", 1)
        assert all(hit["hybrid"]["words_rank"] is None and hit["hybrid"]["bm25"] is None for hit in others)
        assert sorted(hit["hybrid"]["vector_rank"] for hit in answer["results"]) == [1, 2, 3, 4, 5]
        assert answer["timing_ms"]["words"] > 0
    assert "hybrid" not in search(client, query="socket")["results"][0]


def test_a_hybrid_search_takes_many_queries_vectors_and_ids(client: TestClient) -> None:
    """Each query has its own words; a vector and an id share the text that comes with them."""
    answer = search(client, queries=["perl", "numbers"], hybrid={})
    assert [ids(found)[0] for found in answer["results"]] == ["perl", "list"]
    vectors = HashEmbedder().embed_queries(["sort", "date"]).tolist()
    answer = search(client, vectors=vectors, hybrid={"text": "socket", "weight": 1}, filter={"words": {"$gte": 1}})
    assert [ids(found)[0] for found in answer["results"]] == ["socket", "socket"]
    found = search(client, id="perl", hybrid={"text": "perl socket", "weight": 1})["results"]
    assert ids(found)[0] == "socket"
    assert "perl" not in ids(found)


def test_fields_of_later_versions_may_be_null(client: TestClient) -> None:
    """`hybrid: null` asks for nothing, so it is no error."""
    assert search(client, query="a", hybrid=None, target_recall=None)["results"]


def test_an_empty_index_answers_with_nothing(tmp_path: Path) -> None:
    """No documents is no error."""
    with running(tmp_path) as client:
        assert search(client, query="anything")["results"] == []
        assert search(client, queries=["a", "b"])["results"] == [[], []]


def test_vectors_of_another_width_need_no_model(tmp_path: Path) -> None:
    """With FUNNEL_MODEL=none vectors work and texts are a clear 422."""
    with running(tmp_path, model="none", dim=4, prefix_dim=2) as client:
        documents = [{"id": name, "vector": vector} for name, vector in (("x", [1, 0, 0, 0]), ("y", [0, 1, 0, 0]))]
        assert client.post("/ingest", json={"documents": documents}).json()["created"] == 2
        assert ids(search(client, vector=[0.1, 1, 0, 0])["results"]) == ["y", "x"]
        problem = assert_problem(client.post("/search", json={"query": "a"}), 422, "no-model")
        assert "4 numbers" in problem["detail"]
        assert "search.query" not in client.get("/info").json()["capabilities"]


def test_searches_are_answered_while_documents_are_embedded(tmp_path: Path) -> None:
    """A text is found while a batch of documents holds the model's other lane."""
    embedder = BlockingEmbedder()
    embedder.gate.set()
    with running(tmp_path, embedder) as client:
        fill(client)
        embedder.gate.clear()
        embedder.waiting.clear()
        new = {"documents": [{"id": "new", "text": "something new"}]}
        ingest = threading.Thread(target=client.post, args=("/ingest",), kwargs={"json": new})
        ingest.start()
        assert embedder.waiting.wait(10)
        started = time.perf_counter()
        assert len(search(client, query="something new")["results"]) == len(TEXTS)
        assert time.perf_counter() - started < 20  # the model's other lane is held for 30
        assert ingest.is_alive()
        embedder.gate.set()
        ingest.join(10)
        assert ids(search(client, query="something new", limit=1)["results"]) == ["new"]


def test_a_passed_deadline_is_a_timeout(client: TestClient) -> None:
    """When nothing could be answered in time the answer is a 504."""
    assert_problem(client.post("/search", json={"query": "a new text", "timeout_ms": 1e-6}), 504, "timeout")


@pytest.mark.parametrize(("grace", "status"), [(60, 200), (0, 504)])
def test_a_rerank_that_runs_into_the_deadline_hands_over_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, grace: float, status: int
) -> None:
    """A slow rerank stops at the deadline: 200 with what is scored by then, 504 when even that comes too late."""

    class Slow(Float32):
        """Rows on a disk that takes its time."""

        def scores(self, stored: np.ndarray, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
            """As ever, later."""
            time.sleep(2)
            return super().scores(stored, rows, query)

    vectors = np.random.default_rng(0).normal(size=(CHUNK + 500, 4)).astype(np.float32)
    documents = [{"id": f"d{i}", "vector": vector.tolist()} for i, vector in enumerate(vectors)]
    monkeypatch.setitem(CODECS, "float32", Slow)
    monkeypatch.setattr("app.search.GRACE", grace)
    with running(tmp_path, model="none", dim=4, prefix_dim=2) as client:
        assert client.post("/ingest", json={"documents": documents}).status_code == 200
        body = {"vector": vectors[0].tolist(), "shortlist": CHUNK + 100, "timeout_ms": 1_900}
        response = client.post("/search", json=body)
    if status == 504:
        assert_problem(response, 504, "timeout")
        return
    answer = SearchResponse.model_validate(response.json())
    assert response.json()["degraded"] == {"reason": "timeout", "stage": "rerank", "reranked": CHUNK}
    assert len(answer.results) == 10
    assert not response.json()["funnel"]["exact"]


def test_enough_time_changes_nothing(client: TestClient) -> None:
    """A deadline that is not reached leaves the answer whole."""
    assert search(client, query="list", timeout_ms=60_000)["degraded"] is None


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5)
    | st.sampled_from(["perl", "$gt", "a list", "AAAA"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["$and", "$gt", "$in", "$not", "name", "words"]), inner, max_size=2)
    ),
    max_leaves=5,
)
FIELDS = [*SearchRequest.model_fields, "typo"]


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(FIELDS), VALUES, max_size=3), st.booleans())
def test_any_body_gets_a_clear_answer(client: TestClient, body: dict[str, Any], question: bool) -> None:
    """Never a 5xx but a timeout that was asked for; every refusal is a problem."""
    if question:
        body = {"query": "perl", **body}
    response = client.post("/search", json=body)
    if response.status_code == 200:
        SearchResponse.model_validate(response.json())
    else:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.status_code in (404, 422) or (response.status_code == 504 and "timeout_ms" in body)
