#!/usr/bin/env python3
"""Kill the server at random instants while it is written to, and look for what it lost.

Starts the real server, lets several clients ingest, upsert, change metadata, delete and delete by filter, and
ends it with SIGKILL. After every kill the directory is verified (`index.verify`) and the server is started
again: each document must be as the last acknowledged write left it, or as the write that was under way would
have; nothing may be half there, deleted documents stay deleted, and each vector finds its own document.
Every choice comes from --seed, though not the instant at which a request meets the kill.

    ./scripts/crash_test.py --kills 20 --seed 1
    ./scripts/crash_test.py --kills 20 --model bundled --out docs/results/crash.json
"""

import argparse
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from harness import Server, console, store_results
from rich.progress import track

from index.verify import verify

DIM = 96
IDS = 400  # few, so that writes meet each other
WRITERS = 3
GONE = None
Version = tuple[int, int]  # of the text, of the metadata
State = Version | None  # None: no such document


class Lost(AssertionError):
    """The store broke its promise."""


@dataclass
class Known:
    """What may be stored under each id: one state once a write was acknowledged, several while one is open.

    Each writer has ids of its own, so that the order of its writes is known.
    """

    states: dict[str, set[State]] = field(default_factory=dict)
    acknowledged: int = 0

    def possible(self, doc_id: str) -> set[State]:
        """The states an id may be found in."""
        return self.states.setdefault(doc_id, {GONE})

    def begin(self, changes: dict[str, State]) -> None:
        """A write is sent: what was there, or what it brings."""
        for doc_id, state in changes.items():
            self.states[doc_id] = {*self.possible(doc_id), state}

    def acknowledge(self, changes: dict[str, State]) -> None:
        """A write was answered: nothing else may be found from now on."""
        for doc_id, state in changes.items():
            self.states[doc_id] = {state}
        self.acknowledged += len(changes)

    def settle(self, doc_id: str, state: State) -> None:
        """What was found after a restart is what is there."""
        self.states[doc_id] = {state}


def text_of(doc_id: str, version: int) -> str:
    """The text of a version of a document."""
    return f"document {doc_id}, version {version}: " + " ".join(f"word{(version * 7 + i) % 97}" for i in range(12))


def vector_of(doc_id: str, version: int) -> list[float]:
    """The vector of a version of a document, a function of both."""
    seed = [*doc_id.encode(), version]
    return [round(x, 6) for x in np.random.default_rng(seed).standard_normal(DIM).tolist()]


def start(data: Path, model: str, log: Path) -> Server:
    """The server on a directory, with a graph from the first thousand rows on, so that merges are killed too."""
    settings = {"FUNNEL_DATA_DIR": str(data), "FUNNEL_MODEL": model, "FUNNEL_SHORTLIST_INDEX": "hnsw"}
    if model == "none":
        settings |= {"FUNNEL_DIM": str(DIM), "FUNNEL_PREFIX_DIM": "16", "FUNNEL_ALLOW_UNTRAINED_PREFIX": "1"}
    return Server(settings, log)


class Writing(threading.Thread):
    """One client, with ids of its own, until the server is gone."""

    def __init__(self, server: Server, known: Known, number: int, seed: int, with_vectors: bool) -> None:
        super().__init__(daemon=True)
        self.url = server.url
        self.known, self.random, self.with_vectors = known, random.Random(f"{seed}/{number}"), with_vectors
        self.ids = [f"w{number}-{i}" for i in range(IDS)]
        self.group = number
        self.failure: Exception | None = None

    def run(self) -> None:
        """Write until the connection breaks."""
        with httpx.Client(base_url=self.url, timeout=60) as client:
            try:
                while True:
                    self.step(client)
            except httpx.TransportError:
                return  # the kill
            except Exception as error:
                self.failure = error

    def step(self, client: httpx.Client) -> None:
        """One random write."""
        kind = self.random.choices(("ingest", "stream", "metadata", "delete", "filter"), (8, 4, 3, 3, 1))[0]
        chosen = self.random.sample(self.ids, self.random.choice((1, 3, 20, 60)))
        if kind == "delete":
            self.send(client, "POST", "/documents/delete", {"ids": chosen}, dict.fromkeys(chosen, GONE))
        elif kind == "filter":
            low = self.random.randrange(40)
            hit = {i: GONE for i in self.ids if self.meets(i, low)}
            where = {"group": self.group, "shard": {"$gte": low, "$lt": low + 3}}
            self.send(client, "POST", "/documents/delete", {"filter": where}, hit)
        else:
            changes = {doc_id: self.next_state(doc_id, only_metadata=kind == "metadata") for doc_id in chosen}
            self.ingest(client, changes, stream=kind == "stream")

    def meets(self, doc_id: str, low: int) -> bool:
        """Whether a filtered delete may hit a document."""
        return any(state is not GONE and low <= state[1] % 40 < low + 3 for state in self.known.possible(doc_id))

    def next_state(self, doc_id: str, only_metadata: bool) -> State:
        """A new version of a document, or new metadata of the version that is there."""
        current = next(iter(self.known.possible(doc_id)))
        if only_metadata and current is not GONE:
            return current[0], self.random.randrange(1 << 30)
        return self.random.randrange(1 << 30), self.random.randrange(1 << 30)

    def ingest(self, client: httpx.Client, changes: dict[str, State], stream: bool) -> None:
        """Upsert documents, as one JSON body or as an NDJSON stream."""
        documents = [self.document(doc_id, state) for doc_id, state in changes.items() if state is not GONE]
        self.known.begin(changes)
        if stream:
            answer = client.post("/ingest", content=lines(documents), headers={"content-type": "application/x-ndjson"})
        else:
            answer = client.post("/ingest", json={"documents": documents})
        self.check(answer)
        if answer.json()["failed"]:
            raise Lost(f"an ingest failed: {answer.text[:500]}")
        self.known.acknowledge(changes)

    def document(self, doc_id: str, state: Version) -> dict[str, Any]:
        """A document of the request."""
        version, revision = state
        metadata = {"group": self.group, "version": version, "revision": revision, "shard": revision % 40}
        document = {"id": doc_id, "text": text_of(doc_id, version), "metadata": metadata}
        return document | {"vector": vector_of(doc_id, version)} if self.with_vectors else document

    def send(self, client: httpx.Client, method: str, path: str, body: Any, changes: dict[str, State]) -> None:
        """A request whose acknowledgement makes `changes` true."""
        self.known.begin(changes)
        self.check(client.request(method, path, json=body))
        self.known.acknowledge(changes)

    def check(self, answer: httpx.Response) -> None:
        """Any answer but success is a failure of the test."""
        if answer.status_code != 200:
            raise Lost(f"{answer.request.url} answered {answer.status_code}: {answer.text[:500]}")


