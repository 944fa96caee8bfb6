"""POST /ingest."""

import asyncio
import base64
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from app.embedder import Embedded
from app.responses import IngestResponse, Progress, Summary
from embedders import DIM, MAX_TOKENS, HashEmbedder
from index.errors import InvalidVector
from index.store import Store
from service import NDJSON, STREAMED, TEXTS, BlockingEmbedder, Exchange, assert_problem, fill, ids, running


def ndjson(*documents: Any) -> bytes:
    """One document a line; bytes are taken as they are."""
    return b"\n".join(d if isinstance(d, bytes) else json.dumps(d).encode() for d in documents)


def found(client: TestClient, query: str) -> list[str]:
    """The ids that a search finds, best first."""
    return ids(client.post("/search", json={"query": query}).json()["results"])


class Counting(HashEmbedder):
    """Remembers the sizes of its batches of documents."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def embed_documents(self, texts: Sequence[str]) -> Embedded:
        """As ever."""
        self.batches.append(len(texts))
        return super().embed_documents(texts)


@pytest.mark.parametrize("kind", ["json", "ndjson"])
def test_an_answered_document_is_searchable_and_stays(tmp_path: Path, kind: str) -> None:
    """Right after the answer it is found, and still after the service was stopped and started."""
    documents = [{"id": name, "text": text} for name, text in TEXTS.items()]
    with running(tmp_path) as client:
        if kind == "json":
            response = client.post("/ingest", json={"documents": documents})
        else:
            response = client.post("/ingest", content=ndjson(*documents), headers=NDJSON)
        assert response.status_code == 200
        answer = IngestResponse.model_validate(response.json())
        assert (answer.received, answer.created, answer.failed) == (5, 5, 0)
        before = found(client, "parse a date")
        assert before[0] == "date"
    with running(tmp_path) as client:
        assert found(client, "parse a date") == before


def test_what_has_not_changed_is_not_embedded_again(tmp_path: Path) -> None:
    """The second ingest of the same documents embeds none, one of other metadata neither, a new text one."""
    embedder = Counting()
    with running(tmp_path, embedder) as client:
        fill(client)
        assert embedder.batches == [5]
        fill(client)
        documents = [{"id": "perl", "text": TEXTS["perl"], "metadata": {"new": 1}}, {"id": "sort", "text": "other"}]
        answer = client.post("/ingest", json={"documents": documents}).json()
        assert (answer["updated"], answer["unchanged"]) == (2, 0)
        assert embedder.batches == [5, 1]
        again = client.post("/ingest", json={"documents": documents}).json()
        assert again["unchanged"] == 2


def test_a_bad_document_fails_alone(tmp_path: Path) -> None:
    """The answer is 207, names each failure with place, id, type and pointer, and the good ones are stored."""
    bad = [
        {"id": "", "text": "x"},
        {"text": "x"},
        {"id": "n", "text": 3},
        {"id": "u", "text": "x", "colour": 1},
        {"id": "e", "text": "  "},
        {"id": "v", "text": "x", "vector": [1, 2]},
        {"id": "z", "vector": [0] * DIM},
        "no object",
    ]
    with running(tmp_path) as client:
        response = client.post("/ingest", json={"documents": [*bad, {"id": "good", "text": "a good one"}]})
        assert response.status_code == 207
        answer = response.json()
        assert (answer["created"], answer["failed"]) == (1, len(bad))
        assert [failure["index"] for failure in answer["failures"]] == list(range(len(bad)))
        assert [failure["pointer"] for failure in answer["failures"]] == [
            "/documents/0",
            "/documents/1/id",
            "/documents/2/text",
            "/documents/3/colour",
            "/documents/4",
            "/documents/5",
            "/documents/6",
            "/documents/7",
        ]
        assert "32" in answer["failures"][5]["detail"]
        assert "2" in answer["failures"][5]["detail"]
        assert found(client, "a good one") == ["good"]


def test_bad_lines_fail_alone_and_are_named_by_number(tmp_path: Path) -> None:
    """Not JSON, not UTF-8, NaN, too deep, too long: the lines around them are stored."""
    lines = [
        {"id": "a", "text": "first"},
        b"not json",
        b'{"id": "u", "text": "\xff"}',
        b'{"id": "n", "text": "x", "metadata": {"a": NaN}}',
        b'{"id": "d", "text": "x", "metadata": {"a": ' + b"[" * 5_000 + b"]" * 5_000 + b"}}",
        b'{"id": "i", "text": "x", "metadata": {"a": 1e999}}',
        b'{"id": "s", "text": "\\ud800"}',
        b'{"id": "l", "text": "' + b"x" * 20_000 + b'"}',
        b"",
        {"id": "b", "text": "last"},
    ]
    with running(tmp_path, max_document_bytes=16_000) as client:
        response = client.post("/ingest", content=ndjson(*lines), headers=NDJSON)
        assert response.status_code == 207
        answer = response.json()
        assert (answer["received"], answer["created"], answer["failed"]) == (9, 2, 7)
        assert sorted(failure["line"] for failure in answer["failures"]) == [2, 3, 4, 5, 6, 7, 8]
        types = {failure["line"]: failure["type"] for failure in answer["failures"]}
        assert types[2] == "/problems/malformed-json"
        assert types[8] == "/problems/body-too-large"
        assert sorted(found(client, "first last")) == ["a", "b"]


def test_when_nothing_is_stored_the_answer_is_a_problem(tmp_path: Path) -> None:
    """All documents bad: 422 with the counts and failures."""
    with running(tmp_path) as client:
        body = assert_problem(client.post("/ingest", json={"documents": [{"id": "a"}]}), 422, "none-stored")
        assert body["failed"] == 1
        assert body["failures"][0]["id"] == "a"
        assert_problem(client.post("/ingest", content=b"x\ny", headers=NDJSON), 422, "none-stored")


def test_the_list_of_failures_is_bounded(tmp_path: Path) -> None:
    """Of 10,000 bad lines 1,000 are listed and the others counted."""
    with running(tmp_path) as client:
        response = client.post("/ingest", content=b"bad\n" * 10_000 + ndjson({"id": "a", "text": "b"}), headers=NDJSON)
        answer = response.json()
        assert response.status_code == 207
        assert len(answer["failures"]) == 1_000
        assert (answer["failed"], answer["failures_omitted"], answer["created"]) == (10_000, 9_000, 1)


def test_the_last_document_of_an_id_wins(tmp_path: Path) -> None:
    """Earlier ones of the same request are superseded, whatever the form of the body."""
    documents = [{"id": "a", "text": "one"}, {"id": "b", "text": "two"}, {"id": "a", "text": "three"}]
    with running(tmp_path) as client:
        answer = client.post("/ingest", json={"documents": documents}).json()
        assert (answer["received"], answer["created"], answer["superseded"]) == (3, 2, 1)
        assert client.get("/documents/a").json()["text"] == "three"
        lines = ndjson({"id": "a", "text": "four"}, {"id": "a", "text": "five"})
        answer = client.post("/ingest", content=lines, headers=NDJSON).json()
        assert (answer["received"], answer["updated"], answer["superseded"]) == (2, 1, 1)
        assert client.get("/documents/a").json()["text"] == "five"


def test_modes_refuse_what_they_should(tmp_path: Path) -> None:
    """insert_only keeps what is stored, update_only makes nothing new; another mode is no mode."""
    both = {"documents": [{"id": "perl", "text": "new"}, {"id": "x", "text": "new"}]}
    with running(tmp_path) as client:
        fill(client)
        answer = client.post("/ingest?mode=insert_only", json=both).json()
        assert (answer["created"], answer["failed"]) == (1, 1)
        assert answer["failures"][0]["type"] == "/problems/document-exists"
        assert client.get("/documents/perl").json()["text"] == TEXTS["perl"]
        both["documents"][1]["id"] = "y"
        answer = client.post("/ingest?mode=update_only", json=both).json()
        assert (answer["updated"], answer["failed"]) == (1, 1)
        assert answer["failures"][0]["type"] == "/problems/document-not-found"
        problem = assert_problem(client.post("/ingest?mode=replace", json=both), 422, "validation")
        assert problem["errors"][0]["parameter"] == "mode"


def test_atomic_stores_all_or_nothing(tmp_path: Path) -> None:
    """One bad document, or one that the mode refuses, keeps out all; streams cannot be atomic."""
    good = {"id": "new", "text": "new"}
    with running(tmp_path) as client:
        fill(client)
        refused = client.post("/ingest?atomic=true", json={"documents": [good, {"id": ""}]})
        assert assert_problem(refused, 422, "none-stored")["failed"] == 1
        taken = {"documents": [good, {"id": "perl", "text": "other"}]}
        assert_problem(client.post("/ingest?atomic=true&mode=insert_only", json=taken), 409, "document-exists")
        assert_problem(client.post("/ingest?atomic=true&mode=update_only", json=taken), 404, "document-not-found")
        assert client.post("/documents/count", json={}).json() == {"count": len(TEXTS)}
        answer = client.post("/ingest?atomic=true", json=taken).json()
        assert (answer["created"], answer["updated"]) == (1, 1)
        stream = client.post("/ingest?atomic=true", content=ndjson(good), headers=NDJSON)
        assert assert_problem(stream, 422, "validation")["errors"][0]["parameter"] == "atomic"


def test_cut_texts_are_counted(tmp_path: Path) -> None:
    """A text that the model does not read to its end is stored and counted as truncated."""
    long = " ".join(f"word{i}" for i in range(MAX_TOKENS + 1))
    with running(tmp_path) as client:
        answer = client.post("/ingest", json={"documents": [{"id": "l", "text": long}, {"id": "s", "text": "s"}]})
        assert answer.json()["truncated"] == 1


def test_documents_bring_vectors_of_their_own(tmp_path: Path) -> None:
    """As numbers or base64, with or without a text, beside documents that the model embeds."""
    vector = HashEmbedder().embed_queries(["apples"])[0]
    encoded = base64.b64encode(vector.astype("<f4").tobytes()).decode()
    documents = [
        {"id": "numbers", "text": "unrelated", "vector": vector.tolist()},
        {"id": "base64", "vector": encoded},
        {"id": "text", "text": "pears"},
    ]
    with running(tmp_path) as client:
        assert client.post("/ingest", json={"documents": documents}).json()["created"] == 3
        results = client.post("/search", json={"query": "apples", "with_vector": True}).json()["results"]
        assert sorted(ids(results)[:2]) == ["base64", "numbers"]
        np.testing.assert_allclose(results[0]["vector"], vector, atol=1e-6)


def test_without_a_model_documents_need_vectors(tmp_path: Path) -> None:
    """Each document without one fails with a pointer and the width that is needed."""
    with running(tmp_path, model="none", dim=4) as client:
        documents = [{"id": "a", "text": "x"}, {"id": "b", "vector": [1, 2, 3, 4]}]
        answer = client.post("/ingest", json={"documents": documents}).json()
        assert (answer["created"], answer["failed"]) == (1, 1)
        assert answer["failures"][0]["type"] == "/problems/no-model"
        assert answer["failures"][0]["pointer"] == "/documents/0/vector"
        assert "4 numbers" in answer["failures"][0]["detail"]


def test_another_fingerprint_is_refused(tmp_path: Path) -> None:
    """Who says which space the vectors are from gets a 409 when the index has another one."""
    with running(tmp_path) as client:
        own = client.get("/info").json()["fingerprint"]
        body = {"documents": [{"id": "a", "text": "b"}]}
        assert client.post(f"/ingest?fingerprint={own}", json=body).status_code == 200
        problem = assert_problem(client.post("/ingest?fingerprint=other", json=body), 409, "fingerprint-mismatch")
        assert own in problem["detail"]


def test_empty_bodies_are_answered_for_what_they_are(tmp_path: Path) -> None:
    """No documents is a success that says so; no JSON at all is an error."""
    with running(tmp_path) as client:
        assert client.post("/ingest", json={"documents": []}).json()["received"] == 0
        assert client.post("/ingest", content=b"\n \n", headers=NDJSON).json()["received"] == 0
        empty = client.post("/ingest", content=b"", headers={"content-type": "application/json"})
        assert "empty" in assert_problem(empty, 400, "malformed-json")["detail"]
        assert_problem(client.post("/ingest", json=[]), 422, "validation")
        assert_problem(client.post("/ingest", json={"documents": [], "mode": "upsert"}), 422, "validation")
        assert_problem(client.post("/ingest", data={"a": "b"}), 415, "unsupported-media-type")


def test_a_json_body_over_the_limit_is_sent_to_ndjson(tmp_path: Path) -> None:
    """413 names the limit and the way around it, also when no length was declared."""
    with running(tmp_path, max_body_bytes=2_000) as client:
        documents = [{"id": f"{i}", "text": "x" * 90} for i in range(30)]
        problem = assert_problem(client.post("/ingest", json={"documents": documents}), 413, "body-too-large")
        assert problem["limit"] == 2_000
        assert "application/x-ndjson" in problem["detail"]
        body = json.dumps({"documents": documents}).encode()
        chunks = (body[start : start + 500] for start in range(0, len(body), 500))
        chunked = client.post("/ingest", content=chunks, headers={"content-type": "application/json"})
        assert_problem(chunked, 413, "body-too-large")
        answer = client.post("/ingest", content=ndjson(*documents), headers=NDJSON)
        assert answer.json()["created"] == 30


def test_progress_is_streamed_and_ends_with_a_summary(tmp_path: Path) -> None:
    """Each progress line has counts that never fall; the summary has the status and all counts."""
    lines = [{"id": f"d{i}", "text": f"text {i}"} for i in range(700)]
    with running(tmp_path) as client:
        response = client.post("/ingest", content=ndjson(*lines, b"bad"), headers=STREAMED)
        assert response.status_code == 200
        assert response.headers["content-type"] == "application/x-ndjson"
        *progress, summary = [json.loads(line) for line in response.text.splitlines()]
        last = 0
        for line in progress:
            parsed = Progress.model_validate(line)
            assert parsed.created >= last
            last = parsed.created
        parsed = Summary.model_validate(summary)
        assert (parsed.status, parsed.created, parsed.failed, parsed.processed) == (207, 700, 1, 701)
        everything_bad = client.post("/ingest", content=b"bad", headers=STREAMED).json()
        assert everything_bad["status"] == 422
        assert everything_bad["problem"]["type"] == "/problems/none-stored"


def test_progress_comes_while_the_body_is_still_arriving(tmp_path: Path) -> None:
    """A line about the first documents is sent before the last ones are there, and they are searchable then."""
    with running(tmp_path, batch_size=1) as client:
        seen: list[list[str]] = []

        async def body() -> AsyncIterator[bytes]:
            yield b'{"id": "first", "text": "first"}\n'
            while not exchange.sent:
                await asyncio.sleep(0.01)
            seen.append(await asyncio.to_thread(found, client, "first"))
            yield b'{"id": "second", "text": "second"}\n'

        exchange = Exchange(client, body(), STREAMED)
        exchange.run()
        *progress, summary = [json.loads(line) for line in exchange.text.splitlines()]
        assert seen == [["first"]]
        assert progress[0] == {**progress[0], "processed": 1, "created": 1}
        assert (summary["type"], summary["created"]) == ("summary", 2)


def test_a_client_that_does_not_read_does_not_stall_its_own_body(tmp_path: Path) -> None:
    """While a progress line cannot be sent the body is still read and committed, to its end."""

    class Unread(Exchange):
        """The first line is not taken before the body has ended."""

        async def _send(self, message: dict[str, Any]) -> None:
            while not finished.is_set():
                await asyncio.sleep(0.01)
            await super()._send(message)

    finished = threading.Event()

    async def body() -> AsyncIterator[bytes]:
        for number in range(300):
            yield ndjson({"id": f"d{number}", "text": f"text {number}"}) + b"\n"
        finished.set()

    with running(tmp_path, batch_size=8) as client:
        exchange = Unread(client, body(), STREAMED)
        exchange.run()
        assert json.loads(exchange.text.splitlines()[-1])["created"] == 300


@pytest.mark.parametrize("headers", [NDJSON, STREAMED])
def test_a_client_that_leaves_keeps_what_was_committed(tmp_path: Path, headers: dict[str, str]) -> None:
    """The stream is cut in a line: committed lines stay, that line is dropped, nothing keeps running."""

    async def body() -> AsyncIterator[bytes]:
        yield b'{"id": "a", "text": "first"}\n{"id": "b", "text": "seco'
        while "a" not in await asyncio.to_thread(found, client, "first"):
            await asyncio.sleep(0.01)

    with running(tmp_path) as client:
        threads = threading.active_count()
        exchange = Exchange(client, body(), headers, leaves=True)
        exchange.run()
        assert "summary" not in exchange.text
        assert found(client, "first second") == ["a"]
        assert client.get("/stats").json()["waiting"] == {
            "query": 0,
            "document": 0,
            "search": 0,
            "store": 0,
            "write": 0,
            "ingest": 0,
        }
        assert threading.active_count() <= threads + 8  # the pools have filled, and nothing was added beside them
        fill(client)


def test_a_client_that_leaves_after_its_body_ends_the_work(tmp_path: Path) -> None:
    """Of 600 documents that were all sent no further batch is embedded, and the place is free again."""

    class Leaving(Exchange):
        async def _left(self) -> None:
            assert await asyncio.to_thread(embedder.waiting.wait, 10)

    class Blocking(BlockingEmbedder):
        embedded = 0

        def embed_documents(self, texts: Sequence[str]) -> Embedded:
            self.embedded += len(texts)
            return super().embed_documents(texts)

    async def body() -> AsyncIterator[bytes]:
        yield ndjson(*({"id": f"d{i}", "text": f"text {i}"} for i in range(600)))

    embedder = Blocking()
    with running(tmp_path, embedder) as client:
        exchange = Leaving(client, body(), STREAMED)
        exchange.run()
        assert not embedder.gate.is_set()
        assert "summary" not in exchange.text
        assert client.get("/stats").json()["waiting"]["ingest"] == 0
        counted = client.get("/metrics").text
        embedder.gate.set()
    assert embedder.embedded <= 256
    assert 'route="/ingest",status="499"} 1.0' in counted, "who goes away is no failure of ours"
    assert 'status="500"' not in counted


def test_a_client_that_takes_no_lines_ends_the_work(tmp_path: Path) -> None:
    """A server that says so when it sends is believed too."""

    class Broken(Exchange):
        async def _send(self, message: dict[str, Any]) -> None:
            raise OSError("the connection is gone")

    async def body() -> AsyncIterator[bytes]:
        yield ndjson({"id": "a", "text": "first"}) + b"\n"
        await asyncio.Event().wait()

    with running(tmp_path) as client:
        Broken(client, body(), STREAMED).run()
        assert found(client, "first") == ["a"]


def test_a_line_is_sent_while_the_first_batch_takes_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The body is there and nothing is committed: lines that count what was received come all the same."""
    monkeypatch.setattr("app.progress.HEARTBEAT", 0.05)

    class Opening(Exchange):
        """The model goes on when the third line was sent."""

        async def _send(self, message: dict[str, Any]) -> None:
            await super()._send(message)
            if len(self.sent) > 3:
                embedder.gate.set()

    async def body() -> AsyncIterator[bytes]:
        yield ndjson({"id": "a", "text": "first"})

    embedder = BlockingEmbedder()
    with running(tmp_path, embedder) as client:
        exchange = Opening(client, body(), STREAMED)
        exchange.run()
    *progress, summary = [json.loads(line) for line in exchange.text.splitlines()]
    for line in progress[:2]:
        assert Progress.model_validate(line).created == 0
        assert (line["received"], line["processed"]) == (1, 0)
    assert Summary.model_validate(summary).created == 1


