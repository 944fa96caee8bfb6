"""Running the application under uvicorn: as the process's own job, or in a thread for the length of a `with`."""

import asyncio
import gc
import logging
import os
import resource
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI
from threadpoolctl import ThreadpoolController

from app.admission import Admission
from app.logs import log_config
from app.protocol import bounded
from app.settings import Settings
from app.trim import few_heaps

POLL_SECONDS = 0.005
ANSWERED_SECONDS = 2  # for what was refused in the end to reach its client
KEEP_ALIVE_SECONDS = 75  # longer than clients do, so that none asks on a connection that is just being closed
PARTING_SECONDS = 0.5  # in which clients that ask all the time hear a 503, and not that their connection is gone
OTHER_FILES = 128  # files that the service has open beside its connections
SWITCH_SECONDS = 0.0005  # between threads: a write that computes must not keep each step of a search for 5 ms
log = logging.getLogger(__name__)


class Watched:
    """An ASGI application that keeps the error which stopped its start, so that it can be told in one line."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.error: BaseException | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "lifespan":
            return await self._app(scope, receive, send)

        async def tell(message: Any) -> None:
            failed = message["type"] == "lifespan.startup.failed"
            await send({"type": message["type"]} if failed else message)  # without the traceback

        try:
            await self._app(scope, receive, tell)
        except BaseException as error:
            self.error = error
            raise


class Server(uvicorn.Server):
    """Ends in order: nothing more is let in (readyz says so), what is inside is answered, then listening ends.

    A second SIGINT or SIGTERM shortens that, a third ends the process at once, after which the store recovers as after
    a kill.
    """

    def __init__(self, config: uvicorn.Config, admission: Admission, seconds: float, alone: bool = False) -> None:
        """Of requests that are inside the last ends after `seconds`. `alone`: the process does nothing else."""
        super().__init__(config)
        self._admission, self._seconds, self._alone, self._signals = admission, seconds, alone, 0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """A signal has come."""
        self._signals += 1
        if self._signals > 2:
            os._exit(128 + sig)
        self._captured_signals.append(sig)
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Open the application, then listen."""
        await super().startup(sockets)
        if self._alone:  # else each full collection looks at half a million objects of a model, and all wait for 0.3 s
            gc.collect()
            gc.freeze()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Drain, then stop listening and close the application."""
        log.info("shutting down: %d requests are inside, and have %g s", self._admission.inside, self._seconds)
        self._admission.stop()
        until = time.monotonic() + (PARTING_SECONDS if self._alone else 0)
        await self._drained(self._seconds)
        while self.server_state.connections and time.monotonic() < until:
            await asyncio.sleep(POLL_SECONDS)
        if self._admission.inside:
            log.warning("%d requests were not done in time and are refused", self._admission.inside)
            self._admission.expire()
            await self._drained(ANSWERED_SECONDS)
        await super().shutdown(sockets)

    async def _drained(self, seconds: float) -> None:
        """Wait until nothing is inside, for so long; less after another signal."""
        until, signals = time.monotonic() + seconds, self._signals
        while self._admission.inside and time.monotonic() < until and self._signals < max(signals + 1, 2):
            await asyncio.sleep(POLL_SECONDS)


def serve(app: FastAPI, settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is running. Raises what kept the application from starting."""
    few_heaps()
    sys.setswitchinterval(SWITCH_SECONDS)
    _multiply_on_one_core()
    watched, admission = Watched(app), app.state.admission
    config = _config(watched, settings, admission, host=settings.host, port=settings.port)
    server = Server(config, admission, settings.shutdown_seconds, alone=True)
    signal.signal(signal.SIGTERM, _ignore)  # uvicorn sends it to itself once more when it has stopped
    with suppress(KeyboardInterrupt):  # the same for SIGINT
        _run(server, watched)


@contextmanager
def in_process(app: FastAPI, settings: Settings) -> Iterator[httpx.BaseTransport]:
    """A transport to the application, served from a thread on a private socket until the block ends.

    Raises what kept the application from starting.
    """
    watched, admission = Watched(app), app.state.admission
    with tempfile.TemporaryDirectory(prefix="funnel-") as folder:  # only its owner may enter
        path = str(Path(folder) / "socket")
        server = Server(_config(watched, settings, admission, uds=path), admission, settings.shutdown_seconds)
        thread = threading.Thread(target=_run_quietly, args=[server], name="service", daemon=True)
        thread.start()
        try:
            _wait_until_started(server, thread, watched)
            yield httpx.HTTPTransport(uds=path)
        finally:
            server.should_exit = True
            thread.join()


def _run(server: uvicorn.Server, watched: Watched) -> None:
    try:
        server.run()
    except SystemExit:  # it did not start: raise the reason if it was the application's, such as a locked directory
        if watched.error:
            raise watched.error from None
        raise


def _run_quietly(server: uvicorn.Server) -> None:
    with suppress(SystemExit):  # the thread that started this one raises the reason
        server.run()


def _wait_until_started(server: uvicorn.Server, thread: threading.Thread, watched: Watched) -> None:
    while not server.started and thread.is_alive():
        time.sleep(POLL_SECONDS)
    if watched.error:
        raise watched.error


def _config(app: Any, settings: Settings, admission: Admission, **where: Any) -> uvicorn.Config:
    # Logging belongs to the process: a directory served for a moment leaves it as it is.
    logs: dict[str, Any] = {"log_config": log_config(settings.log_level, settings.log_format)}
    if "uds" in where:
        logs = {"log_config": None, "log_level": "critical"}
    return uvicorn.Config(
        app,
        lifespan="on",
        ws="none",
        access_log=False,
        server_header=False,
        http=bounded(settings, _connections(settings), admission),
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=ANSWERED_SECONDS,
        **logs,
        **where,
    )


def _connections(settings: Settings) -> int:
    """How many connections fit beside the files that the service opens; the limit of the process is raised to that."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = settings.max_connections + OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft < wanted:
        log.warning("%d open files are allowed, which leaves %d connections", soft, soft - OTHER_FILES)
    return max(1, min(settings.max_connections, soft - OTHER_FILES))


def _multiply_on_one_core() -> None:
    """numpy multiplies with the thread that asks: searches run in several threads already, one core each."""
    found = ThreadpoolController().select(internal_api="openblas")
    for library in found.lib_controllers:
        if "numpy" in library.filepath:  # not the one a model computes with
            library.set_num_threads(1)


def _ignore(*_: object) -> None:
    """A signal handler that does nothing."""
