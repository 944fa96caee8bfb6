"""Logging of a server: one line an event, plain or JSON, on standard error; never a text, a vector or a key."""

import atexit
import json
import logging
import sys
from contextlib import suppress
from contextvars import ContextVar
from datetime import UTC, datetime
from queue import Full, Queue
from threading import Thread
from typing import Any

FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"
WAITING = 10_000  # lines that may wait to be written
PARTING_SECONDS = 2.0  # in which those that wait at the end are written


REQUEST: ContextVar[str | None] = ContextVar("request", default=None)  # the id of the one that is being answered


class Fields(dict[str, Any]):
    """What an event is about, by name: `log.info("%s", Fields(...))` is pairs in a plain line, members in JSON."""

    def __str__(self) -> str:
        return " ".join(f"{name}={_plain(value)}" for name, value in self.items())


class JsonLines(logging.Formatter):
    """One JSON object an event: time (UTC), level, logger, message or fields, the id of the request, exception."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        line: dict[str, Any] = {"time": time, "level": record.levelname.lower(), "logger": record.name}
        line |= record.args if isinstance(record.args, Fields) else {"message": record.getMessage()}
        if (request_id := REQUEST.get()) is not None:
            line["request_id"] = request_id
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return json.dumps(line, ensure_ascii=False, default=str)


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


def log_config(level: str, form: str = "text") -> dict[str, Any]:
    """For logging.config.dictConfig, or uvicorn's `log_config`; `form` is text or json."""
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {"text": {"format": FORMAT}, "json": {"()": JsonLines}},
        "handlers": {"stderr": {"()": Behind, "formatter": form}},
        "loggers": {
            name: {"handlers": ["stderr"], "level": level.upper(), "propagate": False}
            for name in ("app", "index", "uvicorn")
        },
    }


def _plain(value: Any) -> str:
    return ",".join(f"{name}:{part}" for name, part in value.items()) if isinstance(value, dict) else str(value)
