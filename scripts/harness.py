"""What the measuring scripts share: reading files, cached vectors, a real server, results with their origin."""

import gzip
import hashlib
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console

CACHE = Path(".cache/vectors")
PACKAGES = ("faiss-cpu", "numpy", "sentence-transformers", "torch", "fastapi", "uvicorn")
PATIENCE = 180.0  # seconds for a start, the model's loading included
EMBEDDED_AT_ONCE = 1_024
console = Console()


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The objects of a gzipped JSONL file."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


def cached(
    fingerprint: str, role: str, texts: Sequence[str], embed: Callable[[Sequence[str]], np.ndarray]
) -> np.ndarray:
    """(n, dim) float32 vectors of texts, from .cache/vectors when they were embedded before."""
    path = cache_path(fingerprint, role, texts)
    if path.exists():
        return np.load(path, mmap_mode="r", allow_pickle=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    parts = []
    for start in range(0, len(texts), EMBEDDED_AT_ONCE):
        parts.append(embed(texts[start : start + EMBEDDED_AT_ONCE]))
        done = min(start + EMBEDDED_AT_ONCE, len(texts))
        console.print(f"  {role}: {done:,} of {len(texts):,} embedded", style="dim")
    vectors = np.concatenate(parts)
    np.save(path, vectors)
    return vectors


def cache_path(fingerprint: str, role: str, texts: Sequence[str]) -> Path:
    """Where the vectors of these texts are kept."""
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16]
    return CACHE / fingerprint / f"{role}-{len(texts)}-{digest}.npy"


class Server:
    """The real server process on a free port of this machine, logging to a file; `before` starts it, as strace does."""

    def __init__(self, settings: Mapping[str, str], log: Path, before: Sequence[str] = ()) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log.open("ab")
        environ = os.environ | {"FUNNEL_PORT": str(self.port), "HF_HUB_OFFLINE": "1"} | settings
        command = [*before, sys.executable, "-m", "app.cli", "serve"]
        self.process = subprocess.Popen(command, env=environ, stdout=self.log, stderr=self.log)
        self.client = httpx.Client(base_url=self.url, timeout=120)

    def wait(self) -> None:
        """Return when /readyz answers 200; raises RuntimeError when it never does."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"the server ended by itself with {self.process.returncode}; see {self.log.name}")
            try:
                if self.client.get("/readyz").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.05)
        raise RuntimeError(f"the server was not ready after {PATIENCE:.0f} s; see {self.log.name}")

    def memory(self) -> dict[str, int]:
        """Resident bytes of the process: anonymous and file-backed."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        fields = dict(line.split(":", 1) for line in status.splitlines())
        kib = {name: int(fields[key].split()[0]) for name, key in (("anonymous", "RssAnon"), ("file", "RssFile"))}
        return {name: 1024 * value for name, value in kib.items()}

    def end(self, how: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and wait for the end."""
        if self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(timeout=60)
        self.client.close()
        self.log.close()


def _commit() -> str:
    """Of the working tree; empty when there is none, or no git."""
    try:
        found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    except OSError:
        return ""
    return found.stdout.strip()


COMMIT = _commit()  # when the script starts: a long run goes on with the code that it has loaded


def origin() -> dict[str, Any]:
    """Commit, command, versions and machine of a measurement."""
    return {
        "commit": COMMIT,
        "command": " ".join(["./scripts/" + Path(sys.argv[0]).name, *sys.argv[1:]]),
        "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
        "machine": f"{_processor()}, {os.cpu_count()} cores, {platform.system()}",
    }


def store_results(path: Path | None, results: Mapping[str, Any]) -> None:
    """Write results and their origin as JSON, when a path was given."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({**origin(), **results}, indent=1) + "\n")


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    named = [line.split(":", 1)[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return named[0] if named else platform.machine()
