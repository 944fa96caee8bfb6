"""A store under two writing clients, whose calls and acknowledgements go to a log (`store_promises`).

Texts and vectors are functions of id and version, so that whoever reads the store later can tell what is right.
"""

import random
import threading
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from store_promises import Log

from index.document import Document
from index.errors import FunnelError, SnapshotNotFound, StorageFull, StoreUnavailable
from index.options import StoreOptions
from index.space import Space
from index.store import Store

DIM, PREFIX_DIM = 32, 8
SPACES = {tag: Space(DIM, PREFIX_DIM, {"model": tag}) for tag in ("one", "two")}
GRAPH = StoreOptions(shortlist_index="hnsw")
IDS = 24  # of each writer: few, so that writes meet each other
WRITERS = ("a", "b")
SHARDS = 5
CHECKPOINT = 60  # pages; SQLite's own is 1,000
ATTEMPTS = 2  # at opening a store
State = tuple[int, int]  # version of the text, revision of the metadata


def text_of(doc_id: str, version: int) -> str:
    """The text of a version of a document."""
    return f"document {doc_id}, version {version}: " + " ".join(f"word{version * 7 + i}" for i in range(9))


def embed(texts: list[str], tag: str) -> np.ndarray:
    """(n, DIM) float32 unit vectors of texts in a space, a function of both."""
    rows = [np.random.default_rng(zlib.crc32(f"{tag}/{text}".encode())).standard_normal(DIM) for text in texts]
    matrix = np.array(rows, dtype=np.float32).reshape(len(texts), DIM)
    return matrix / np.linalg.norm(matrix, axis=1, keepdims=True)


class CannotOpen(Exception):
    """The store says that it cannot be opened."""


class Run:
    """One process on a data directory: a store that is opened again whenever it became read-only.

    `refused` and `unknown` count calls that changed nothing, and calls of which nobody knows whether they did;
    `before` is called before each call, `when_full` when the disk is full.
    """

    def __init__(
        self,
        path: Path,
        log: Log,
        tag: str,
        before: Callable[[], None] = lambda: None,
        when_full: Callable[[], None] = lambda: None,
    ) -> None:
        self.path, self.log, self.tag, self.before, self.when_full = path, log, tag, before, when_full
        self.refused = self.unknown = 0
        self.dead: list[tuple[str, int]] = []  # versions of texts that were deleted or replaced
        self._lock = threading.Lock()
        self.clients = ThreadPoolExecutor(len(WRITERS))
        started = threading.Barrier(len(WRITERS))  # now: Python waits for ever for a thread that finds no memory
        list(self.clients.map(lambda _: started.wait(), WRITERS))
        self.store = self._open()

    def call(self, changes: dict[str, Any], do: Callable[[Store], dict[str, Any] | None]) -> bool:
        """Make one call on the store and log it; True when it was acknowledged."""
        self.before()
        number, store = self.log.begin(changes), self.store
        try:
            learned = do(store)
        except StorageFull:
            self.log.refuse(number)
            self.refused += 1
            self.when_full()
        except SnapshotNotFound:
            self.log.refuse(number)
            self.refused += 1
        except (StoreUnavailable, MemoryError):
            self.unknown += 1
            self.reopen(store)
        else:
            self.log.acknowledge(number, learned)
            return True
        return False

    def read(self, do: Callable[[Store], Any]) -> Any:
        """Read from the store, again when it was closed meanwhile."""
        while True:
            store = self.store
            try:
                return do(store)
            except StoreUnavailable:
                self.reopen(store)

    def reopen(self, broken: Store) -> None:
        """Another store in the place of this one, unless there is one already."""
        with self._lock:
            if self.store is broken:
                self.close()
                self.store = self._open()

    def close(self) -> None:
        """Close the store, which may fail as anything else."""
        with suppress(FunnelError, OSError, MemoryError):
            self.store.close()

    def _open(self) -> Store:
        number = self.log.begin({"space": self.tag})
        for _ in range(ATTEMPTS):
            try:
                store = Store.open(self.path, SPACES[self.tag], GRAPH)
                store._documents._writer.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT}")
            except (FunnelError, OSError, MemoryError) as error:
                failure = error
                self.when_full()
            else:
                self.log.acknowledge(number)
                return store
        raise CannotOpen(f"{type(failure).__name__}: {failure}") from failure


