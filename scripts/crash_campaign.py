"""One campaign of the crash test: rounds of a start, checks, clients and a kill, on one directory.

Every round has its own random numbers, from the seed and its number, so that one can be run again by itself. The
directory is copied before each round, and the copy kept until the next round has checked what the kill left.
"""

import contextlib
import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import crash_server
from crash_checks import TOLERANCE, Embed, check_files, check_offline, check_server
from crash_clients import UntilKilled, Writing
from crash_copies import Copies
from crash_known import DIM, PREFIX_DIM, Known, Lost
from crash_offline import kill_offline
from crash_searches import Searching
from crash_server import Nursery, Server
from crash_snapshots import check_snapshots
from crash_upkeep import Compacting, Rotating, Snapshotting, Upkeep

WRITERS, SEARCHERS = 3, 2
KINDS = {"anytime": 50, "upkeep": 30, "quiet": 10, "offline": 10}
TWICE = 0.1  # of the rounds begin with a kill of the server while it starts
UPKEEP = {"rotation": Rotating, "compaction": Compacting, "snapshot": Snapshotting}


@dataclass(frozen=True)
class Options:
    """What a campaign does; `model` is FUNNEL_MODEL, `upkeep` names the long works that may go on meanwhile."""

    kills: int
    seed: int
    model: str = "none"
    plant: str | None = None
    exec_every: int = 20  # rounds that are executed rather than forked; 1: all
    upkeep: tuple[str, ...] = tuple(UPKEEP)

    @property
    def with_vectors(self) -> bool:
        """Whether vectors are sent."""
        return self.model == "none"

    @property
    def environ(self) -> dict[str, str]:
        """The settings of the server: a graph from the first thousand rows on, so that merges are killed too."""
        environ = {"FUNNEL_MODEL": self.model, "FUNNEL_SHORTLIST_INDEX": "hnsw", "HF_HUB_OFFLINE": "1"}
        if self.with_vectors:
            environ |= {"FUNNEL_DIM": str(DIM), "FUNNEL_PREFIX_DIM": str(PREFIX_DIM)}
            environ |= {"FUNNEL_ALLOW_UNTRAINED_PREFIX": "1"}
        return environ


class Failed(Exception):
    """A round broke a promise: its number, why, and the folder to replay it from."""

    def __init__(self, round: int, error: Exception, folder: Path) -> None:
        super().__init__(f"{type(error).__name__}: {error}")
        self.round, self.folder = round, folder


