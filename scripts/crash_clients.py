"""The clients of the crash test that write and search; `crash_upkeep` has those that rotate, compact and snapshot."""

import json
import random
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
from crash_known import GONE, SHARDS, Known, Lost, State, Version, metadata_of, text_of, vector_of
from crash_server import connect

IDS = 400  # of a writer: few, so that writes meet each other
WRITES = {
    "ingest": 7, "stream": 3, "progress": 3, "atomic": 2, "metadata": 3, "patch": 1, "delete": 3, "filter": 1
}  # fmt: skip
PATIENCE = 60  # seconds for the answer that a client waits for when it is told to stop
NDJSON = {"content-type": "application/x-ndjson"}


class UntilKilled(threading.Thread):
    """One client that takes one step after the other until the server is gone, or it is told to stop."""

    what = "steps"  # as they are counted

    def __init__(self, url: str, known: Known, seed: str) -> None:
        super().__init__(daemon=True)
        self.url, self.known, self.random = url, known, random.Random(seed)
        self.stopping, self.killed = threading.Event(), threading.Event()
        self.failure: Exception | None = None
        self.done = 0  # steps that were answered

    def run(self) -> None:
        """Step until the connection breaks."""
        with connect(self.url) as client:
            try:
                while not self.stopping.is_set():
                    self.step(client)
                    self.done += 1
            except Exception as error:
                if not (self.killed.is_set() and isinstance(error, httpx.TransportError)):
                    self.failure = error

    def step(self, client: httpx.Client) -> None:
        """What this client does again and again."""
        raise NotImplementedError

    def finish(self) -> None:
        """Wait for its end; raises what failed."""
        self.join(timeout=PATIENCE)
        if self.failure or self.is_alive():
            raise self.failure or Lost(f"a client still waits for an answer: {type(self).__name__}")


class Writing(UntilKilled):
    """One client, with ids of its own: each of its writes is open until it is answered."""

    what = "writes"

    def __init__(self, url: str, known: Known, number: int, seed: str, with_vectors: bool) -> None:
        super().__init__(url, known, f"{seed}/{number}")
        self.with_vectors, self.group = with_vectors, number
        self.ids = [f"w{number}-{i}" for i in range(IDS)]

    def step(self, client: httpx.Client) -> None:
        """One random write."""
        kind = self.random.choices(list(WRITES), list(WRITES.values()))[0]
        chosen = self.random.sample(self.ids, self.random.choice((1, 3, 20, 60, 150) if self.with_vectors else (1, 9)))
        if kind in ("delete", "filter"):
            self.delete(client, chosen, by_filter=kind == "filter")
        elif kind == "patch":
            self.patch(client, chosen[0])
        else:
            changes = {doc_id: self.next_state(doc_id, only_metadata=kind == "metadata") for doc_id in chosen}
            self.ingest(client, changes, kind)

    def next_state(self, doc_id: str, only_metadata: bool) -> Version:
        """A new version of a document, or new metadata of the version that is there."""
        (current,) = self.known.possible(doc_id)
        version = current[0] if only_metadata and current is not GONE else self.random.randrange(1 << 30)
        return version, self.random.randrange(1 << 30)

    def ingest(self, client: httpx.Client, changes: Mapping[str, Version], kind: str) -> None:
        """Upsert documents: as one JSON body, all or nothing, or as an NDJSON stream with or without progress."""
        documents = [self.document(doc_id, state) for doc_id, state in changes.items()]
        self.known.begin(changes, whole=kind == "atomic")
        if kind == "progress":
            self.stream(client, documents, changes)
            return
        if kind == "stream":
            answer = client.post("/ingest", content=lines(documents), headers=NDJSON)
        else:
            atomic = {"atomic": kind == "atomic"}
            answer = client.post("/ingest", json={"documents": documents}, params=atomic)
        self.stored(checked(answer).json(), changes)

    def stream(self, client: httpx.Client, documents: list[dict[str, Any]], changes: Mapping[str, Version]) -> None:
        """What a progress line counts as processed is acknowledged already."""
        headers, ids, summary = NDJSON | {"accept": NDJSON["content-type"]}, list(changes), {}
        with client.stream("POST", "/ingest", content=lines(documents), headers=headers) as answer:
            if answer.status_code != 200:
                answer.read()
            for line in checked(answer).iter_lines():
                summary = json.loads(line)
                if not summary["failed"]:
                    self.known.acknowledge({doc_id: changes[doc_id] for doc_id in ids[: summary["processed"]]})
        if summary.get("type") != "summary" or summary["status"] != 200:
            raise Lost(f"a stream of {len(ids)} documents ended with {summary}")
        self.stored(summary, changes)

    def stored(self, report: Mapping[str, Any], changes: Mapping[str, Version]) -> None:
        """An answer that counts every document."""
        if report["created"] + report["updated"] + report["unchanged"] != len(changes) or report["failed"]:
            raise Lost(f"an ingest of {len(changes)} documents was answered with {report}")
        self.known.acknowledge(changes)

    def document(self, doc_id: str, state: Version) -> dict[str, Any]:
        """A document of the request."""
        document = {"id": doc_id, "text": text_of(doc_id, state[0]), "metadata": metadata_of(doc_id, state)}
        return document | {"vector": vector_of(doc_id, state[0])} if self.with_vectors else document

    def patch(self, client: httpx.Client, doc_id: str) -> None:
        """Other metadata by a merge patch."""
        (current,) = self.known.possible(doc_id)
        if current is GONE:
            return
        state = (current[0], self.random.randrange(1 << 30))
        self.known.begin({doc_id: state}, whole=True)
        checked(client.patch(f"/documents/{doc_id}", json={"metadata": metadata_of(doc_id, state)}))
        self.known.acknowledge({doc_id: state})

    def delete(self, client: httpx.Client, chosen: list[str], by_filter: bool) -> None:
        """Documents by id, or those in a few shards; the answer must tell how many there were."""
        low = self.random.randrange(SHARDS)
        if by_filter:
            chosen = [i for i in self.ids if any(s and low <= s[1] % SHARDS < low + 3 for s in self.known.possible(i))]
            body: dict[str, Any] = {"filter": {"group": self.group, "shard": {"$gte": low, "$lt": low + 3}}}
        else:
            body = {"ids": chosen}
        there = sum(self.known.possible(doc_id) != {GONE} for doc_id in chosen)
        changes: dict[str, State] = dict.fromkeys(chosen, GONE)
        self.known.begin(changes, whole=True)
        deleted = checked(client.post("/documents/delete", json=body)).json()["deleted"]
        if deleted != there:
            raise Lost(f"{deleted} documents were deleted ({body}), there were {there}")
        self.known.acknowledge(changes)


def lines(documents: list[dict[str, Any]]) -> Iterator[bytes]:
    """An NDJSON body in pieces."""
    for document in documents:
        yield json.dumps(document).encode() + b"\n"


def checked(answer: httpx.Response) -> httpx.Response:
    """Any answer but success is a failure of the test."""
    if answer.status_code != 200:
        raise Lost(f"{answer.request.url} answered {answer.status_code}: {answer.text[:500]}")
    return answer
