"""A wall clock that jumps by years while the real server runs: nothing but what is written for people goes by it."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import Server

YEARS = 365 * 24 * 3600
SHIM = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

/* The wall clock, moved by the seconds that a file names; other clocks are left alone. */
int clock_gettime(clockid_t id, struct timespec *now) {
    int (*real)(clockid_t, struct timespec *) = dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(id, now);
    if (id == CLOCK_REALTIME) {
        long moved = 0;
        FILE *file = fopen(getenv("CLOCK_MOVED_BY"), "r");
        if (file) { if (fscanf(file, "%ld", &moved) != 1) moved = 0; fclose(file); }
        now->tv_sec += moved;
    }
    return status;
}
"""


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library that moves the clock of a process; skips where there is no C compiler."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc), which the moved clock needs")
    folder = tmp_path_factory.mktemp("clock")
    (folder / "clock.c").write_text(SHIM)
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "clock.so", folder / "clock.c", "-ldl"], check=True)
    return folder / "clock.so"


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """The file that says by how many seconds."""
    path = tmp_path / "moved"
    path.write_text("0")
    return path


@pytest.fixture
def server(tmp_path: Path, shim: Path, moved: Path) -> Iterator[Server]:
    """A server with that clock."""
    server = started(tmp_path, shim, moved)
    yield server
    server.end()


def started(folder: Path, shim: Path, moved: Path) -> Server:
    """A server on the folder's index, ready."""
    settings = {
        "FUNNEL_DATA_DIR": str(folder / "data"),
        "FUNNEL_MODEL": "none",
        "FUNNEL_DIM": "8",
        "FUNNEL_PREFIX_DIM": "4",
        "FUNNEL_ALLOW_UNTRAINED_PREFIX": "1",
        "LD_PRELOAD": str(shim),
        "CLOCK_MOVED_BY": str(moved),
    }
    server = Server(settings, folder / "log")
    server.wait()
    return server


def year(server: Server) -> int:
    """The year in which the server thinks it lives, as a new snapshot says."""
    return int(sent(server, "/snapshots", {})["created"][:4])


def sent(server: Server, path: str, body: dict[str, Any]) -> Any:
    """The answer to a POST, which must be 200."""
    answer = server.client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def use(server: Server, number: int) -> None:
    """A write, a search with a time limit and the readiness: as ever."""
    document = {"id": f"d{number}", "text": f"text {number}", "vector": [1.0, number, *[0.5] * 6]}
    assert sent(server, "/ingest", {"documents": [document]})["created"] == 1
    body = {"vector": document["vector"], "limit": 1, "timeout_ms": 20_000}
    answer = sent(server, "/search", body)
    assert (answer["results"][0]["id"], answer["degraded"]) == (f"d{number}", None)
    assert 0 <= answer["timing_ms"]["total"] < 20_000
    assert server.client.get("/readyz").status_code == 200


def test_a_clock_that_jumps_by_years(server: Server, moved: Path, tmp_path: Path, shim: Path) -> None:
    """Forwards and backwards; snapshots keep names of their own, and the next start may be in the past."""
    years = []
    for number, offset in enumerate((0, 10 * YEARS, -20 * YEARS, 10 * YEARS, 0)):
        moved.write_text(str(offset))
        use(server, number)
        years.append(year(server))
    assert years[2] < years[0] < years[1]
    made = server.client.get("/snapshots").json()["snapshots"]
    assert len({snapshot["name"] for snapshot in made}) == 5
    moved.write_text(str(-30 * YEARS))
    server.end()
    again = started(tmp_path, shim, moved)
    try:
        assert sent(again, "/documents/count", {})["count"] == 5
        use(again, 9)
    finally:
        again.end()
