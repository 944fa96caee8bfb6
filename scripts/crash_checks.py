"""What must hold after each kill: nothing lost, nothing half there, nothing found that should not be."""

import json
import random
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from crash_clients import checked
from crash_known import Known, Lost, State, state_of, text_of, unit, vector_of
from crash_upkeep import matrix_of

from index.layout import Layout
from index.matrices import parts
from index.opening import peeked
from index.verify import verify

QUERIES = 20
LIMIT = 10
SCORE = 1e-4
TOLERANCE = 0.02  # of mean recall@10 over the queries: what a graph may have less than an exact first stage
PATIENCE = 10.0  # seconds for a merge to finish, after which no file of it may be left
OURS = {"manifest.json", "LOCK", "snapshots", "collections"}
Embed = Callable[[list[str]], np.ndarray]


@dataclass
class Found:
    """What a server holds: the state and the unit vector of each document, in order of id."""

    states: dict[str, State] = field(default_factory=dict)
    vectors: np.ndarray = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    recall: float = 1.0  # recall@10 of the default search
    gap: float = 0.0  # by which an exact first stage of the same length is better
    older_rows: int = 0  # of the first stage; the others are its tail


def check_offline(data: Path, scratch: Path) -> int:
    """Laws 3 to 5 on a copy, so that the next start meets the directory as the kill left it; the live documents."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(data, scratch)
    report = verify(scratch)
    if not report.ok:
        raise Lost("; ".join(f"{check.name}: {check.detail}" for check in report.checks if not check.ok))
    return report.count


def check_server(client: httpx.Client, known: Known, embed: Embed | None, rng: random.Random) -> Found:
    """Compare everything that is stored with what is known, settle what was open, and search."""
    found = read_all(client)
    known.settle(found.states)
    check_vectors(found, embed, rng)
    found.older_rows = check_counts(client, found)["shortlist"]["older_rows"]
    check_rotation(client, known.rotations)
    if len(found.states) >= LIMIT:
        (rotation,) = known.rotations
        found.recall, found.gap = check_recall(client, found, rotation)
    return found


def read_all(client: httpx.Client) -> Found:
    """Every stored document, each of one version."""
    documents = list(scroll(client))
    vectors = np.array([document["vector"] for document in documents], dtype=np.float32)
    states: dict[str, State] = {document["id"]: state_of(document) for document in documents}
    if len(states) < len(documents) or list(states) != sorted(states):
        raise Lost(f"{len(documents)} documents are listed with {len(states)} ids, or out of order")
    return Found(states, vectors)


def scroll(client: httpx.Client) -> Iterator[dict[str, Any]]:
    """Every stored document with its vector."""
    after = None
    while True:
        body = {"limit": 500, "after": after, "with_vector": True}
        page = checked(client.post("/documents/scroll", json=body)).json()
        yield from page["documents"]
        after = page["next"]
        if after is None:
            return


def check_vectors(found: Found, embed: Embed | None, rng: random.Random) -> None:
    """Each stored vector is that of its version: what was sent, or what the model makes of a sample of texts."""
    ids = list(found.states)
    if not ids:
        return
    places = range(len(ids)) if embed is None else sorted(rng.sample(range(len(ids)), min(8, len(ids))))
    expected = _expected([(ids[place], found.states[ids[place]]) for place in places], embed)
    off = np.abs(found.vectors[list(places)] - expected).max(axis=1)
    if off.max() > SCORE:
        place = list(places)[int(off.argmax())]
        raise Lost(f"{ids[place]} in state {found.states[ids[place]]} has another vector, off by {off.max():.3g}")


def _expected(wanted: list[tuple[str, State]], embed: Embed | None) -> np.ndarray:
    versions = [(doc_id, state[0]) for doc_id, state in wanted if state is not None]
    if embed is None:
        return unit([vector_of(*version) for version in versions])
    return embed([text_of(*version) for version in versions])


def check_counts(client: httpx.Client, found: Found) -> dict[str, Any]:
    """The listing, the counts with and without a filter, and the statistics, which are returned, agree."""
    groups: dict[int, int] = {}
    for doc_id in found.states:
        group = int(doc_id[1 : doc_id.index("-")])
        groups[group] = groups.get(group, 0) + 1
    told = {group: _count(client, {"filter": {"group": group}}) for group in groups}
    stats: dict[str, Any] = checked(client.get("/stats")).json()
    if told != groups or not len(found.states) == _count(client, {}) == stats["count"]:
        raise Lost(f"{len(found.states)} documents are listed ({groups}), {told} counted, {stats['count']} in /stats")
    if stats["rows"] - stats["dead_rows"] != stats["count"] or stats["read_only"]:
        raise Lost(f"the statistics disagree: {stats}")
    return stats


def _count(client: httpx.Client, body: Mapping[str, Any]) -> int:
    return int(checked(client.post("/documents/count", json=body)).json()["count"])


def check_rotation(client: httpx.Client, possible: set[str | None]) -> None:
    """Compare the rotation in force with those that may be, and settle which it is."""
    rotation = checked(client.get("/rotation")).json()["rotation"]
    name = None if rotation is None else rotation["method"]
    if name not in possible:
        raise Lost(f"the rotation is {name}, it may be {possible}")
    possible.intersection_update({name})


def check_recall(client: httpx.Client, found: Found, rotation: str | None) -> tuple[float, float]:
    """recall@10 of the default search, and by how much an exact first stage of the same length would be better.

    Both are computed here from the vectors that are stored, so that the exact search is checked as well. Raises Lost
    when the graph has lost more than TOLERANCE.
    """
    queries = _queries(found.vectors)
    body = {"vectors": queries.tolist(), "limit": LIMIT, "with_text": False, "with_metadata": False}
    exact = checked(client.post("/search", json=body | {"exact": True})).json()["results"]
    default = checked(client.post("/search", json=body)).json()
    best = [check_exact(hits, found, query) for hits, query in zip(exact, queries, strict=True)]
    hits = [{hit["id"] for hit in hits} for hits in default["results"]]
    plans = [(funnel["exact"], *funnel["stages"][0]) for funnel in default["funnel"]]
    first = [_first_stage(found, rotation, query, *plan) for query, plan in zip(queries, plans, strict=True)]
    recall, floor = (
        sum(len(a & b) for a, b in zip(best, other, strict=True)) / (LIMIT * QUERIES) for other in (hits, first)
    )
    if recall < floor - TOLERANCE:
        raise Lost(f"recall@10 is {recall}, with an exact first stage it is {floor}")
    return recall, floor - recall


def check_exact(hits: list[dict[str, Any]], found: Found, query: np.ndarray) -> set[str]:
    """The ids of an exact search, whose scores must be the highest there are."""
    right = np.sort(found.vectors @ query)[::-1][:LIMIT]
    off = np.abs(np.array([hit["score"] for hit in hits]) - right[: len(hits)])
    if len(hits) < LIMIT or off.max() > SCORE:
        raise Lost(f"an exact search has {len(hits)} hits, with scores off by {off.max():.3g}")
    return {hit["id"] for hit in hits}


def _first_stage(found: Found, rotation: str | None, query: np.ndarray, exact: bool, dims: int, keep: int) -> set[str]:
    """The ids of the shortlist that an exact scan of the prefixes gives; all of them after an exact search."""
    scores = _prefixes(found.vectors, rotation, dims) @ _prefixes(query, rotation, dims)
    ids = list(found.states)
    return set(ids) if exact else {ids[place] for place in np.argsort(-scores, kind="stable")[:keep]}


def _queries(vectors: np.ndarray) -> np.ndarray:
    """(QUERIES, dim) the mean directions of three documents each, the same for the same documents."""
    chosen = np.random.default_rng(len(vectors)).integers(len(vectors), size=(QUERIES, 3))
    return unit(vectors[chosen].sum(axis=1))


def _prefixes(vectors: np.ndarray, rotation: str | None, dims: int) -> np.ndarray:
    turned = vectors if rotation is None else vectors @ matrix_of(rotation, vectors.shape[-1])
    return unit(turned[..., :dims])


def check_files(data: Path, snapshots: set[str]) -> None:
    """No file that nothing names: once the merge that a start may begin is done."""
    deadline = time.monotonic() + PATIENCE
    while strays := _strays(data, snapshots):
        if time.monotonic() > deadline:
            raise Lost(f"files that nothing names: {', '.join(sorted(strays))}")
        time.sleep(0.02)


def _strays(data: Path, snapshots: set[str]) -> set[str]:
    layout, state = Layout(data), peeked(data)
    assert state is not None
    documents = layout.documents.name
    named = {documents, f"{documents}-wal", f"{documents}-shm", layout.calibration.name}
    for generation in (state.generation, state.generation + 1)[: 1 + (state.pending is not None)]:
        named |= {layout.vectors(generation).name, layout.checksums(generation).name}
    named |= {part["file"] for part in parts(state.rotation) if part}
    if state.snapshot is not None:
        named.add(json.loads(state.snapshot)["file"])
    strays = {path.name for path in layout.collection.iterdir()} - named
    strays |= {path.name for path in data.iterdir()} - OURS
    return strays | {path.name for path in layout.snapshots.iterdir()} - snapshots
