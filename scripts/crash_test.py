#!/usr/bin/env python3
"""Kill the server at random instants while everything goes on in it, and look for what it lost.

Starts the real server; clients ingest (JSON, NDJSON, all or nothing), upsert, change metadata, delete, delete by
filter, search and read, and others rotate, compact and make snapshots; then it is ended with SIGKILL: at a random
instant, within a long work, while nothing is written, or while it starts. Commands that own a directory (verify,
repair, compact, reindex) are killed too. After every kill the directory is verified (laws 3 to 5) and the server is
started again: each document must be as the last acknowledged write left it, or as the write that was under way would
have, with its text, metadata and vector; what is all or nothing is; deleted documents stay deleted; counts agree;
exact search is exact; recall@10 is at most 0.02 below that of an exact first stage, and below what it was before the
kill; snapshots restore; no file is left over. While it runs, every answer must be one that the acknowledged writes
allow.

A round's choices come from --seed and its number, though not the instant at which a request meets the kill.

    ./scripts/crash_test.py --kills 20 --seed 1
    ./scripts/crash_test.py --kills 1000 --jobs 2 --out docs/results/crash-none.json
    ./scripts/crash_test.py --kills 100 --keep /tmp/crash        # the same command goes on where it stopped
    ./scripts/crash_test.py --kills 20 --model bundled
    ./scripts/crash_test.py --plant drop-tombstone --kills 100   # must end in LOST
    ./scripts/crash_test.py --replay /tmp/crash/1/before-17 1 17 --kills 10
"""

import argparse
import multiprocessing
import queue
import shutil
import sys
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from crash_campaign import UPKEEP, Campaign, Failed, Options
from harness import console, store_results
from planted import PLANTED
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LOST = 1  # exit code
INTERRUPTED = 130


def model_of(options: Options) -> Any:
    """The function that embeds texts as the server does, None without a model."""
    if options.with_vectors:
        return None
    from app.embedder import load_embedder
    from app.settings import load_settings

    embedder = load_embedder(load_settings(model=options.model))
    assert embedder is not None
    return lambda texts: embedder.embed_documents(texts).vectors


def work(folder: Path, options: Options, first: int | None, told: "multiprocessing.Queue[Any]") -> None:
    """One campaign in a process of its own: tells its counts after each kill, and how it ended."""
    campaign = Campaign(folder, options, lambda counts: told.put(("counts", options.seed, counts)))
    kind, more = "done", {}
    try:
        campaign.embed = model_of(options)
        campaign.run(first)
    except Failed as error:
        kind, more = "lost", {"round": error.round, "error": str(error), "folder": str(error.folder)}
    except KeyboardInterrupt:
        kind = "stopped"
    told.put((kind, options.seed, {**campaign.summary(), **more}))


class Show:
    """A progress bar over all campaigns, and how each of them ended."""

    def __init__(self, kills: int) -> None:
        columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.description}"))
        self.bar = Progress(TextColumn("kills"), *columns, console=console, disable=not console.is_terminal)
        self.task = self.bar.add_task("", total=kills)
        self.counts: dict[int, Counter[str]] = {}
        self.ends: dict[int, tuple[str, dict[str, Any]]] = {}

    def tell(self, kind: str, seed: int, what: Any) -> None:
        """A message of a campaign."""
        if kind != "counts":
            self.ends[seed] = (kind, what)
            return
        self.counts[seed] = what
        total = sum(self.counts.values(), Counter[str]())
        changes, answers = total["acknowledged_changes"], total["answers_checked"]
        text = f"{changes:,} changes acknowledged, {answers:,} answers checked"
        self.bar.update(self.task, completed=total["kills"], description=text)


def campaigns(folder: Path, options: Options, jobs: int, first: int | None) -> Show:
    """Run so many campaigns at once, of seeds that follow each other, and share the kills among them."""
    context, show = multiprocessing.get_context("spawn"), Show(options.kills)
    told: multiprocessing.Queue[Any] = context.Queue()
    workers = []
    for job in range(jobs):
        kills = options.kills // jobs + (job < options.kills % jobs)
        own = replace(options, kills=kills, seed=options.seed + job)
        workers.append(context.Process(target=work, args=(folder / str(own.seed), own, first, told)))
    with show.bar:
        for worker in workers:
            worker.start()
        listen(show, told, workers)
    return show


