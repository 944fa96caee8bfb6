"""Running the application under uvicorn: as the process's own job, or in a thread for the length of a `with`."""

import signal
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from app.logs import log_config
from app.settings import Settings

POLL_SECONDS = 0.005


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


def serve(app: Any, settings: Settings) -> None:
    """Serve until SIGINT or SIGTERM, then finish what is running. Raises what kept the application from starting."""
    watched = Watched(app)
    server = uvicorn.Server(_config(watched, settings, host=settings.host, port=settings.port))
    signal.signal(signal.SIGTERM, _ignore)  # uvicorn sends it to itself once more when it has stopped
    with suppress(KeyboardInterrupt):  # the same for SIGINT
        _run(server, watched)


@contextmanager
def in_process(app: Any, settings: Settings) -> Iterator[httpx.BaseTransport]:
    """A transport to the application, served from a thread on a private socket until the block ends.

    Raises what kept the application from starting.
    """
    watched = Watched(app)
    with tempfile.TemporaryDirectory(prefix="funnel-") as folder:  # only its owner may enter
        path = str(Path(folder) / "socket")
        server = uvicorn.Server(_config(watched, settings, uds=path))
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


def _config(app: Any, settings: Settings, **where: Any) -> uvicorn.Config:
    # Logging belongs to the process: a directory served for a moment leaves it as it is.
    logs: dict[str, Any] = {"log_config": log_config(settings.log_level)}
    if "uds" in where:
        logs = {"log_config": None, "log_level": "critical"}
    return uvicorn.Config(
        app,
        lifespan="on",
        ws="none",
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=settings.shutdown_seconds,
        **logs,
        **where,
    )


def _ignore(*_: object) -> None:
    """A signal handler that does nothing."""
