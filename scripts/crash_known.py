"""What the crash test knows: what it sent, what was acknowledged, and so what may be stored.

A text and a vector are functions of an id and a version, so that whatever is read can be checked by itself.
"""

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

DIM = 96  # of the vectors that are sent where there is no model
PREFIX_DIM = 16
SHARDS = 40
GONE = None
Version = tuple[int, int]  # of the text, of the metadata
State = Version | None  # None: no such document
Allowed = Mapping[str, frozenset[State]]
NEVER: frozenset[State] = frozenset({GONE})


class Lost(AssertionError):
    """The store broke its promise."""


@dataclass(frozen=True)
class Moment:
    """What was possible when something was asked, and how many changes had been sent by then."""

    states: Allowed
    begun: int


@dataclass
class Known:
    """What may be stored under each id: one state once a write was acknowledged, several while one is open.

    Each writer has ids of its own, so that the order of its writes is known. A change that is all or nothing is
    kept until it is answered, to see that the kill left all of it or nothing.
    """

    states: dict[str, frozenset[State]] = field(default_factory=dict)
    whole: list[dict[str, State]] = field(default_factory=list)
    rotations: set[str | None] = field(default_factory=lambda: {None})
    snapshots: dict[str, Allowed] = field(default_factory=dict)  # by name: what each may hold
    unanswered: Allowed | None = None  # of a snapshot that is being made or deleted: there or not
    purging: bool = False  # a compaction is deleting snapshots: any may be gone
    purged: set[str] = field(default_factory=set)
    acknowledged: int = 0
    begun: list[tuple[str, State]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def possible(self, doc_id: str) -> frozenset[State]:
        """The states an id may be found in."""
        return self.states.get(doc_id, NEVER)

    def begin(self, changes: Mapping[str, State], whole: bool = False) -> None:
        """A write is sent: what was there, or what it brings; with `whole` all of it or nothing."""
        with self.lock:
            if whole:
                self.whole.append({i: state for i, state in changes.items() if self.possible(i) != {state}})
            for doc_id, state in changes.items():
                self.states[doc_id] = self.possible(doc_id) | {state}
                self.begun.append((doc_id, state))

    def acknowledge(self, changes: Mapping[str, State]) -> None:
        """A write was answered: nothing else may be found from now on."""
        with self.lock:
            self.whole = [change for change in self.whole if change.keys().isdisjoint(changes)]
            for doc_id, state in changes.items():
                self.states[doc_id] = frozenset({state})
            self.acknowledged += len(changes)

    def moment(self) -> Moment:
        """To be taken before a question is sent."""
        with self.lock:
            return Moment(dict(self.states), len(self.begun))

    def since(self, moment: Moment, ids: Iterable[str] | None = None) -> Allowed:
        """What an answer may tell of each id (None: of all) when the question was asked at `moment`."""
        with self.lock:
            later = self.begun[moment.begun :]
        wanted = moment.states.keys() | {doc_id for doc_id, _ in later} if ids is None else set(ids)
        allowed = {doc_id: moment.states.get(doc_id, NEVER) for doc_id in wanted}
        for doc_id, state in later:
            if doc_id in allowed:
                allowed[doc_id] |= {state}
        return allowed

    def settle(self, found: Mapping[str, State]) -> None:
        """After a restart: what is there must be possible, and is what is there from now on; raises Lost."""
        for doc_id, state in found.items():
            if doc_id not in self.states:
                raise Lost(f"{doc_id} is stored as {state} and was never sent")
        for doc_id, possible in self.states.items():
            if found.get(doc_id) not in possible:
                raise Lost(f"{doc_id} is {found.get(doc_id)}, it may be {sorted(possible, key=str)}")
        for change in self.whole:
            there = [doc_id for doc_id, state in change.items() if found.get(doc_id) == state]
            if there and len(there) < len(change):
                raise Lost(f"a change that is all or nothing is half there: {len(there)} of {len(change)} documents")
        self.states = {doc_id: frozenset({found.get(doc_id)}) for doc_id in self.states}
        self.whole, self.begun = [], []

    def keep(self, name: str, allowed: Allowed) -> None:
        """A snapshot was acknowledged, unless a compaction has deleted it already."""
        with self.lock:
            if name not in self.purged:
                self.snapshots[name] = allowed

    def purge(self, names: Iterable[str]) -> None:
        """A compaction has deleted these snapshots."""
        with self.lock:
            self.purged |= set(names)
            self.snapshots = {name: allowed for name, allowed in self.snapshots.items() if name not in self.purged}

    def oldest(self) -> tuple[str, Allowed]:
        """Take the oldest snapshot out: from now on it may be there or not."""
        with self.lock:
            name = next(iter(self.snapshots))
            return name, self.snapshots.pop(name)

    def save(self, path: Path) -> None:
        """Keep it for a later run."""
        record = {
            "states": _listed(self.states),
            "whole": self.whole,
            "rotations": list(self.rotations),
            "snapshots": {name: _listed(allowed) for name, allowed in self.snapshots.items()},
            "unanswered": None if self.unanswered is None else _listed(self.unanswered),
            "purging": self.purging,
            "acknowledged": self.acknowledged,
        }
        path.write_text(json.dumps(record))

    @classmethod
    def load(cls, path: Path) -> "Known":
        """What an earlier run kept."""
        record = json.loads(path.read_text())
        return cls(
            states=_read(record["states"]),
            whole=[{doc_id: _state(state) for doc_id, state in change.items()} for change in record["whole"]],
            rotations=set(record["rotations"]),
            snapshots={name: _read(allowed) for name, allowed in record["snapshots"].items()},
            unanswered=None if record["unanswered"] is None else _read(record["unanswered"]),
            purging=record["purging"],
            acknowledged=record["acknowledged"],
        )


def _listed(allowed: Allowed) -> dict[str, list[State]]:
    return {doc_id: list(possible) for doc_id, possible in allowed.items()}


def _read(record: Mapping[str, list[list[int] | None]]) -> dict[str, frozenset[State]]:
    return {doc_id: frozenset(map(_state, possible)) for doc_id, possible in record.items()}


def _state(given: list[int] | None) -> State:
    return GONE if given is None else (given[0], given[1])


def text_of(doc_id: str, version: int) -> str:
    """The text of a version of a document."""
    return f"document {doc_id}, version {version}: " + " ".join(f"word{(version * 7 + i) % 97}" for i in range(12))


def metadata_of(doc_id: str, state: Version) -> dict[str, Any]:
    """The metadata of a version of a document: `group` is its writer's number."""
    version, revision = state
    group = int(doc_id[1 : doc_id.index("-")])
    return {"group": group, "version": version, "revision": revision, "shard": revision % SHARDS}


@lru_cache(maxsize=20_000)
def vector_of(doc_id: str, version: int) -> list[float]:
    """The vector of a version of a document, a function of both."""
    seed = [*doc_id.encode(), version]
    return [round(x, 6) for x in np.random.default_rng(seed).standard_normal(DIM).tolist()]


def unit(vector: Any) -> np.ndarray:
    """(..., dim) float32 of length one."""
    array = np.asarray(vector, dtype=np.float32)
    return array / np.linalg.norm(array, axis=-1, keepdims=True)


def state_of(document: Mapping[str, Any]) -> Version:
    """The state that a stored document, or a hit, is in; raises Lost when its parts disagree."""
    doc_id, metadata = document["id"], document["metadata"]
    state: Version = (metadata["version"], metadata["revision"])
    if metadata != metadata_of(doc_id, state):
        raise Lost(f"{doc_id} has metadata of two versions: {metadata}")
    if document["text"] != text_of(doc_id, state[0]):
        raise Lost(f"{doc_id} has the text of another version than its metadata: {document['text']!r}, {metadata}")
    return state
