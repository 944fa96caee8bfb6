"""The clients of the crash test: what they send, and what may be stored after a kill.

Each writer has ids of its own, so that the order of its writes is known; one more client applies and undoes
rotations meanwhile.
"""

import base64
import json
import random
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np
from harness import Server

DIM = 96
PREFIX_DIM = 16
IDS = 400  # few, so that writes meet each other
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


class UntilKilled(threading.Thread):
    """One client that takes one step after the other until the server is gone."""

    def __init__(self, server: Server) -> None:
        super().__init__(daemon=True)
        self.url = server.url
        self.failure: Exception | None = None

    def run(self) -> None:
        """Step until the connection breaks."""
        with httpx.Client(base_url=self.url, timeout=60) as client:
            try:
                while True:
                    self.step(client)
            except httpx.TransportError:
                return  # the kill
            except Exception as error:
                self.failure = error

    def step(self, client: httpx.Client) -> None:
        """What this client does again and again."""
        raise NotImplementedError


class Writing(UntilKilled):
    """One client, with ids of its own, until the server is gone."""

    def __init__(self, server: Server, known: Known, number: int, seed: int, with_vectors: bool) -> None:
        super().__init__(server)
        self.known, self.random, self.with_vectors = known, random.Random(f"{seed}/{number}"), with_vectors
        self.ids = [f"w{number}-{i}" for i in range(IDS)]
        self.group = number

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


class Rotating(UntilKilled):
    """One client that applies random rotations, and undoes them, until the server is gone.

    `possible` are the names of the rotations that may be in force, None for no rotation: one after an answer, two
    while a request is open.
    """

    def __init__(self, server: Server, possible: set[str | None], seed: str) -> None:
        super().__init__(server)
        self.possible, self.random = possible, random.Random(seed)
        self.applied = 0

    def step(self, client: httpx.Client) -> None:
        """One rotation, or its undoing."""
        name = None if self.random.random() < 0.3 else f"r{self.random.randrange(1 << 30)}"
        self.possible.add(name)
        answer = client.delete("/rotation") if name is None else client.put("/rotation", json=rotation_body(name))
        if answer.status_code != 200:
            raise Lost(f"{answer.request.url} answered {answer.status_code}: {answer.text[:500]}")
        self.possible.intersection_update({name})
        self.applied += 1


def rotation_body(name: str) -> dict[str, Any]:
    """The body of a random rotation, a function of its name."""
    square = np.random.default_rng(list(name.encode())).standard_normal((DIM, DIM))
    matrix = np.linalg.qr(square)[0].astype("<f4")
    return {"matrix": base64.b64encode(matrix.tobytes()).decode(), "widths": [PREFIX_DIM], "method": name}
