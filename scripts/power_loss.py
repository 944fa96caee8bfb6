#!/usr/bin/env python3
"""Cut the power at every point of a run, and look for what was acknowledged and is gone.

Runs a real store under strace (scripts/store_phases.py: ingest, upsert, delete, merges, rotations, compactions,
snapshots, a reindex, starts after an unclean end), which records every write, change of size, rename and fsync, and
every acknowledgement. Then makes the directories that a disk may hold after a power failure at some point of that
record (scripts/power_model.py says which are legal), opens each with the store, and compares: everything acknowledged
before the failure is there with its text and vector, nothing is half there, what a compaction erased stays erased,
`funnel verify` finds nothing, and the next write goes through.

    ./scripts/power_loss.py --states 2000 --seed 1
    ./scripts/power_loss.py --states 2000 --plants --out docs/results/power-loss.json
                                  defects are planted, too: a sync left out here and there; each has to be found
    ./scripts/power_loss.py --recording /tmp/run --states 2000
    ./scripts/power_loss.py --recording /tmp/run --only 1234/2
                                  the same state of a kept recording again; it stays in /tmp/run/1234-2
"""

import argparse
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import syscall_trace
from harness import console, store_results
from power_record import Recording, folder_in_memory, load, record
from power_states import Found, campaign, choose, examine
from store_plants import PLANTS

PLANTED_STATES, ATTEMPTS = 300, 20  # states looked at for a planted defect, and how often at most
SHOWN = 10


@contextmanager
def recorded(kept: Path | None, scale: int, plant: str | None = None) -> Iterator[Recording]:
    """The recording of a folder, made when there is none; without a folder, one that is thrown away."""
    if kept is not None and (kept / "log").exists():
        yield load(kept)
    elif kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield record(kept.resolve(), scale, plant)
    else:
        with folder_in_memory() as folder:
            yield record(Path(folder), scale, plant)


def survey(recording: Recording, states: int, seed: int, workers: int) -> tuple[Found, dict[str, Any]]:
    """Open so many states of a recording: what was found, and its figures."""
    found = campaign(recording, choose(recording, states, seed), seed, workers)
    figures = {
        "calls_recorded": sum(map(len, recording.phases)),
        "acknowledgements": sum('"ack"' in line for _, line in recording.log),
        "points_of_failure": len(recording.cuts()),
        "states_opened": found.opened,
        "different_states": len(found.distinct),
        "states_that_lost_something": len(found.losses),
        "fates": dict(found.fates.most_common()),
    }
    return found, figures


def tell(found: Found) -> None:
    """The first losses."""
    for state, loss in list(found.losses.items())[:SHOWN]:
        console.print(f"LOST in state {state}: {loss}", style="bold red", markup=False)


def planted(scale: int, seed: int, workers: int) -> dict[str, Any]:
    """Each defect in turn: how many states it took until some showed it."""
    figures = {}
    for plant in PLANTS:
        found = Found()
        with recorded(None, scale, plant) as recording:
            for attempt in range(ATTEMPTS):
                if not found.losses:
                    chosen = choose(recording, PLANTED_STATES, seed + attempt, renamed=attempt % 2 == 1)
                    found.add(campaign(recording, chosen, seed, workers))
        figures[plant] = {"states_opened": found.opened, "states_that_lost_something": len(found.losses)}
        console.print(f"planted {plant}: {len(found.losses)} of {found.opened} states lost something")
    return figures


def main() -> None:
    """Parse arguments, record, open, store."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--states", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--scale", type=int, default=2, help="how much is written in the recorded run")
    parser.add_argument("--workers", type=int, default=2, help="processes that open states")
    parser.add_argument("--plants", action="store_true", help="then plant defects, each of which has to be found")
    parser.add_argument("--recording", type=Path, help="a folder that keeps the recording, or has one")
    parser.add_argument("--only", metavar="LINE/NUMBER", help="one state of the kept recording")
    parser.add_argument("--out", type=Path, help="store the figures as JSON")
    arguments = parser.parse_args()
    if arguments.only and not arguments.recording:
        parser.error("--only needs the --recording that the state is of")
    if reason := syscall_trace.missing():
        parser.error(f"nothing can be recorded: {reason}")
    started = time.monotonic()
    with recorded(arguments.recording, arguments.scale) as recording:
        if arguments.only:
            cut, number = arguments.only.split("/")
            found = examine(recording, [(int(cut), int(number))], arguments.seed, arguments.recording, keep=True)
            figures: dict[str, Any] = {"losses": found.losses}
        else:
            found, figures = survey(recording, arguments.states, arguments.seed, arguments.workers)
    tell(found)
    if arguments.plants:
        figures["planted"] = planted(arguments.scale, arguments.seed, arguments.workers)
    unseen = [name for name, about in figures.get("planted", {}).items() if not about["states_that_lost_something"]]
    results = {"seed": arguments.seed, **figures, "seconds": round(time.monotonic() - started)}
    console.print_json(data=results)
    store_results(arguments.out, results)
    sys.exit(1 if found.losses or unseen else 0)


if __name__ == "__main__":
    main()