def test_an_error_after_the_first_line_is_told_in_the_summary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An atomic ingest that is refused late ends with a summary that has the problem."""
    monkeypatch.setattr("app.progress.HEARTBEAT", 0.05)

    class Opening(Exchange):
        async def _send(self, message: dict[str, Any]) -> None:
            await super()._send(message)
            embedder.gate.set()

    class Failing(BlockingEmbedder):
        def embed_documents(self, texts: Sequence[str]) -> Embedded:
            super().embed_documents(texts)
            raise InvalidVector("the model gives zeros")

    async def body() -> AsyncIterator[bytes]:
        yield json.dumps({"documents": [{"id": "a", "text": "first"}]}).encode()

    embedder = Failing()
    with running(tmp_path, embedder) as client:
        headers = {"content-type": "application/json", "accept": "application/x-ndjson"}
        exchange = Opening(client, body(), headers, query=b"atomic=true")
        exchange.run()
        summary = Summary.model_validate(json.loads(exchange.text.splitlines()[-1]))
        assert summary.status == 422
        assert summary.problem is not None
        assert summary.problem["type"] == "/problems/invalid-vector"


@pytest.mark.parametrize("headers", [NDJSON, STREAMED])
def test_a_body_that_stalls_gives_its_place_back(tmp_path: Path, headers: dict[str, str]) -> None:
    """After the idle time: a 408 with what is stored, which are the lines that came whole, and a free place."""

    async def body() -> AsyncIterator[bytes]:
        yield b'{"id": "a", "text": "first"}\nbad\n{"id": "b", "text": "seco'
        await asyncio.Event().wait()

    with running(tmp_path, upload_idle_seconds=0.3, ingest_queue=1) as client:
        exchange = Exchange(client, body(), headers)
        exchange.run()
        answer = json.loads(exchange.text.splitlines()[-1])
        assert answer["status"] == 408
        assert answer.get("problem", answer)["type"] == "/problems/upload-stalled"
        assert "0.3 seconds" in answer.get("problem", answer)["detail"]
        assert (answer["received"], answer["created"], answer["failed"]) == (2, 1, 1)
        assert found(client, "first second") == ["a"]
        fill(client)


def test_a_json_body_that_stalls_is_answered_too(tmp_path: Path) -> None:
    """A 408, and nothing is stored."""

    async def body() -> AsyncIterator[bytes]:
        yield b'{"documents": [{"id": "a", '
        await asyncio.Event().wait()

    with running(tmp_path, upload_idle_seconds=0.3, ingest_queue=1) as client:
        exchange = Exchange(client, body(), {"content-type": "application/json"})
        exchange.run()
        assert exchange.sent[0]["status"] == 408
        assert json.loads(exchange.text)["type"] == "/problems/upload-stalled"
        fill(client)


@pytest.mark.parametrize("kind", ["application/json", "application/x-ndjson"])
def test_a_compressed_body_is_refused_as_such(tmp_path: Path, kind: str) -> None:
    """415 names the encoding; its bytes are not taken for lines. "identity" is no encoding."""
    body = json.dumps({"documents": []}) if kind == "application/json" else ndjson({"id": "a", "text": "b"})
    with running(tmp_path) as client:
        headers = {"content-type": kind, "content-encoding": "gzip"}
        problem = assert_problem(client.post("/ingest", content=body, headers=headers), 415, "unsupported-media-type")
        assert "gzip" in problem["detail"]
        headers["content-encoding"] = "identity"
        assert client.post("/ingest", content=body, headers=headers).status_code == 200


def test_more_ingests_than_allowed_are_told_to_come_back(tmp_path: Path) -> None:
    """A 503 with Retry-After while all places are taken, and success afterwards."""
    embedder = BlockingEmbedder()
    with running(tmp_path, embedder, ingest_queue=1) as client:
        body = {"documents": [{"id": "a", "text": "b"}]}
        first = threading.Thread(target=client.post, args=("/ingest",), kwargs={"json": body})
        first.start()
        assert embedder.waiting.wait(10)
        refused = client.post("/ingest", json=body)
        assert_problem(refused, 503, "queue-full")
        assert int(refused.headers["retry-after"]) >= 1
        embedder.gate.set()
        first.join(10)
        assert client.post("/ingest", json=body).json()["unchanged"] == 1


def test_a_document_that_changes_while_it_is_embedded_is_embedded_again(tmp_path: Path) -> None:
    """Another ingest changes it between look and write: the slower one still wins with its own vector."""
    embedder = BlockingEmbedder()
    embedder.gate.set()
    own = {"id": "a", "text": "apples"}
    with running(tmp_path, embedder) as client:
        client.post("/ingest", json={"documents": [own]})
        embedder.gate.clear()
        embedder.waiting.clear()
        slow = {"documents": [own, {"id": "b", "text": "pears"}]}  # a is unchanged now, b has to be embedded
        thread = threading.Thread(target=client.post, args=("/ingest",), kwargs={"json": slow})
        thread.start()
        assert embedder.waiting.wait(10)
        vector = HashEmbedder().embed_queries(["cherries"])[0].tolist()
        client.post("/ingest", json={"documents": [{"id": "a", "text": "cherries", "vector": vector}]})
        embedder.gate.set()
        thread.join(10)
        assert client.get("/documents/a").json()["text"] == "apples"
        assert found(client, "apples")[0] == "a"


def test_large_batches_reach_the_model(tmp_path: Path) -> None:
    """Documents that arrive faster than they are embedded come in batches of 256."""
    embedder = Counting()
    lines = [{"id": f"d{i}", "text": f"text {i}"} for i in range(2_000)]
    with running(tmp_path, embedder) as client:
        assert client.post("/ingest", content=ndjson(*lines), headers=NDJSON).json()["created"] == 2_000
    assert sum(embedder.batches) == 2_000
    assert sorted(embedder.batches)[len(embedder.batches) // 2] == 256


def test_embedding_and_commits_overlap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The next batch of a stream is embedded while the one before it is committed."""
    inside, together = set[str](), []

    def noted(name: str, other: str, work: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            inside.add(name)
            time.sleep(0.02)
            together.append(other in inside)
            inside.discard(name)
            return work(*arguments, **options)

        return wrapped

    embedder = HashEmbedder()
    monkeypatch.setattr(embedder, "embed_documents", noted("embedding", "commit", embedder.embed_documents))
    monkeypatch.setattr(Store, "write", noted("commit", "embedding", Store.write))
    lines = [{"id": f"d{i}", "text": "text"} for i in range(256 * 20)]
    with running(tmp_path, embedder) as client:
        client.post("/ingest", content=ndjson(*lines), headers=NDJSON)
    assert any(together)


DOCUMENTS = st.dictionaries(
    st.sampled_from(["id", "text", "title", "metadata", "vector", "typo"]),
    st.none()
    | st.integers()
    | st.text(max_size=4)
    | st.sampled_from(["a", "b", "AAAA"])
    | st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=3)
    | st.dictionaries(st.text(max_size=2), st.none() | st.integers() | st.text(max_size=3), max_size=2),
    max_size=4,
)


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A service that gets whatever Hypothesis thinks of."""
    with running(tmp_path_factory.mktemp("fuzz")) as client:
        yield client


@settings(max_examples=100)
@given(st.lists(DOCUMENTS | st.binary(max_size=20), max_size=4), st.booleans())
def test_any_stream_gets_a_clear_answer(target: TestClient, lines: list[Any], streamed: bool) -> None:
    """Never a 5xx; the counts add up to what was received."""
    response = target.post("/ingest", content=ndjson(*lines), headers=STREAMED if streamed else NDJSON)
    assert response.status_code in (200, 207, 422)
    answer = json.loads(response.content.rstrip(b"\n").rpartition(b"\n")[2])  # str.splitlines knows other ends too
    outcomes = ("created", "updated", "unchanged", "failed", "superseded")
    assert answer["received"] == sum(answer[name] for name in outcomes)


@settings(max_examples=50)
@given(st.binary(max_size=60) | DOCUMENTS.map(lambda d: json.dumps({"documents": [d]}).encode()))
def test_any_json_body_gets_a_clear_answer(target: TestClient, body: bytes) -> None:
    """Never a 5xx, and every refusal is a problem."""
    response = target.post("/ingest", content=body, headers={"content-type": "application/json"})
    assert response.status_code in (200, 207, 400, 422)
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"


class Fussy(HashEmbedder):
    """Has no vector for a text with "???" in it."""

    def embed_documents(self, texts: Sequence[str]) -> Embedded:
        """As ever, or InvalidVector for the whole batch."""
        if any("???" in text for text in texts):
            raise InvalidVector("the model gives zeros")
        return super().embed_documents(texts)


def test_a_text_that_the_model_cannot_embed_fails_alone(tmp_path: Path) -> None:
    """Its batch is stored without it; an atomic request stores nothing."""
    documents = [{"id": f"d{i}", "text": "???" if i in (3, 17) else f"text {i}"} for i in range(30)]
    with running(tmp_path, Fussy()) as client:
        refused = client.post("/ingest?atomic=true", json={"documents": documents})
        assert_problem(refused, 422, "invalid-vector")
        assert client.post("/documents/count", json={}).json() == {"count": 0}
        answer = client.post("/ingest", json={"documents": documents}).json()
        assert (answer["created"], answer["failed"]) == (28, 2)
        assert [failure["id"] for failure in answer["failures"]] == ["d3", "d17"]
        assert {failure["type"] for failure in answer["failures"]} == {"/problems/invalid-vector"}
        streamed = client.post("/ingest", content=ndjson(documents[3]), headers=STREAMED).text
        only = json.loads(streamed.splitlines()[-1])  # there may be progress before it
        assert (only["status"], only["processed"], only["failed"]) == (422, 1, 1)


@pytest.mark.parametrize("headers", [NDJSON, STREAMED])
def test_a_store_that_stops_taking_writes_ends_the_ingest_with_its_counts(
    tmp_path: Path, headers: dict[str, str]
) -> None:
    """503 in the answer or in the summary, with what was stored before."""

    async def body() -> AsyncIterator[bytes]:
        yield b'{"id": "a", "text": "first"}\n'
        while "a" not in await asyncio.to_thread(found, client, "first"):
            await asyncio.sleep(0.01)
        await asyncio.to_thread(client.app.state.service.store.close)
        yield b'{"id": "b", "text": "second"}\n'

    with running(tmp_path) as client:
        exchange = Exchange(client, body(), headers)
        exchange.run()
        answer = json.loads(exchange.text.splitlines()[-1])
        problem = answer["problem"] if headers is STREAMED else answer
        assert (answer["status"], answer["created"]) == (503, 1)
        assert problem["type"] == "/problems/store-unavailable"
    with running(tmp_path) as client:
        assert found(client, "first second") == ["a"]