def listen(show: Show, told: "multiprocessing.Queue[Any]", workers: list[Any]) -> None:
    """Until all campaigns have told how they ended, also after Ctrl-C, which reaches them too."""
    while len(show.ends) < len(workers):
        try:
            show.tell(*told.get(timeout=1))
        except queue.Empty:
            if not any(worker.is_alive() for worker in workers):
                raise RuntimeError("a campaign ended without a word") from None
        except KeyboardInterrupt:
            console.print("stopping; what was done follows", style="yellow")


def report(show: Show, options: Options, seconds: float, out: Path | None) -> int:
    """Print and store the sums; the exit code."""
    ends = [what for _, what in show.ends.values()]
    sums: Counter[str] = sum((Counter({k: v for k, v in end.items() if isinstance(v, int)}) for end in ends), Counter())
    worst = {"recall_gap_most": max(end["recall_gap_most"] for end in ends)}
    results = {**sums, **worst, "model": options.model, "seeds": sorted(show.ends), "seconds": round(seconds)}
    console.print_json(data=results)
    kinds = {kind for kind, _ in show.ends.values()}
    for seed, (kind, what) in show.ends.items():
        if kind == "lost":
            console.print(
                f"LOST with seed {seed} in round {what['round']}: {what['error']}", style="bold red", soft_wrap=True
            )
            console.print(
                f"run it again: crash_test.py --replay {what['folder']} {seed} {what['round']} --kills 10",
                soft_wrap=True,
            )
    if kinds == {"done"}:
        store_results(out, results)
    return LOST if "lost" in kinds else INTERRUPTED if "stopped" in kinds else 0


def replay(source: Path, seed: int, number: int, options: Options) -> Show:
    """One round again and again, from the same directory, until it fails."""
    for attempt in range(options.kills):
        with tempfile.TemporaryDirectory(prefix="funnel-replay-") as folder:
            shutil.copytree(source, Path(folder) / str(seed) / f"before-{number}")
            show = campaigns(Path(folder), replace(options, seed=seed, kills=1), 1, number)
        ((kind, what),) = show.ends.values()
        if kind != "done":
            what["folder"] = str(source)  # that of the attempt is gone
            break
        console.print(f"attempt {attempt + 1}: nothing lost")
    return show


def parsed() -> argparse.Namespace:
    """The arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="SIGKILLs of the server; with --replay: attempts")
    parser.add_argument("--seed", type=int, default=1, help="of the choices, with the number of a round (default: 1)")
    parser.add_argument("--jobs", type=int, default=1, help="campaigns at once, of the seeds from --seed on")
    parser.add_argument("--model", default="none", help="FUNNEL_MODEL of the server; none sends vectors")
    parser.add_argument(
        "--upkeep",
        default=",".join(UPKEEP),
        help=f"long works that may go on, of {', '.join(UPKEEP)} (default: %(default)s)",
    )
    parser.add_argument("--exec-every", type=int, default=20, help="every so many rounds a new process; 1: always")
    parser.add_argument("--plant", choices=PLANTED, help="a defect that the campaign must find")
    parser.add_argument("--keep", type=Path, help="keep the directories here, and go on from them")
    parser.add_argument("--from", dest="first", type=int, help="number of the first round (default: where it stopped)")
    parser.add_argument("--replay", nargs=3, metavar=("DIR", "SEED", "ROUND"), help="run one round again")
    parser.add_argument("--out", type=Path, help="store the counts as JSON")
    arguments = parser.parse_args()
    arguments.works = tuple(filter(None, arguments.upkeep.split(",")))
    if unknown := set(arguments.works) - UPKEEP.keys():
        parser.error(f"--upkeep: {', '.join(sorted(unknown))} is none of {', '.join(UPKEEP)}")
    return arguments


def main() -> None:
    """Parse arguments, run, report; the folder of a failure is kept."""
    arguments, started = parsed(), time.monotonic()
    options = Options(
        arguments.kills, arguments.seed, arguments.model, arguments.plant, arguments.exec_every, arguments.works
    )
    folder = arguments.keep or Path(tempfile.mkdtemp(prefix="funnel-crash-"))
    if arguments.replay:
        source, seed, number = arguments.replay
        show = replay(Path(source), int(seed), int(number), options)
    else:
        show = campaigns(folder, options, arguments.jobs, arguments.first)
    code = report(show, options, time.monotonic() - started, arguments.out)
    if code != LOST and not arguments.keep:
        shutil.rmtree(folder, ignore_errors=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
