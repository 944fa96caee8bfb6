"""A run: builds, a survey of all settings, rounds over those worth it, and cold searches."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_data import Collection
from benchmark_memory import NoCap, capped, drop, on_disk
from benchmark_process import Failed, Process
from benchmark_ratios import at_recall, frontier
from benchmark_subject import Measured, Subject, rounded
from benchmark_systems import PEERS, Entry
from harness import console

SURVEYED = 100  # queries of a setting in the survey
LIMIT, SURVEY_LIMIT = 3.0, 1.0  # seconds for the queries of a setting in a round, and in the survey
COLD_QUERIES, COLD_RECALL = 100, 0.95
RESERVE, TIMES = 1_000_000_000, 4  # free bytes that a build must leave, and what it may need, times the vectors


@dataclass(frozen=True)
class Plan:
    """What is measured."""

    ks: tuple[int, ...] = (10, 100)
    rounds: int = 5
    per_round: int = 250
    throughput_seconds: float = 0.5
    threads: int = 2


class Run:
    """All systems over one collection."""

    def __init__(self, collection: Collection, entries: list[Entry], plan: Plan, cap: int | None, reuse: bool) -> None:
        self._collection, self._plan, self._cap, self._reuse = collection, plan, cap, reuse
        self._subjects = [Subject(entry, collection.folder / entry.name) for entry in entries]
        self._cores = sorted(os.sched_getaffinity(0))[-plan.threads :]
        self._scratch = collection.folder / "found.npz"

    def prepare(self) -> dict[str, Any]:
        """Build all indexes, for a run that reuses them."""
        for subject in self._subjects:
            self._try(subject, "building", self._build)
        return self._told()

    def everything(self, cold: bool) -> dict[str, Any]:
        """Build, survey, rounds, cold searches; a system that fails is left out from there on, with the reason."""
        self.prepare()
        for subject in self._living():
            self._try(subject, "survey of", self._survey)
        kept = {subject.entry.name: {k: subject.repeated(k) for k in self._plan.ks} for subject in self._living()}
        for number in range(self._plan.rounds):
            order = np.random.default_rng(number).permutation(len(self._subjects))
            for subject in (self._subjects[place] for place in order if not self._subjects[place].failed):
                what = f"round {number + 1} of {self._plan.rounds}:"
                self._try(subject, what, lambda one, n=number: self._round(one, n, kept[one.entry.name]))
        if cold:
            for subject in self._living():
                self._try(subject, "cold:", self._cold)
        return self._told()

    def _told(self) -> dict[str, Any]:
        told = [subject.to_json() for subject in self._subjects]
        return {"plan": asdict(self._plan), "memory_cap": self._cap, "cores": len(self._cores), "systems": told}

    def _living(self) -> list[Subject]:
        return [subject for subject in self._subjects if not subject.failed]

    def _try(self, subject: Subject, what: str, step: Any) -> None:
        console.print(f"{what} {subject.entry.name}", style="dim", highlight=False)
        try:
            step(subject)
        except (Failed, NoCap) as error:
            console.print(f"  failed: {error}", style="red", highlight=False, markup=False)
            subject.about["failed"] = f"{what} {error}"

    def _build(self, subject: Subject) -> None:
        record = subject.folder.with_suffix(".json")
        subject.about["reused"] = self._reuse and record.exists()
        if not subject.about["reused"]:
            self._check_possible(subject)
            shutil.rmtree(subject.folder, ignore_errors=True)
            subject.folder.mkdir(parents=True)
            with Process(subject.entry, len(self._cores), self._log(subject)) as process:
                process("pin", cores=self._cores)
                given = {"vectors": self._collection.vectors, "calibration": self._collection.calibration}
                paths = {name: str(path) for name, path in given.items()} | {"folder": str(subject.folder)}
                built = process("build", **paths, threads=len(self._cores))
            record.write_text(json.dumps(built))
        subject.about["build"] = {name: rounded(value) for name, value in json.loads(record.read_text()).items()}
        subject.about["disk_bytes"] = on_disk(subject.folder)

    def _check_possible(self, subject: Subject) -> None:
        if subject.entry.peer and not (PEERS / "bin/python").exists():
            raise Failed("the peers are not installed; ./scripts/benchmark.py --install does it")
        needed = TIMES * self._collection.vectors.stat().st_size + RESERVE
        if (free := shutil.disk_usage(self._collection.folder).free) < needed:
            raise Failed(f"a build may need {needed / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free")

    @contextmanager
    def _opened(self, subject: Subject) -> Iterator[Process]:
        """A new process that has read the index."""
        if self._cap is None:
            yield from self._in_group(subject, None)
        else:
            drop(subject.folder)  # pages in memory already would count for nobody
            with capped(self._cap) as group:
                yield from self._in_group(subject, group)

    def _in_group(self, subject: Subject, group: Path | None) -> Iterator[Process]:
        with Process(subject.entry, 1, self._log(subject), group) as process:
            process("pin", cores=self._cores)  # pools of threads are made for all of them
            told = process("open", folder=str(subject.folder), queries=str(self._collection.queries))
            subject.about |= {"open_seconds": rounded(told["seconds"]), "versions": told["versions"]}
            subject.about["open_read_bytes"] = told["read_bytes"]
            self._pin(process, subject, 1)
            yield process

    def _pin(self, process: Process, subject: Subject, cores: int) -> None:
        """One core for the one thread of a library; a server and its client have all."""
        served = subject.entry.kind == "served"
        process("pin", cores=self._cores if served else self._cores[-cores:])

    def _survey(self, subject: Subject) -> None:
        with self._opened(subject) as process:
            for k in self._plan.ks:
                settings = subject.settings[k] = [Measured(setting) for setting in process("settings", k=k)]
                for one in settings:
                    number = min(SURVEYED, self._plan.per_round)
                    one.surveyed.append(self._asked(process, one, k, 0, number, SURVEY_LIMIT))

    def _round(self, subject: Subject, number: int, kept: dict[int, list[Measured]]) -> None:
        every = [(k, one) for k, settings in kept.items() for one in settings]
        every = [every[place] for place in np.random.default_rng(number).permutation(len(every))]
        with self._opened(subject) as process:
            for k, one in every:
                first = number * self._plan.per_round
                one.rounds.append(self._asked(process, one, k, first, self._plan.per_round))
            subject.about["memory"] = process("memory")
            self._pin(process, subject, len(self._cores))
            for k, one in every:
                given = {"threads": self._plan.threads, "seconds": self._plan.throughput_seconds}
                one.throughputs.append(process("throughput", k=k, setting=one.setting, **given))

    def _asked(
        self, process: Process, one: Measured, k: int, first: int, number: int, limit: float = LIMIT
    ) -> np.ndarray:
        given = {"first": first, "number": number, "limit": limit, "out": str(self._scratch)}
        told = process("measure", k=k, setting=one.setting, **given)
        one.waited.append(told["waited"])
        one.stages.append(told["stages"])
        return self._recalled(one, k, first)

    def _recalled(self, one: Measured, k: int, first: int) -> np.ndarray:
        found = np.load(self._scratch, allow_pickle=False)
        one.recalls.append(self._collection.recalls(found["rows"], first, k))
        return found["nanoseconds"]

    def _cold(self, subject: Subject) -> None:
        """The first searches of a process, at the fastest setting with COLD_RECALL, its files out of the page cache."""
        k = self._plan.ks[0]
        points = [one.point() for one in subject.settings[k] if one.rounds]
        enough = [point for point in frontier(points) if point.recall >= COLD_RECALL]
        if not enough:
            subject.about["cold"] = {"failed": f"no setting has recall {COLD_RECALL}"}
            return
        drop(subject.folder)
        with self._opened(subject) as process:
            given = {"number": COLD_QUERIES, "out": str(self._scratch)}
            told = process("cold", k=k, setting=enough[0].setting, **given)
        taken = np.load(self._scratch, allow_pickle=False)["nanoseconds"] / 1e6
        warm = at_recall(points, enough[0].recall)
        subject.about["cold"] = {
            "setting": enough[0].setting,
            "recall": round(enough[0].recall, 5),
            "open_seconds": subject.about["open_seconds"],
            "open_read_bytes": subject.about["open_read_bytes"],
            "first_ms": rounded(taken[0]),
            "p50_ms": rounded(np.percentile(taken, 50)),
            "p99_ms": rounded(np.percentile(taken, 99)),
            "mean_ms": rounded(taken.mean()),
            "warm_p50_ms": None if warm is None else rounded(warm.mean() * 1e3),
            "read_bytes_per_search": round(told["read_bytes"] / len(taken)),
        }

    def _log(self, subject: Subject) -> Path:
        return subject.folder.with_suffix(".log")
