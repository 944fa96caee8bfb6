"""What the clients of the load test ask for: a mix of searches, reads and writes on a bounded set of ids."""

import base64
import json
import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from load_client import JSON, NDJSON

DIM, PREFIX_DIM = 256, 64
GROUPS = 50
VECTORS = 4_096  # different ones
WORDS = [f"{a}{b}" for a in ("net", "file", "data", "time", "text", "key", "sort", "page") for b in range(200)]
MIX = {  # kind -> share of the requests
    "search": 60,
    "filtered": 12,
    "exact": 1,
    "get": 6,
    "count": 4,
    "scroll": 3,
    "ingest": 5,
    "upsert": 4,
    "stream": 1,
    "patch": 2,
    "delete": 2,
}


@dataclass(frozen=True)
class Asked:
    """One request."""

    kind: str
    method: str
    path: str
    body: bytes = b""
    content_type: str = JSON


class Work:
    """Requests drawn from a seed. The ids are bounded, so that the collection does not grow: deletes and new
    documents balance each other."""

    def __init__(self, seed: int, documents: int, with_vectors: bool) -> None:
        self._random, self._documents, self._with_vectors = random.Random(seed), documents, with_vectors
        vectors = np.random.default_rng(seed).standard_normal((VECTORS, DIM)).astype("<f4")
        self._vectors = [base64.b64encode(vector.tobytes()).decode() for vector in vectors]
        self._kinds, self._shares = list(MIX), list(MIX.values())

    def draw(self) -> Asked:
        """The next request of the mix."""
        return self.one(self._random.choices(self._kinds, self._shares)[0])

    def one(self, kind: str) -> Asked:
        """The next request of a kind."""
        number = self._random.randrange(self._documents)
        if kind in ("search", "filtered", "exact"):
            return self._post(kind, "/search", self._search(kind))
        if kind == "get":
            return Asked(kind, "GET", f"/documents/d{number}")
        if kind == "count":
            return self._post(kind, "/documents/count", {"filter": {"group": number % GROUPS}})
        if kind == "scroll":
            return self._post(kind, "/documents/scroll", {"limit": 20, "after": f"d{number}"})
        if kind == "patch":
            return self._post(kind, f"/documents/d{number}", {"metadata": {"seen": number}}, "PATCH")
        if kind == "delete":
            return self._post(kind, "/documents/delete", {"ids": self._ids(3)})
        if kind == "stream":
            return Asked(kind, "POST", "/ingest", self.lines(self.numbers(30)), NDJSON)
        size = 1 if kind == "upsert" else 4
        return self._post(kind, "/ingest", {"documents": [self.document(i) for i in self.numbers(size)]})

    def lines(self, numbers: list[int]) -> bytes:
        """An NDJSON body."""
        return b"".join(json.dumps(self.document(number)).encode() + b"\n" for number in numbers)

    def document(self, number: int) -> dict[str, Any]:
        """A new version of the document of a number."""
        document = {"id": f"d{number}", "text": self._text(30), "metadata": {"group": number % GROUPS, "seen": 0}}
        return document | {"vector": self._random.choice(self._vectors)} if self._with_vectors else document

    def _search(self, kind: str) -> dict[str, Any]:
        body: dict[str, Any] = {"query": self._text(6)}
        if self._with_vectors:
            body = {"vector": self._random.choice(self._vectors)}
        if kind == "filtered":
            body["filter"] = {"group": self._random.randrange(GROUPS)}
        return body | {"exact": True} if kind == "exact" else body

    def _text(self, words: int) -> str:
        return " ".join(self._random.choices(WORDS, k=words))

    def numbers(self, size: int) -> list[int]:
        """Different ones of the ids."""
        return self._random.sample(range(self._documents), size)

    def _ids(self, size: int) -> list[str]:
        return [f"d{number}" for number in self.numbers(size)]

    def _post(self, kind: str, path: str, body: dict[str, Any], method: str = "POST") -> Asked:
        return Asked(kind, method, path, json.dumps(body).encode())
