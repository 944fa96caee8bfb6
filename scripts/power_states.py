"""The states of a recorded run that are looked at, and what is found when the store opens them."""

import hashlib
import logging
import shutil
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from itertools import groupby
from multiprocessing import get_context
from pathlib import Path
from random import Random

from harness import console
from power_crash import Files, crashed, materialise
from power_disk import Disk
from power_model import Fate
from power_record import Recording, folder_in_memory
from rich.progress import track
from store_check import check_store
from store_promises import acknowledged, possible_after

FIXED = (
    Fate("none", "none"),  # only what was synced
    Fate("none", "all"),  # every name, of files that may be empty
    Fate("sizes", "all"),  # names and sizes, zeros for bytes
    Fate("all", "none"),
    Fate("all", "all"),  # what a kill leaves
)
FATES = 6  # of a cut
SOON = 50  # lines of a trace
PART = 50  # states given to a process at a time
_kept: list[Recording] = []  # in a worker
State = tuple[int, int]  # the line of the trace where the power fails, and the number of the fate


@dataclass
class Found:
    """What a campaign saw: states opened, digests of the different ones, fates, and what was lost in which state."""

    opened: int = 0
    distinct: set[str] = field(default_factory=set)
    fates: Counter[str] = field(default_factory=Counter)
    losses: dict[str, str] = field(default_factory=dict)

    def add(self, other: "Found") -> None:
        """Take in what another process saw."""
        self.opened += other.opened
        self.distinct |= other.distinct
        self.fates += other.fates
        self.losses |= other.losses


def choose(recording: Recording, count: int, seed: int, renamed: bool = False) -> list[State]:
    """So many different states in the order of their cuts; all of them when there are no more.

    With `renamed` only those soon after something got its name, where a directory that is not synced shows.
    """
    cuts = recording.after_renames(SOON) if renamed else recording.cuts()
    every = [(cut, number) for cut in cuts for number in range(FATES)]
    return sorted(Random(seed).sample(every, min(count, len(every))))


def fate_of(state: State, seed: int) -> tuple[Fate, Random]:
    """What becomes of what is not durable in this state, and the dice for it."""
    random = Random(f"{seed}/{state[0]}/{state[1]}")
    if state[1] == 0:
        return random.choice(FIXED), random
    names = random.choice(("none", "all", "journaled", "journaled", "loose", "loose"))
    return Fate("some", names, random.choice((512, 4096)), random.choice((0.1, 0.5, 0.9))), random


def crashes(recording: Recording, chosen: list[State], seed: int) -> Iterator[tuple[State, Fate, Files]]:
    """Each chosen state with its fate and its files."""
    disk = Disk(recording.root)
    calls = [(call, first == 0) for phase in recording.phases for first, call in enumerate(phase)]
    position = 0
    for cut, states in groupby(chosen, key=lambda state: state[0]):
        while position < len(calls) and calls[position][0].moment < cut:
            call, first = calls[position]
            if first:
                disk.new_process()
            disk.play(call)
            position += 1
        for state in states:
            fate, random = fate_of(state, seed)
            yield state, fate, crashed(disk, cut, fate, random)


def examine(recording: Recording, chosen: list[State], seed: int, folder: Path, keep: bool = False) -> Found:
    """Make each chosen state below a folder and open it."""
    found = Found()
    for state, fate, files in crashes(recording, chosen, seed):
        name, path = f"{state[0]}/{state[1]}", folder / f"{state[0]}-{state[1]}"
        promised = recording.promised(state[0])
        materialise(files, path)
        found.opened += 1
        found.fates[f"bytes {fate.data}, names {fate.names}"] += 1
        found.distinct.add(_digest(files, acknowledged(promised)))
        try:
            check_store(path, possible_after(promised))
        except Exception as error:  # whatever it is: the store could not live with what it was left
            found.losses[name] = f"{fate}: {type(error).__name__}: {error}".replace(str(path), "DATA")
        if not keep:
            shutil.rmtree(path)
    return found


def campaign(recording: Recording, chosen: list[State], seed: int, workers: int = 2) -> Found:
    """All chosen states, in so many processes."""
    found, size = Found(), max(1, min(PART, len(chosen) // (4 * workers)))
    parts = [chosen[at : at + size] for at in range(0, len(chosen), size)]
    fresh = get_context("spawn")  # what is forked from a process with threads may wait for one for ever
    with (
        folder_in_memory() as folder,
        ProcessPoolExecutor(workers, fresh, initializer=_remember, initargs=(recording,)) as pool,
    ):
        futures = [pool.submit(_examine, part, seed, Path(folder)) for part in parts]
        shown = track(as_completed(futures), "states", len(futures), console=console, disable=not console.is_terminal)
        for future in shown:
            found.add(future.result())
    return found


def _remember(recording: Recording) -> None:
    """In a worker, once: the recording is large. A graph that is made again is no news here."""
    logging.disable(logging.WARNING)
    _kept.append(recording)


def _examine(chosen: list[State], seed: int, folder: Path) -> Found:
    return examine(_kept[0], chosen, seed, folder)


def _digest(files: Files, promises: int) -> str:
    """Equal for states of the same files and the same promises; SQLite's -shm is random here and says nothing."""
    digest = hashlib.sha256(str(promises).encode())
    for path in sorted(path for path in files if not path.endswith("-shm")):
        digest.update(path.encode() + b"\0" + (files[path] or b""))
    return digest.hexdigest()
