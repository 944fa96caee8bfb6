"""The client of the crash test that searches: every answer must be one that the acknowledged writes allow."""

import time
from collections.abc import Callable
from typing import Any

import httpx
from crash_clients import UntilKilled, checked
from crash_known import (
    DIM,
    GONE,
    SHARDS,
    Known,
    Lost,
    Moment,
    State,
    Version,
    metadata_of,
    state_of,
    text_of,
    unit,
    vector_of,
)

PAUSE = 0.01  # seconds between searches: the writers are to have their turn
SCORE = 1e-4  # of a float32 kernel, over vectors that were rounded


class Searching(UntilKilled):
    """One client that searches and reads."""

    what = "answers_checked"

    def __init__(self, url: str, known: Known, seed: str, with_vectors: bool) -> None:
        super().__init__(url, known, seed)
        self.with_vectors = with_vectors
        self.kinds: list[Callable[[httpx.Client], None]] = [
            self.own, self.near, self.filtered, self.alike, self.read, self.count, self.page
        ]  # fmt: skip

    def step(self, client: httpx.Client) -> None:
        """One random question."""
        self.random.choice(self.kinds)(client)
        time.sleep(self.random.uniform(0, 2 * PAUSE))

    def own(self, client: httpx.Client) -> None:
        """A document that was acknowledged is found by its own vector, at once."""
        doc_id, state = self.stored()
        if state is None:
            return
        moment = self.known.moment()
        how = self.random.choice(({"exact": True}, {"shortlist": 100}))
        hits = self.ask(client, self.question(doc_id, state) | {"limit": 3} | how, moment)
        before = moment.states.get(doc_id)
        if before != {state} or self.known.since(moment, [doc_id])[doc_id] != {state}:
            return  # it was being written
        if not any(hit["id"] == doc_id and hit["score"] > 1 - SCORE for hit in hits):
            found = [(hit["id"], hit["score"]) for hit in hits]
            raise Lost(f"{doc_id} was acknowledged and is not found by its vector ({how}): {found}")

    def near(self, client: httpx.Client) -> None:
        """The default search."""
        self.ask(client, self.anything() | {"limit": 10}, self.known.moment())

    def filtered(self, client: httpx.Client) -> None:
        """Hits meet the filter."""
        where = self.where()
        for hit in self.ask(client, self.anything() | {"limit": 20, "filter": where}, self.known.moment()):
            if not meets(where, hit["id"], state_of(hit)):
                raise Lost(f"{hit['id']} does not meet {where}: {hit['metadata']}")

    def alike(self, client: httpx.Client) -> None:
        """Documents like one that is stored, which is itself left out."""
        doc_id, _ = self.stored()
        moment = self.known.moment()
        answer = client.post("/search", json={"id": doc_id, "limit": 5})
        if answer.status_code == 404 and GONE in self.known.since(moment, [doc_id])[doc_id]:
            return
        if any(hit["id"] == doc_id for hit in self.checked_hits(answer, moment)):
            raise Lost(f"{doc_id} is among what is like it")

    def read(self, client: httpx.Client) -> None:
        """One document as it is stored."""
        doc_id, _ = self.stored()
        moment = self.known.moment()
        answer = client.get(f"/documents/{doc_id}")
        state = None if answer.status_code == 404 else state_of(checked(answer).json())
        self.possible(doc_id, state, moment)

    def count(self, client: httpx.Client) -> None:
        """As many as there must be, and no more than there can be."""
        where, moment = self.where(), self.known.moment()
        count = checked(client.post("/documents/count", json={"filter": where})).json()["count"]
        allowed = self.known.since(moment)
        least = sum(all(meets(where, doc_id, state) for state in states) for doc_id, states in allowed.items())
        most = sum(any(meets(where, doc_id, state) for state in states) for doc_id, states in allowed.items())
        if not least <= count <= most:
            raise Lost(f"{count} documents meet {where}, there are {least} to {most}")

    def page(self, client: httpx.Client) -> None:
        """A page of a listing: what meets the filter, in order, and nothing left out."""
        where, moment = self.where(), self.known.moment()
        body = {"filter": where, "limit": 10, "after": f"w{self.random.randrange(3)}-{self.random.randrange(400)}"}
        page = checked(client.post("/documents/scroll", json=body)).json()
        ids = [document["id"] for document in page["documents"]]
        for document in page["documents"]:
            self.possible(document["id"], state_of(document), moment)
            if not meets(where, document["id"], state_of(document)):
                raise Lost(f"{document['id']} is listed and does not meet {where}: {document['metadata']}")
        for doc_id, states in self.known.since(moment).items():
            within = body["after"] < doc_id and (page["next"] is None or doc_id <= page["next"])
            if within and doc_id not in ids and all(meets(where, doc_id, state) for state in states):
                raise Lost(f"{doc_id} meets {where} and is not listed after {body['after']}: {ids}, {page['next']}")
        if ids != sorted(ids):
            raise Lost(f"a page out of order: {ids}")

    def where(self) -> dict[str, Any]:
        """A random filter, the same one often enough for its bitmap to be kept."""
        low = self.random.randrange(0, SHARDS, 8)
        return {"group": self.random.randrange(3), "shard": {"$gte": low, "$lt": low + 8}}

    def stored(self) -> tuple[str, Version | None]:
        """An id, and the state it is in if only one is possible."""
        group, place = self.random.randrange(3), self.random.randrange(400)
        possible = self.known.possible(f"w{group}-{place}")
        return f"w{group}-{place}", next(iter(possible)) if len(possible) == 1 else None

    def question(self, doc_id: str, state: Version) -> dict[str, Any]:
        """What is nearest to this document."""
        version = state[0]
        return {"vector": vector_of(doc_id, version)} if self.with_vectors else {"query": text_of(doc_id, version)}

    def anything(self) -> dict[str, Any]:
        """A random query."""
        if self.with_vectors:
            return {"vector": [self.random.gauss(0, 1) for _ in range(DIM)]}
        return {"query": f"word{self.random.randrange(97)} of version {self.random.randrange(1 << 30)}"}

    def ask(self, client: httpx.Client, body: dict[str, Any], moment: Moment) -> list[dict[str, Any]]:
        """The hits of a search, of which each is checked."""
        hits = self.checked_hits(client.post("/search", json=body), moment)
        if "vector" in body:
            query = unit(body["vector"])
            for hit in hits:
                right = float(query @ unit(vector_of(hit["id"], hit["metadata"]["version"])))
                if abs(hit["score"] - right) > SCORE:
                    raise Lost(f"{hit['id']} scores {hit['score']}, its vector and the query {right}")
        return hits

    def checked_hits(self, answer: httpx.Response, moment: Moment) -> list[dict[str, Any]]:
        """Each of a version that may be stored; in order of score, then of id; none twice."""
        hits: list[dict[str, Any]] = checked(answer).json()["results"]
        order = [(-hit["score"], hit["id"]) for hit in hits]
        if order != sorted(order) or len({hit["id"] for hit in hits}) < len(hits):
            raise Lost(f"hits out of order, or twice: {order}")
        for hit in hits:
            self.possible(hit["id"], state_of(hit), moment)
        return hits

    def possible(self, doc_id: str, state: Version | None, moment: Moment) -> None:
        """Raise Lost unless an answer to what was asked at `moment` may show this."""
        allowed = self.known.since(moment, [doc_id])[doc_id]
        if state not in allowed:
            raise Lost(f"{doc_id} was answered as {state} while it could only be {sorted(allowed, key=str)}")


def meets(where: dict[str, Any], doc_id: str, state: State) -> bool:
    """Whether a document in this state passes the filter."""
    if state is None:
        return False
    metadata = metadata_of(doc_id, state)
    low, high = where["shard"]["$gte"], where["shard"]["$lt"]
    return metadata["group"] == where["group"] and low <= metadata["shard"] < high
