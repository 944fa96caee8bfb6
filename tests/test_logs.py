"""Logging of a server."""

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
