"""Logging of a server."""

import json
import subprocess
import sys

CODE = """
import logging, logging.config
from app.logs import log_config
logging.config.dictConfig(log_config("warning"))
logging.getLogger("app.requests").info("too little")
logging.getLogger("index.store").warning("enough")
logging.getLogger("uvicorn.error").error("more")
"""


def test_each_event_is_a_plain_line_with_time_level_and_place() -> None:
    """Of the application, the index and the server, from the level that was asked for."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    lines = [line.split(" ", 2)[2] for line in done.stderr.splitlines()]
    assert lines == ["WARNING index.store enough", "ERROR uvicorn.error more"]
    assert done.stdout == ""


UNREAD = """
import logging, logging.config
from app.logs import log_config
logging.config.dictConfig(log_config("info"))
for number in range(30_000):
    logging.getLogger("app.requests").info("a line that nobody reads, number %d", number)
print("done", flush=True)
"""


def test_a_log_that_nobody_reads_stops_nothing() -> None:
    """Lines beyond those that may wait are lost and counted, once they are read; the process ends by itself."""
    with subprocess.Popen(
        [sys.executable, "-c", UNREAD], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        _, log = process.communicate(timeout=30)
    lines = log.splitlines()
    assert "a line that nobody reads, number 0" in lines[0]
    assert len(lines) < 30_000
    assert any("lines of the log were lost" in line for line in lines)
    assert process.returncode == 0


IN_JSON = """
import logging, logging.config
from app.logs import REQUEST, Fields, log_config
logging.config.dictConfig(log_config("info", "json"))
log = logging.getLogger("app.requests")
log.info("%d of %d", 1, 2)
REQUEST.set("r1")
log.warning("%s", Fields(route="/search", status=503, timing_ms={"embed": 1.5}))
try:
    1 / 0
except ZeroDivisionError:
    log.exception("it failed\\nhere")
"""


def test_each_event_can_be_a_json_object() -> None:
    """One line each, whatever is in it: time in UTC, level, place, message or fields, the request, the exception."""
    done = subprocess.run([sys.executable, "-c", IN_JSON], capture_output=True, text=True, check=True)
    plain, told, failed = map(json.loads, done.stderr.splitlines())
    assert plain.pop("time").endswith("+00:00")
    assert plain == {"level": "info", "logger": "app.requests", "message": "1 of 2"}
    assert told.items() >= {"level": "warning", "route": "/search", "status": 503, "request_id": "r1"}.items()
    assert told["timing_ms"] == {"embed": 1.5}
    assert failed["message"] == "it failed\nhere"
    assert failed["exception"].endswith("ZeroDivisionError: division by zero")
    assert failed["request_id"] == "r1"
