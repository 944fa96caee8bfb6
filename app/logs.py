"""Logging of a server: one plain line an event, on standard error; never a text, a vector or a key."""

import atexit
import logging
import sys
from contextlib import suppress
from queue import Full, Queue
from threading import Thread
from typing import Any

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
WAITING = 10_000  # lines that may wait to be written
PARTING_SECONDS = 2.0  # in which those that wait at the end are written


class Behind(logging.Handler):
    """Writes in a thread of its own: a disk that is busy, or a pipe that nobody reads, must not stop the event loop.
    What is too much is lost, and counted."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: Queue[str | None] = Queue(WAITING)
        self._lost = 0
        self._thread = Thread(target=self._write, name="log", daemon=True)
        self._thread.start()
        atexit.register(self._end)

    def emit(self, record: logging.LogRecord) -> None:
        """Put a line into the queue; never waits."""
        try:
            self._lines.put_nowait(self.format(record))
        except Full:
            self._lost += 1

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            lost, self._lost = self._lost, 0
            more = f"{lost} lines of the log were lost: nobody took them\n" if lost else ""
            with suppress(OSError, ValueError):  # standard error is closed
                sys.stderr.write(f"{line}\n{more}")
                sys.stderr.flush()

    def _end(self) -> None:
        with suppress(Full):
            self._lines.put(None, timeout=PARTING_SECONDS)
            self._thread.join(PARTING_SECONDS)


def log_config(level: str) -> dict[str, Any]:
    """For logging.config.dictConfig, or uvicorn's `log_config`."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"plain": {"format": FORMAT}},
        "handlers": {"stderr": {"()": Behind, "formatter": "plain"}},
        "loggers": {
            name: {"handlers": ["stderr"], "level": level.upper(), "propagate": False}
            for name in ("app", "index", "uvicorn")
        },
    }
