"""The parent's side of a worker: start it, give it orders, hear its answers, see it die."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmark_systems import PEERS, Entry

WORKER = Path(__file__).with_name("benchmark_worker.py")
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
QUIET = {"ANONYMIZED_TELEMETRY": "False", "DO_NOT_TRACK": "1", "OMP_WAIT_POLICY": "PASSIVE"}
PATIENCE = 4 * 3600.0  # seconds for an order; the longest is a build


class Failed(Exception):
    """A system refused an order, or its process ended."""


class Process:
    """A worker of one system; a context manager that ends it."""

    def __init__(self, entry: Entry, threads: int, log: Path, group: Path | None = None) -> None:
        """Start it with so many threads for OpenMP and BLAS, in a control group if one is given."""
        python = str(PEERS / "bin/python") if entry.peer else sys.executable
        environ = os.environ | QUIET | dict.fromkeys(THREADS, str(threads))
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            [python, str(WORKER), entry.source, json.dumps(entry.options)],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
        )
        if group is not None:
            (group / "cgroup.procs").write_text(str(self._process.pid))

    def __call__(self, do: str, **given: Any) -> Any:
        """Give an order and wait for its answer; raises Failed with the reason."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        too_long = threading.Timer(PATIENCE, self._process.kill)
        too_long.start()
        try:
            self._process.stdin.write(json.dumps({"do": do, **given}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        finally:
            too_long.cancel()
        if not line:
            raise Failed(f"{do}: the process ended with {self._process.wait()}; see {self._log.name}")
        answer: Mapping[str, Any] = json.loads(line)
        if "error" in answer:
            raise Failed(f"{do}: {answer['error']}")
        return answer["answer"]

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._process.poll() is None:
            with contextlib.suppress(Failed):
                self("end")
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()