def lines(documents: list[dict[str, Any]]) -> Iterator[bytes]:
    """An NDJSON body in pieces."""
    for document in documents:
        yield json.dumps(document).encode() + b"\n"


def check_documents(server: Server, known: Known, with_vectors: bool, sample: random.Random) -> int:
    """Compare everything stored with what is known, and settle what was open."""
    found = {document["id"]: document for document in scroll(server.client)}
    for doc_id in found.keys() - known.states.keys():
        raise Lost(f"{doc_id} is stored and was never sent")
    for doc_id, possible in known.states.items():
        state = state_of(doc_id, found.get(doc_id))
        if state not in possible:
            raise Lost(f"{doc_id} is {state}, it may be {possible}")
        known.settle(doc_id, state)
    if with_vectors and found:
        check_vectors(server.client, sample.sample(sorted(found), min(25, len(found))), known)
    count = server.client.post("/documents/count", json={}).json()["count"]
    if count != len(found):
        raise Lost(f"the count is {count}, {len(found)} documents are listed")
    return len(found)


def state_of(doc_id: str, document: dict[str, Any] | None) -> State:
    """The state a stored document is in; raises Lost when its parts disagree."""
    if document is None:
        return GONE
    version, revision = document["metadata"]["version"], document["metadata"]["revision"]
    if document["text"] != text_of(doc_id, version):
        raise Lost(f"{doc_id} has the text of another version than its metadata")
    return version, revision


def check_vectors(client: httpx.Client, ids: list[str], known: Known) -> None:
    """Each document's vector finds it, by the funnel and exactly."""
    for doc_id in ids:
        (state,) = known.states[doc_id]
        assert state is not GONE
        for how in ({"shortlist": 100}, {"exact": True}):
            body = {"vector": vector_of(doc_id, state[0]), "limit": 1, **how}
            hit = client.post("/search", json=body).json()["results"][0]
            if hit["id"] != doc_id or hit["score"] < 0.9999:
                raise Lost(f"{doc_id} is not found by its vector ({how}): {hit['id']} {hit['score']}")


def scroll(client: httpx.Client) -> Iterator[dict[str, Any]]:
    """Every stored document."""
    after = None
    while True:
        page = client.post("/documents/scroll", json={"limit": 500, "after": after}).json()
        yield from page["documents"]
        after = page["next"]
        if after is None:
            return


def campaign(data: Path, kills: int, seed: int, model: str, log: Path) -> dict[str, Any]:
    """Kill and check; raises Lost at the first broken promise."""
    known, rng, with_vectors = Known(), random.Random(seed), model == "none"
    documents = 0
    for kill in track(range(kills + 1), description="kills", console=console, disable=not console.is_terminal):
        server = start(data, model, log)
        try:
            server.wait()
            documents = check_documents(server, known, with_vectors, rng)
            if kill == kills:
                server.end()
                break
            writers = [Writing(server, known, n, seed * 100_000 + kill, with_vectors) for n in range(WRITERS)]
            for writer in writers:
                writer.start()
            time.sleep(rng.uniform(0.05, 2.0 if with_vectors else 6.0))
            server.process.kill()
            for writer in writers:
                writer.join()
                if writer.failure:
                    raise writer.failure
        finally:
            server.end(signal.SIGKILL)
        report = verify(data)
        if not report.ok:
            raise Lost("; ".join(f"{check.name}: {check.detail}" for check in report.checks if not check.ok))
    return {"kills": kills, "acknowledged_changes": known.acknowledged, "documents_at_the_end": documents}


def main() -> None:
    """Parse arguments, run, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", default="none", help="FUNNEL_MODEL of the server; none sends vectors")
    parser.add_argument("--out", type=Path, help="store the counts as JSON")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="funnel-crash-") as directory:
        log = Path(directory) / "server.log"
        started = time.monotonic()
        try:
            counts = campaign(Path(directory) / "data", arguments.kills, arguments.seed, arguments.model, log)
        except Lost as error:
            console.print(f"LOST with --seed {arguments.seed}: {error}", style="bold red")
            console.print(log.read_text()[-4_000:], markup=False, style="dim")
            sys.exit(1)
    results = {**counts, "model": arguments.model, "seed": arguments.seed, "seconds": round(time.monotonic() - started)}
    console.print_json(data=results)
    store_results(arguments.out, results)


if __name__ == "__main__":
    main()
