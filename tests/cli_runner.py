"""Running `funnel` inside a test, and a service for it to talk to."""

import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI

from app import cli
from app.main import create_app
from app.settings import Settings
from embedders import HashEmbedder


@dataclass(frozen=True)
class Result:
    """What a command did."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


def runner(patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str], folder: Path) -> Run:
    """Runs commands in this process, in a folder of its own, without any FUNNEL_* of outside."""
    for name in [name for name in os.environ if name.startswith("FUNNEL_")]:
        patch.delenv(name)
    patch.setenv("COLUMNS", "200")
    patch.chdir(folder)

    def run(*arguments: object) -> Result:
        patch.setattr(sys, "argv", ["funnel", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            cli.main()
        code = stopped.value.code
        return Result(code if isinstance(code, int) else 0, *capture.readouterr())

    return run


@contextmanager
def serving(data_dir: Path) -> Iterator[str]:
    """The address of a running service with a small deterministic model."""
    with at_work(create_app(Settings(data_dir=data_dir, _env_file=None), HashEmbedder())) as url:
        yield url


@contextmanager
def at_work(app: FastAPI) -> Iterator[str]:
    """The address of an application, served on a free port."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, ws="none", log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.005)
    host, port = server.servers[0].sockets[0].getsockname()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.should_exit = True
        thread.join()


def jsonl(path: Path, *rows: Any) -> Path:
    """A file of these rows; a row that is a text is written as it is."""
    path.write_text("".join(row if isinstance(row, str) else json.dumps(row) + "\n" for row in rows), "utf-8")
    return path
