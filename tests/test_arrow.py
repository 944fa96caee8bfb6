"""POST /ingest of Arrow record batches."""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from app.body import ARROW
from embedders import DIM
from index_cases import unit_vectors
from service import assert_problem, running

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed")

HEADERS = {"content-type": ARROW}
V = unit_vectors(40, DIM)


def fixed(vectors: np.ndarray) -> Any:
    """(n, dim) vectors as a column."""
    return pa.FixedSizeListArray.from_arrays(vectors.ravel(), vectors.shape[1])


def stream(*batches: Any, **options: Any) -> bytes:
    """Record batches as a body."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return bytes(sink.getvalue())


def rows(first: int, last: int, **columns: Any) -> Any:
    """A batch of documents first..last-1."""
    names = [f"d{n}" for n in range(first, last)]
    return pa.record_batch({"id": names, "vector": fixed(V[first:last]), **columns})


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """A service with a model, as documents without vectors need one."""
    with running(tmp_path_factory.mktemp("arrow")) as client:
        yield client


def ingest(client: TestClient, body: bytes, **query: Any) -> Any:
    """The answer to a body."""
    return client.post("/ingest", content=body, headers=HEADERS, params=query)


def vector_of(client: TestClient, name: str) -> np.ndarray:
    """A stored vector."""
    return np.array(client.get(f"/documents/{name}", params={"with_vector": True}).json()["vector"])


def test_rows_are_stored_with_their_vectors(client: TestClient) -> None:
    """All columns arrive, over several batches; the second time nothing has changed."""
    first = rows(0, 3, text=["a", None, "c"], title=["t", None, None], metadata=['{"n": 1}', None, '{"n": [2, "x"]}'])
    second = rows(3, 5, text=["", "e"], title=["u", "v"], metadata=["{}", '{"k": {"l": true}}'])
    second = second.cast(first.schema)
    answer = ingest(client, stream(first, second)).json()
    assert (answer["received"], answer["created"], answer["failed"]) == (5, 5, 0)
    assert ingest(client, stream(first, second)).json()["unchanged"] == 5
    document = client.get("/documents/d2").json()
    assert (document["text"], document["title"], document["metadata"]) == ("c", None, {"n": [2, "x"]})
    assert client.get("/documents/d4").json()["metadata"] == {"k": {"l": True}}
    for place in range(5):
        assert np.allclose(vector_of(client, f"d{place}"), V[place], atol=1e-6)


@pytest.mark.parametrize("kind", ["float16", "float32", "float64"])
def test_lists_of_any_float_and_structs_are_taken(client: TestClient, kind: str) -> None:
    """As other libraries write them; a null of a struct is an absent key."""
    lists = pa.array(list(V[:4].astype(kind)), type=pa.list_(pa.from_numpy_dtype(np.dtype(kind))))
    names = [f"{kind}-{n}" for n in range(4)]
    batch = pa.record_batch({"id": names, "vector": lists, "metadata": [{"a": 1, "b": None}, None, {"a": 2}, {}]})
    assert ingest(client, stream(batch.slice(1))).json()["created"] == 3
    assert np.allclose(vector_of(client, f"{kind}-2"), V[2], atol=1e-3)
    assert client.get(f"/documents/{kind}-2").json()["metadata"] == {"a": 2}


def test_a_row_without_a_vector_is_embedded(client: TestClient) -> None:
    """As in JSON."""
    column = pa.array([V[0].tolist(), None], type=pa.list_(pa.float32(), DIM))
    batch = pa.record_batch({"id": ["given", "made"], "text": ["parse a date", "parse a date"], "vector": column})
    assert ingest(client, stream(batch)).json()["created"] == 2
    assert not np.allclose(vector_of(client, "given"), vector_of(client, "made"), atol=1e-3)


def test_a_bad_row_fails_alone(client: TestClient) -> None:
    """By its number in the stream; both numbers are told of a wrong width."""
    wrong = [V[0], V[1][:5], np.full(DIM, np.nan), np.zeros(DIM), V[4], V[5], V[6], V[7]]
    lists = pa.array([row.tolist() for row in wrong], type=pa.list_(pa.float32()))
    metadata = [None, None, None, None, "[1]", "{", None, None]
    names = ["ok", "w", "n", "z", "m", "j", None, ""]
    batch = pa.record_batch({"id": names, "vector": lists, "metadata": metadata})
    answer = ingest(client, stream(batch))
    assert answer.status_code == 207
    failures = answer.json()["failures"]
    assert [failure["line"] for failure in failures] == [2, 3, 4, 5, 6, 7, 8]
    told = [failure["detail"] for failure in failures]
    for place, part in enumerate([f"expected {DIM} dimensions, got 5", "NaN", "zeros", "object", "JSON", "id", "id"]):
        assert part in told[place]


def test_nan_in_a_late_row_is_named_by_its_number(client: TestClient) -> None:
    """Across batches, and slices of them."""
    vectors = np.resize(V, (3_000, DIM)).astype(np.float32)
    vectors[2_500, 3] = np.nan
    parts = [
        pa.record_batch(
            {"id": [f"late{n}" for n in range(start, start + 1_500)], "vector": fixed(vectors[start:][:1_500])}
        )
        for start in (0, 1_500)
    ]
    answer = ingest(client, stream(*parts)).json()
    assert (answer["created"], [failure["line"] for failure in answer["failures"]]) == (2_999, [2_501])


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        ({"id": ["a"], "vector": [[1.0, 2.0]], "colour": ["red"]}, "unknown column 'colour'"),
        ({"text": ["a"]}, "no column 'id'"),
        ({"id": [1], "text": ["a"]}, "column 'id' holds texts, got int64"),
        ({"id": ["a"], "vector": ["AAAA"]}, "column 'vector' holds lists of floats, got string"),
        ({"id": ["a"], "text": ["a"], "metadata": [1]}, "JSON texts or structs"),
    ],
)
def test_columns_of_no_documents_are_refused(client: TestClient, columns: Any, told: str) -> None:
    """Before anything is stored."""
    response = ingest(client, stream(pa.record_batch(columns)))
    assert_problem(response, 422, "validation")
    assert told in response.json()["detail"]


def test_a_wrong_width_is_refused_with_both_numbers(client: TestClient) -> None:
    """Of the column, before any row is read."""
    response = ingest(client, stream(pa.record_batch({"id": ["a"], "vector": fixed(np.ones((1, 5), np.float32))})))
    assert_problem(response, 422, "validation")
    assert f"has 5 dimensions, expected {DIM}" in response.json()["detail"]


def damaged(body: bytes, at: int, value: bytes) -> bytes:
    """A body with other bytes at a place."""
    return body[:at] + value + body[at + len(value) :]


BODY = stream(rows(0, 8))
BATCH = 8 + struct.unpack_from("<i", BODY, 4)[0]  # where the record batch begins


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "it is empty"),
        (b'{"id": "a"}', "begins with ffffffff"),
        (b"ARROW1\0\0" + BODY, "Arrow file"),
        (BODY[: BATCH - 3], "the body ends after"),
        (damaged(BODY, 4, struct.pack("<i", 2**31 - 1)), "2147483647 bytes, the limit is 1048576"),
        (damaged(BODY, 4, struct.pack("<i", -1)), "-1 bytes"),
        (damaged(BODY, 8, b"\xff" * 4), "damaged"),
        (damaged(BODY, 12, b"\x7f" * (BATCH - 12)), ""),
        (BODY[BATCH:], "neither its first schema"),
        (BODY[:BATCH] + BODY, "neither its first schema"),
        (damaged(BODY, BATCH + 8, b"\xff" * 64), "damaged"),
        (stream(rows(0, 8), compression="zstd"), "compressed"),
        (stream(pa.record_batch({"id": pa.array(["a"]).dictionary_encode()})), "texts, got dictionary"),
    ],
)
def test_a_body_that_is_no_stream_is_refused(client: TestClient, body: bytes, told: str) -> None:
    """Whatever it is, with a problem and without a stored document."""
    before = client.get("/stats").json()["count"]
    response = ingest(client, body)
    assert response.status_code in (400, 422), response.text
    assert told in response.json()["detail"]
    assert client.get("/stats").json()["count"] == before


def test_a_declared_size_is_refused_before_it_is_read(client: TestClient) -> None:
    """With both numbers; nothing of that size is reserved."""
    at = BODY.index(struct.pack("<q", len(BODY) - 8 - BATCH - 8 - struct.unpack_from("<i", BODY, BATCH + 4)[0]), BATCH)
    response = ingest(client, damaged(BODY, at, struct.pack("<q", 1 << 50)))
    assert_problem(response, 413, "body-too-large")
    assert f"{1 << 50} bytes, the limit is {32 << 20}" in response.json()["detail"]


def test_what_came_before_the_damage_is_stored_and_counted(client: TestClient) -> None:
    """A body that ends in its second batch: the first is there."""
    body = stream(rows(20, 24), rows(24, 28))
    response = ingest(client, body[:-100])
    assert_problem(response, 400, "malformed-arrow")
    assert (response.json()["created"], response.json()["received"]) == (4, 4)
    assert client.get("/documents/d23").status_code == 200


def test_flipped_bytes_never_break_the_service(client: TestClient) -> None:
    """Every answer is one of the contract's, wherever the bytes are wrong."""
    random = np.random.default_rng(0)
    for _ in range(60):
        at = int(random.integers(0, len(BODY)))
        response = ingest(client, damaged(BODY, at, random.bytes(4)))
        assert response.status_code in (200, 207, 400, 413, 422), (at, response.text)


def test_atomic_is_for_json_only(client: TestClient) -> None:
    """A stream is stored as it arrives."""
    assert_problem(ingest(client, BODY, atomic=True), 422, "validation")


def test_a_service_without_a_model_names_rows_without_vectors(tmp_path: Path) -> None:
    """It cannot embed them."""
    with running(tmp_path, embedder=None, model="none", dim=DIM) as client:
        answer = ingest(client, stream(pa.record_batch({"id": ["a"], "text": ["b"]})))
        assert (answer.status_code, answer.json()["failures"][0]["type"]) == (422, "/problems/no-model")
