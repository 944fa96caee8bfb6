"""Commands that own a directory while they run, killed at random instants too: verify, repair, compact, reindex."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from crash_known import Lost
from crash_server import Process

from index.opening import peeked

REINDEX = ["reindex"]
LOOK = 0.02  # seconds


def kill_offline(
    launch: Callable[[list[str]], Process], data: Path, rng: random.Random, longest: float, model: bool
) -> Counter[str]:
    """Run one or two of them, each for `longest` seconds at most; how many were killed, and how many came to an end.

    They may change nothing that a server would show, so that what is known stays as it is.
    """
    counts: Counter[str] = Counter()
    for _ in range(rng.randint(1, 2)):
        command = rng.choice(commands(data, model))
        process = launch(command)
        if command == REINDEX:
            _until_it_builds(process, data)
        time.sleep(rng.uniform(0, longest))
        process.kill()
        if (code := process.wait()) not in (0, -signal.SIGKILL):
            raise Lost(f"funnel {' '.join(command)} ended with {code}")
        counts["offline_kills" if code else "offline_ended"] += 1
        counts[f"offline_{command[0]}"] += 1
    return counts


def commands(data: Path, model: bool) -> list[list[str]]:
    """What may be run; only texts that a model embedded can be embedded again."""
    always = [["verify"], ["repair", "--yes"], ["compact", "--data-dir", str(data)]]
    return [*always, REINDEX, REINDEX] if model else always


def _until_it_builds(process: Process, data: Path) -> None:
    """Imports and the model take longest, and nothing can be lost in them."""
    while process.poll() is None:
        state = peeked(data)
        if state is not None and state.pending is not None:
            return
        time.sleep(LOOK)
