#!/usr/bin/env python3
"""Everything that changes a store, in a few seconds: the process that the power-loss and fault campaigns watch.

A phase is one process. `first` makes an index and ends without closing it, `second` goes on and closes it, `third`
embeds all texts again and is cut off in the middle, `fourth` finishes that, goes on and closes. Two clients write
(ingest, upsert, metadata, delete, delete by filter) while the phase does the rarer things.

    ./scripts/store_phases.py first /tmp/data /tmp/log --scale 4
"""

import argparse
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from store_plants import PLANTS
from store_promises import ANY, Log
from store_workload import DIM, GRAPH, PREFIX_DIM, SPACES, Run, embed, write_meanwhile

from index import merger, vectors
from index.calibrating import Asked
from index.options import StoreOptions
from index.reindex import reindex
from index.rotation import QueryMap, Rotation
from index.store import Store

ERASED = 30  # dead texts that are looked for after a compaction, the newest


def shrink_constants() -> None:
    """Merges, and growth of the files, happen every few commits instead of every few thousand."""
    merger.MIN_MERGE = 48
    vectors.MIN_GROWTH = 8 << 10


def random_rotation(seed: int) -> Rotation:
    """An orthogonal matrix, named by its seed."""
    square = np.random.default_rng(seed).standard_normal((DIM, DIM))
    return Rotation(np.linalg.qr(square)[0].astype(np.float32), (PREFIX_DIM,), f"rotation {seed}")


def rotate(run: Run, seed: int | None) -> bool:
    """Apply a rotation, or undo the one in force."""
    rotation = None if seed is None else random_rotation(seed)
    return run.call({"rotation": rotation and rotation.method}, lambda store: store.rotate(rotation))


def map_queries(run: Run, seed: int) -> bool:
    """Put a map on the queries."""
    made = QueryMap(random_rotation(seed).matrix, {"seed": float(seed)})
    return run.call({"query map": seed}, lambda store: store.set_query_map(made))


def calibrate(run: Run, seed: int) -> bool:
    """Make a calibration; its id is known when it is there."""
    asked = Asked(embed([f"query {seed}/{i}" for i in range(100)], run.tag), "test", True)
    return run.call({"calibration": ANY}, lambda store: {"calibration": store.calibrate(asked).calibration_id})


def make_snapshot(run: Run, name: str) -> bool:
    """One consistent moment in a file, whose checksum is known when it is there."""
    key = f"snapshot:{name}"
    return run.call({key: ANY}, lambda store: {key: store.snapshots.make(name=name)["sha256"]})


def drop_snapshot(run: Run, name: str) -> bool:
    """Delete it again."""
    return run.call({f"snapshot:{name}": None}, lambda store: store.snapshots.delete(name))


def compact(run: Run) -> bool:
    """Give up the dead rows; texts that were dead when it began are in no file of the index after it."""
    dead = [list(version) for version in run.dead[-ERASED:]]
    return run.call({"erased": dead, "calibration": ANY}, _compacted)


def _compacted(store: Store) -> dict[str, Any]:
    """The calibration has another id after it: it names rows."""
    store.compact()
    calibration = store.stats()["calibration"]
    return {"calibration": calibration and calibration["id"]}


def settle(run: Run) -> None:
    """Wait until the merger has nothing to do: a process ends with no call under way."""
    while merger.due(run.store.view, GRAPH) or run.store._merger.merging or run.store._merger.files.locked():
        time.sleep(0.002)
    time.sleep(0.05)


def first(path: Path, log: Log, scale: int) -> None:
    """A new index, everything that can happen to it, and no end."""
    run = Run(path, log, "one")
    write_meanwhile(run, 6 * scale, 1)
    write_meanwhile(run, 3 * scale, 2, lambda: rotate(run, 1))
    map_queries(run, 2)
    if scale > 1:
        calibrate(run, 1)
    write_meanwhile(run, 2 * scale, 3, lambda: rotate(run, 3))
    settle(run)


def second(path: Path, log: Log, scale: int) -> None:
    """What was left open, opened again; and closed."""
    run = Run(path, log, "one")
    write_meanwhile(run, 3 * scale, 4, lambda: make_snapshot(run, "one"))
    write_meanwhile(run, 2 * scale, 5, lambda: rotate(run, None))
    write_meanwhile(run, 2 * scale, 7, lambda: compact(run))
    rotate(run, 4)
    make_snapshot(run, "two")
    drop_snapshot(run, "one")
    settle(run)
    run.store.close()


def third(path: Path, log: Log, scale: int) -> None:
    """Embed everything again into another space; half of it."""
    left = [3]

    def failing(texts: list[str]) -> np.ndarray:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return embed(texts, "two")

    _reindex(path, log, failing)


def fourth(path: Path, log: Log, scale: int) -> None:
    """The rest of it, and back to work."""
    _reindex(path, log, lambda texts: embed(texts, "two"))
    run = Run(path, log, "two")
    write_meanwhile(run, 3 * scale, 6, lambda: rotate(run, 5))
    compact(run)
    make_snapshot(run, "three")
    run.store.close()


def _reindex(path: Path, log: Log, embedder: Callable[[list[str]], np.ndarray]) -> None:
    number = log.begin({"space": "two", "rotation": None, "query map": None})
    try:
        reindex(path, SPACES["two"], embedder, StoreOptions(storage="bfloat16"), batch=32)
    except KeyboardInterrupt:
        return
    log.acknowledge(number)


PHASES = {"first": first, "second": second, "third": third, "fourth": fourth}


def main() -> None:
    """One phase."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("phase", choices=PHASES)
    parser.add_argument("data", type=Path)
    parser.add_argument("log", type=Path, help="what was called and acknowledged is added to this file")
    parser.add_argument("--scale", type=int, default=1, help="how much is written; above 1 a calibration is made, too")
    parser.add_argument("--plant", choices=PLANTS, help="a defect that the campaign has to find")
    arguments = parser.parse_args()
    shrink_constants()
    if arguments.plant:
        PLANTS[arguments.plant]()
    PHASES[arguments.phase](arguments.data, Log(arguments.log), arguments.scale)
    os._exit(0)  # no thread and no finaliser does anything more


if __name__ == "__main__":
    main()
