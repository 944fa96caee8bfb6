"""The servers that the crash test kills: forked from a process that has imported everything, or executed anew.

Importing takes longer than all the rest of a start. The nursery imports what `funnel` needs, makes sure that it is
one thread (a fork of several is no honest start), and forks a child for each command; the child runs the command
line's own `main`, in an environment and with a log of its own. Killed with SIGKILL, it leaves what a process leaves.
"""

import ctypes
import faulthandler
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import httpx

PDEATHSIG = 1  # of prctl: be killed when the parent ends
POLL = 0.002  # seconds
PATIENCE = 120.0  # seconds for a start, the model's loading included
SCRIPTS = Path(__file__).parent
# Imported by a server only when it starts.
LATE = ("anyio._backends._asyncio", "numpy.random", "uvicorn.loops.uvloop", "uvicorn.protocols.http.httptools_impl")


class Process(Protocol):
    """What is needed of a `subprocess.Popen`."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, sig: int) -> None: ...
    def kill(self) -> None: ...


def executed(arguments: Sequence[str], environ: Mapping[str, str], log: Path, plant: str | None = None) -> Process:
    """`funnel ARGUMENTS` as a process of its own."""
    program = [str(SCRIPTS / "planted.py"), plant] if plant else ["-m", "app.cli"]
    with log.open("ab") as file:
        command = [sys.executable, *program, *arguments]
        return subprocess.Popen(command, env=os.environ | environ, stdout=file, stderr=file, start_new_session=True)


def connect(url: str) -> httpx.Client:
    """A client of a server of our own; loading certificates would take longer than many a round."""
    return httpx.Client(base_url=url, timeout=60, verify=False, trust_env=False)


class Server:
    """`funnel serve` on a free port of this machine; `launch(arguments, environ)` starts it."""

    def __init__(self, launch: Callable[[list[str], dict[str, str]], Process], environ: Mapping[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.client = connect(self.url)
        self.process = launch(["serve"], {**environ, "FUNNEL_PORT": str(port)})

    def wait(self) -> None:
        """Return when /readyz answers 200; raises RuntimeError when it ends before, or never does."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if (code := self.process.poll()) is not None:
                raise RuntimeError(f"the server ended by itself with {code}")
            try:
                if self.client.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(5 * POLL)
        raise RuntimeError(f"the server was not ready after {PATIENCE:.0f} s")

    def end(self, how: signal.Signals) -> int:
        """Send a signal and wait for the end; the exit code."""
        self.process.send_signal(how)
        self.client.close()
        return self.process.wait(timeout=60)


class Forked:
    """A child of the nursery, with the interface of a Popen."""

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        self._nursery, self.pid = nursery, pid
        self._returncode: int | None = None

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        if self._returncode is None:
            self._returncode = self._nursery.ask({"poll": self.pid})["code"]
        return self._returncode

    def wait(self, timeout: float | None = None) -> int:
        """The exit code at its end; raises TimeoutExpired (seconds)."""
        deadline = time.monotonic() + (timeout or math.inf)
        while (code := self.poll()) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("funnel", timeout or math.inf)
            time.sleep(POLL)
        return code

    def send_signal(self, sig: int) -> None:
        """Send a signal; nothing happens when it has ended."""
        if self.poll() is None:
            os.kill(self.pid, sig)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The parent of forked servers, a process of its own; its children end with it."""

    def __init__(self, plant: str | None = None) -> None:
        command = [sys.executable, str(Path(__file__)), *([plant] if plant else [])]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True,
            env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        self.threads = self._answer()["threads"]

    def start(self, arguments: Sequence[str], environ: Mapping[str, str], log: Path) -> Process:
        """`funnel ARGUMENTS` in a fork."""
        asked = {"start": list(arguments), "environ": dict(environ), "log": str(log)}
        return Forked(self, self.ask(asked)["pid"])

    def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """One question, one answer."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def close(self) -> None:
        """End it, and its children with it."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the nursery ended; what it said is above")
        answer: dict[str, Any] = json.loads(line)
        return answer


def nurse(plant: str | None) -> None:
    """Import everything, then answer questions from standard input until it ends."""
    import importlib

    sys.path[:0] = [str(SCRIPTS.parent)]
    for name in ("app.cli", "app.main", "app.serving", "app.cli_directory", *LATE):
        importlib.import_module(name)
    if plant:
        import planted

        planted.plant(plant)
    _tell({"threads": only_thread()})
    for line in iter(sys.stdin.readline, ""):
        asked = json.loads(line)
        if "start" in asked:
            only_thread()
            if not (pid := os.fork()):
                _become(asked)
            _tell({"pid": pid})
        else:
            pid, status = os.waitpid(asked["poll"], os.WNOHANG)
            _tell({"code": os.waitstatus_to_exitcode(status) if pid else None})


def only_thread() -> int:
    """1, the number of threads of this process; raises RuntimeError when there are more."""
    threads = threading.enumerate()
    tasks = len(os.listdir("/proc/self/task")) if Path("/proc/self/task").exists() else len(threads)
    if len(threads) != 1 or tasks != 1:
        raise RuntimeError(f"a process is forked only while it has one thread, it has {tasks}: {threads}")
    return tasks


def _become(asked: dict[str, Any]) -> None:
    """In the child: the command line, as if it had been executed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PDEATHSIG, signal.SIGKILL)
    log = os.open(asked["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for target, source in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(source, target)
    faulthandler.register(signal.SIGUSR1)  # the stacks of all threads go to the log
    os.environ.update(asked["environ"])
    sys.argv = ["funnel", *asked["start"]]
    from app.cli import main

    sys.exit(main())


def _tell(answer: dict[str, Any]) -> None:
    print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    nurse(sys.argv[1] if len(sys.argv) > 1 else None)