@dataclass
class Campaign:
    """Rounds on the directory `folder / "data"`; `told` gets the counts after each kill."""

    folder: Path
    options: Options
    told: Callable[[Counter[str]], None] = lambda _: None
    embed: Embed | None = None
    known: Known = field(default_factory=Known)
    counts: Counter[str] = field(default_factory=Counter)
    recalls: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    before: float = 0.0  # recall@10 of the same documents before a quiet kill

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.data, self.log = self.folder / "data", self.folder / "server.log"
        self.copies = Copies(self.folder)
        self.environ = self.options.environ | {"FUNNEL_DATA_DIR": str(self.data)}
        forking = self.options.with_vectors and self.options.exec_every > 1
        self.nursery = Nursery(self.options.plant) if forking else None

    def run(self, first: int | None = None) -> None:
        """Rounds until there were enough kills, and a last check; goes on where the folder stands. Raises Failed."""
        number = self._resumed(first)
        with contextlib.closing(self.nursery) if self.nursery else contextlib.nullcontext():
            while self.counts["kills"] < self.options.kills:
                self._round(number)
                number += 1
            self.copies.make(number, self.known)
            with self._blamed(number - 1), self._checked(number, random.Random(0)) as server:
                server.end(signal.SIGTERM)
        self.copies.drop(number - 1)

    def _resumed(self, first: int | None) -> int:
        """The first round, `first` if it is given: with directory and knowledge as they were before the newest one."""
        taken = self.copies.take_up()
        if taken is None:
            return first or 0
        newest, self.known = taken
        return newest if first is None else first

    def _round(self, number: int) -> None:
        rng = random.Random(f"{self.options.seed}/{number}")
        kind = rng.choices(list(KINDS), list(KINDS.values()))[0]
        self.copies.make(number, self.known)
        with contextlib.ExitStack() as stack:
            with self._blamed(max(number - 1, 0)):
                if rng.random() < TWICE:
                    self._killed_at_start(number, rng)
                server = stack.enter_context(self._checked(number, rng))
            self.copies.drop(number - 1)
            with self._blamed(number):
                self._clients(server, kind, rng, f"{self.options.seed}/{number}")
        with self._blamed(number):
            check_offline(self.data, self.folder / "scratch")
            if kind == "offline":
                self._offline(number, rng)
        self.counts[kind] += 1
        self.counts["acknowledged_changes"] = self.known.acknowledged
        self.told(self.counts)

    @contextlib.contextmanager
    def _blamed(self, number: int) -> Iterator[None]:
        """An error in here is that of this round."""
        try:
            yield
        except Exception as error:  # also what a client met: a time-out, an answer without a member
            raise Failed(number, error, self.copies.before(number)) from error

    def _server(self, number: int) -> Server:
        """A server that is starting, forked or executed."""

        def launch(arguments: list[str], environ: dict[str, str]) -> crash_server.Process:
            return self._launch(number, arguments, environ)

        return Server(launch, self.environ)

    def _launch(self, number: int, arguments: list[str], environ: dict[str, str]) -> crash_server.Process:
        if self.nursery is None or number % self.options.exec_every == 0:
            self.counts["executed"] += 1
            return crash_server.executed(arguments, environ, self.log, self.options.plant)
        self.counts["forked"] += 1
        return self.nursery.start(arguments, environ, self.log)

    def _killed_at_start(self, number: int, rng: random.Random) -> None:
        """A kill while the directory is being opened."""
        server = self._server(number)
        time.sleep(rng.uniform(0, 0.3 if self.nursery else 4.0))
        server.end(signal.SIGKILL)
        self.counts["kills"] += 1
        self.counts["kills_at_start"] += 1

    @contextlib.contextmanager
    def _checked(self, number: int, rng: random.Random) -> Iterator[Server]:
        """A server that has been found to hold what it must; killed at the end."""
        server = self._server(number)
        try:
            server.wait()
            found = check_server(server.client, self.known, self.embed, rng)
            if found.recall < self.before - TOLERANCE:
                raise Lost(f"recall@10 of the same documents fell from {self.before} to {found.recall}")
            self.before = 0.0
            self.counts["restored"] += check_snapshots(server.client, self.known, self.data, self.folder, rng)
            check_files(self.data, {f"{name}.tar" for name in self.known.snapshots})
            self.counts["documents"] = len(found.states)
            self.recalls.append(found.recall)
            self.gaps.append(found.gap)
            self.counts["starts"] += 1
            self.counts["starts_with_a_graph"] += found.older_rows > 0
            yield server
        finally:
            server.end(signal.SIGKILL)

    def _clients(self, server: Server, kind: str, rng: random.Random, seed: str) -> None:
        """Clients until the kill."""
        clients = self._make(server, rng, seed)
        upkeep = [client for client in clients if isinstance(client, Upkeep)]
        for client in clients:
            client.start()
        time.sleep(rng.uniform(0.05, 1.0 if self.options.with_vectors else 5.0))
        if kind == "quiet":
            self._quiet(server, clients, rng)
        elif kind == "upkeep" and upkeep:
            rng.choice(upkeep).begun.wait(timeout=3)
            time.sleep(rng.uniform(0, 0.1))
        if server.process.poll() is not None:
            raise Lost(f"the server ended by itself with {server.process.poll()}")
        for client in clients:
            client.killed.set()
        server.process.kill()
        server.process.wait()
        self.counts["kills"] += 1
        for client in clients:
            client.finish()
            self.counts[client.what] += client.done
            if isinstance(client, Upkeep):
                self.counts[f"kills_within_{client.what}"] += client.working

    def _make(self, server: Server, rng: random.Random, seed: str) -> list[UntilKilled]:
        model, known, url = self.options.with_vectors, self.known, server.url
        clients: list[UntilKilled] = [Writing(url, known, n, seed, model) for n in range(WRITERS)]
        clients += [Searching(url, known, f"{seed}/s{n}", model) for n in range(SEARCHERS)]
        for name in self.options.upkeep:
            if rng.random() < 0.5:
                clients.append(UPKEEP[name](url, known, f"{seed}/{name}"))
        return clients

    def _quiet(self, server: Server, clients: list[UntilKilled], rng: random.Random) -> None:
        """All clients stop, all is checked and recall is measured; then comes the kill."""
        for client in clients:
            client.stopping.set()
        for client in clients:
            try:
                client.finish()
            except Lost:
                server.process.send_signal(signal.SIGUSR1)
                time.sleep(1)
                raise
        self.before = check_server(server.client, self.known, self.embed, rng).recall
        time.sleep(rng.uniform(0, 0.2))

    def _offline(self, number: int, rng: random.Random) -> None:
        """Commands that own the directory, killed too."""

        def launch(command: list[str]) -> crash_server.Process:
            return self._launch(number, command, self.environ)

        longest = 0.8 if self.nursery else 4.0
        self.counts.update(kill_offline(launch, self.data, rng, longest, not self.options.with_vectors))

    def summary(self) -> dict[str, Any]:
        """The counts, for people and for docs/results."""
        mean = sum(self.recalls) / max(len(self.recalls), 1)
        return {**self.counts, "recall_at_10": round(mean, 4), "recall_gap_most": round(max(self.gaps, default=0.0), 4)}