class Writing:
    """One client with ids of its own that writes until it has done so many things."""

    def __init__(self, run: Run, name: str, count: int, seed: int) -> None:
        self.client, self.count, self.run_, self.random = name, count, run, random.Random(f"{seed}/{name}")
        self.ids = [f"{name}-{i}" for i in range(IDS)]
        self.known: dict[str, State | None] = self._stored()

    def write(self) -> None:
        """All of it; raises what no call may raise."""
        for _ in range(self.count):
            self.step()

    def step(self) -> None:
        """One random write."""
        kind = self.random.choices((self.ingest, self.repaint, self.delete, self.delete_where), (9, 3, 2, 1))[0]
        if not kind():
            self.known = self._stored()

    def ingest(self) -> bool:
        """New documents and new versions of old ones."""
        chosen = self.random.sample(self.ids, self.random.choice((1, 2, 5, 12)))
        new = {doc_id: (self.random.randrange(1 << 30), self.random.randrange(1 << 30)) for doc_id in chosen}
        documents = [Document(i, text_of(i, state[0]), metadata=self._metadata(state)) for i, state in new.items()]
        rows = embed([document.text for document in documents], self.run_.tag)
        return self._call(dict(new), lambda store: store.write(documents, dict(enumerate(rows))))

    def repaint(self) -> bool:
        """Other metadata, in place."""
        stored = [doc_id for doc_id, state in self.known.items() if state]
        if not stored:
            return True
        doc_id = self.random.choice(stored)
        state = (self.known[doc_id] or (0, 0))[0], self.random.randrange(1 << 30)
        return self._call({doc_id: state}, lambda store: store.update_metadata(doc_id, lambda _: self._metadata(state)))

    def delete(self) -> bool:
        """Delete by id."""
        chosen = self.random.sample(self.ids, self.random.choice((1, 3)))
        return self._call(dict.fromkeys(chosen), lambda store: store.delete(chosen))

    def delete_where(self) -> bool:
        """Delete by a filter."""
        shard = self.random.randrange(SHARDS)
        hit = dict.fromkeys(i for i, state in self.known.items() if state and state[1] % SHARDS == shard)
        where = {"client": self.client, "shard": shard}
        return self._call(hit, lambda store: store.delete_where(where))

    def _call(self, changes: dict[str, State | None], do: Callable[[Store], Any]) -> bool:
        def quiet(store: Store) -> None:
            do(store)

        done = self.run_.call({f"doc:{i}": state and list(state) for i, state in changes.items()}, quiet)
        if done:
            before = {i: self.known[i] for i in changes}
            self.run_.dead += [(i, old[0]) for i, old in before.items() if old and old[0] != (changes[i] or (-1,))[0]]
            self.known |= changes
        return done

    def _metadata(self, state: State) -> dict[str, Any]:
        version, revision = state
        return {"client": self.client, "version": version, "revision": revision, "shard": revision % SHARDS}

    def _stored(self) -> dict[str, State | None]:
        found = {
            d.doc_id: (d.metadata["version"], d.metadata["revision"])
            for d in self.run_.read(lambda store: store.get(self.ids))
        }
        return {doc_id: found.get(doc_id) for doc_id in self.ids}


def write_meanwhile(run: Run, count: int, seed: int, work: Callable[[], Any] = lambda: None) -> None:
    """Two clients write while `work` is done; raises what went wrong in them."""
    clients = [run.clients.submit(Writing(run, name, count, seed).write) for name in WRITERS]
    try:
        work()
    finally:
        wait(clients)
    for client in clients:
        client.result()
