"""Servers over HTTP, asked by one client: a kept connection for each thread, bodies made before the clock starts."""

import base64
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_chroma import Chroma
from benchmark_funnel import Funnel
from benchmark_system import PREFIX, Setting, System, depths

PATIENCE = 120.0  # seconds for a start
COLLECTIONS = "/api/v2/tenants/default_tenant/databases/default_database/collections"


class Served(System):
    """A server process on a free port of this machine; what is timed is request and whole answer, not their JSON."""

    _process: subprocess.Popen[bytes] | None = None

    def start(self, command: list[str], environ: Mapping[str, str], ready: str, log: Path) -> None:
        """Run it until `ready` answers 200."""
        self._threads = threading.local()
        with log.open("ab") as file:
            self._process = subprocess.Popen(command, env=os.environ | environ, stdout=file, stderr=file)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if self.ask("GET", ready)[0] == 200:
                    return
            except OSError:
                self._threads = threading.local()
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server is not ready; see {log}")
            time.sleep(0.05)

    def stop(self) -> None:
        """End it in order."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait(timeout=60)
        self._process = None

    def free_port(self) -> int:
        """Where the next server listens."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        return self._port

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, bytes]:
        """Status and body over this thread's connection."""
        if not hasattr(self._threads, "connection"):
            self._threads.connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        connection = self._threads.connection
        connection.request(method, path, body, {"content-type": "application/json"})
        answer = connection.getresponse()
        return answer.status, answer.read()

    def asked(self, method: str, path: str, value: Any = None) -> Any:
        """The JSON of an answer that must be a success."""
        status, body = self.ask(method, path, None if value is None else json.dumps(value).encode())
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {body[:500]!r}")
        return json.loads(body)

    @abstractmethod
    def request(self, k: int, setting: Setting) -> tuple[str, Callable[[np.ndarray], Any]]:
        """Path, and a function from a query to what the body says."""

    @abstractmethod
    def names(self, answer: Any) -> list[str]:
        """The ids in an answer."""

    def searcher(self, k: int, setting: Setting) -> Callable[[Any], Any]:
        path, self._body = self.request(k, setting)

        def search(body: bytes) -> bytes:
            status, answer = self.ask("POST", path, body)
            if status != 200:
                raise RuntimeError(f"{path}: {status} {answer[:500]!r}")
            return answer

        return search

    def prepare(self, query: np.ndarray) -> bytes:
        return json.dumps(self._body(query)).encode()

    def rows(self, found: bytes) -> Any:
        return (int(name) for name in self.names(json.loads(found)))

    def processes(self) -> list[int]:
        return [] if self._process is None else [self._process.pid]

    def close(self) -> None:
        self.stop()


class FunnelServer(Served):
    """`funnel serve` on a directory made by the library, without a model; vectors in as base64."""

    packages = ("fastapi", "uvicorn", "faiss-cpu")

    def __init__(self, prefix_dim: int = PREFIX, **options: str) -> None:
        """Further `options` are those of StoreOptions, and settings of the service."""
        self._prefix_dim, self._options = prefix_dim, options

    def load(self) -> None:
        self._library = Funnel(self._prefix_dim, **self._options)
        self._library.load()

    def build(self, vectors: np.ndarray, folder: Path, threads: int) -> None:
        """As the library does."""
        (folder / "dim").write_text(str(vectors.shape[1]))
        self._library.build(vectors, folder / "data", threads)

    def tune(self, calibration: np.ndarray, folder: Path) -> None:
        """As the library does."""
        self._library.tune(calibration, folder / "data")

    def open(self, folder: Path) -> None:
        environ = {
            "FUNNEL_DATA_DIR": str(folder / "data"),
            "FUNNEL_MODEL": "none",
            "FUNNEL_DIM": (folder / "dim").read_text(),
            "FUNNEL_PREFIX_DIM": str(self._prefix_dim),
            **{f"FUNNEL_{name.upper()}": value for name, value in self._options.items()},
            "FUNNEL_AUTO_CALIBRATE": "0",
            "FUNNEL_PORT": str(self.free_port()),
        }
        self.start([sys.executable, "-m", "app.cli", "serve"], environ, "/readyz", folder / "server.log")

    def settings(self, k: int) -> list[Setting]:
        return self._library.settings(k)

    def request(self, k: int, setting: Setting) -> tuple[str, Callable[[np.ndarray], Any]]:
        plan = {"limit": k, "with_text": False, "with_metadata": False, **setting}
        return "/search", lambda query: {"vector": base64.b64encode(query.tobytes()).decode(), **plan}

    def names(self, answer: Any) -> list[str]:
        return [hit["id"] for hit in answer["results"]]

    def stages(self, found: bytes) -> dict[str, float]:
        return {name: taken or 0.0 for name, taken in json.loads(found)["timing_ms"].items()}


class ChromaServer(Served):
    """`chroma run` on a directory made by Chroma in process; vectors in as lists of numbers, which it asks for."""

    packages = ("chromadb",)

    def load(self) -> None:
        self._library = Chroma()
        self._library.load()

    def build(self, vectors: np.ndarray, folder: Path, threads: int) -> None:
        """As Chroma in process does."""
        self._library.build(vectors, folder, threads)

    def open(self, folder: Path) -> None:
        self._folder, self._ef = folder, 0
        self._serve()
        self._collection = self.asked("GET", f"{COLLECTIONS}/rows")["id"]

    def _serve(self) -> None:
        program, port = Path(sys.executable).with_name("chroma"), str(self.free_port())
        command = [str(program), "run", "--host", "127.0.0.1", "--port", port, "--path", str(self._folder)]
        self.start(command, {}, "/api/v2/heartbeat", self._folder / "server.log")

    def settings(self, k: int) -> list[Setting]:
        return [{"ef": ef} for ef in depths(k)]

    def request(self, k: int, setting: Setting) -> tuple[str, Callable[[np.ndarray], Any]]:
        path = f"{COLLECTIONS}/{self._collection}"
        if setting["ef"] != self._ef:  # read when a collection is loaded
            self.asked("PUT", path, {"new_configuration": {"hnsw": {"ef_search": setting["ef"]}}})
            self.stop()
            self._serve()
            self._ef = setting["ef"]
        return f"{path}/query", lambda query: {"query_embeddings": [query.tolist()], "n_results": k, "include": []}

    def names(self, answer: Any) -> list[str]:
        names: list[str] = answer["ids"][0]
        return names
