#!/usr/bin/env python3
"""Kill the server at random instants while it is written to, and look for what it lost.

Starts the real server, lets several clients ingest, upsert, change metadata, delete and delete by filter, and
ends it with SIGKILL. After every kill the directory is verified (`index.verify`) and the server is started
again: each document must be as the last acknowledged write left it, or as the write that was under way would
have; nothing may be half there, deleted documents stay deleted, and each vector finds its own document. With
--rotate one more client applies and undoes rotations: the last one acknowledged is in force, or the one under way.
Every choice comes from --seed, though not the instant at which a request meets the kill.

    ./scripts/crash_test.py --kills 20 --seed 1
    ./scripts/crash_test.py --kills 20 --rotate
    ./scripts/crash_test.py --kills 20 --model bundled --out docs/results/crash.json
"""

import argparse
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
from crash_clients import DIM, GONE, PREFIX_DIM, Known, Lost, Rotating, State, Writing, text_of, vector_of
from harness import Server, console, store_results
from rich.progress import track

from index.verify import verify

WRITERS = 3


def start(data: Path, model: str, log: Path) -> Server:
    """The server on a directory, with a graph from the first thousand rows on, so that merges are killed too."""
    settings = {"FUNNEL_DATA_DIR": str(data), "FUNNEL_MODEL": model, "FUNNEL_SHORTLIST_INDEX": "hnsw"}
    if model == "none":
        settings |= {"FUNNEL_DIM": str(DIM), "FUNNEL_PREFIX_DIM": str(PREFIX_DIM), "FUNNEL_ALLOW_UNTRAINED_PREFIX": "1"}
    return Server(settings, log)


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


def check_rotation(client: httpx.Client, possible: set[str | None]) -> None:
    """Compare the rotation in force with those that may be, and settle which it is."""
    rotation = client.get("/rotation").json()["rotation"]
    name = None if rotation is None else rotation["method"]
    if name not in possible:
        raise Lost(f"the rotation is {name}, it may be {possible}")
    possible.intersection_update({name})


def campaign(data: Path, kills: int, seed: int, model: str, log: Path, rotate: bool = False) -> dict[str, Any]:
    """Kill and check; raises Lost at the first broken promise."""
    known, rng, with_vectors = Known(), random.Random(seed), model == "none"
    possible: set[str | None] = {None}
    documents = rotations = 0
    for kill in track(range(kills + 1), description="kills", console=console, disable=not console.is_terminal):
        server = start(data, model, log)
        try:
            server.wait()
            check_rotation(server.client, possible)
            documents = check_documents(server, known, with_vectors, rng)
            if kill == kills:
                server.end()
                break
            writers = [Writing(server, known, n, seed * 100_000 + kill, with_vectors) for n in range(WRITERS)]
            turners = [Rotating(server, possible, f"{seed}/{kill}")] if rotate else []
            for client in (*writers, *turners):
                client.start()
            time.sleep(rng.uniform(0.05, 2.0 if with_vectors else 6.0))
            server.process.kill()
            for client in (*writers, *turners):
                client.join()
                if client.failure:
                    raise client.failure
            rotations += sum(turner.applied for turner in turners)
        finally:
            server.end(signal.SIGKILL)
        report = verify(data)
        if not report.ok:
            raise Lost("; ".join(f"{check.name}: {check.detail}" for check in report.checks if not check.ok))
    counts = {"kills": kills, "acknowledged_changes": known.acknowledged, "documents_at_the_end": documents}
    return {**counts, "acknowledged_rotations": rotations} if rotate else counts


def main() -> None:
    """Parse arguments, run, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", default="none", help="FUNNEL_MODEL of the server; none sends vectors")
    parser.add_argument("--rotate", action="store_true", help="apply and undo rotations meanwhile; without a model")
    parser.add_argument("--out", type=Path, help="store the counts as JSON")
    arguments = parser.parse_args()
    if arguments.rotate and arguments.model != "none":
        parser.error(f"--rotate is for vectors that are sent (--model none), got --model {arguments.model}")
    with tempfile.TemporaryDirectory(prefix="funnel-crash-") as directory:
        log = Path(directory) / "server.log"
        started = time.monotonic()
        try:
            data = Path(directory) / "data"
            counts = campaign(data, arguments.kills, arguments.seed, arguments.model, log, arguments.rotate)
        except Lost as error:
            console.print(f"LOST with --seed {arguments.seed}: {error}", style="bold red")
            console.print(log.read_text()[-4_000:], markup=False, style="dim")
            sys.exit(1)
    results = {**counts, "model": arguments.model, "seed": arguments.seed, "seconds": round(time.monotonic() - started)}
    console.print_json(data=results)
    store_results(arguments.out, results)


if __name__ == "__main__":
    main()
