"""Faults of the system under the store: nothing acknowledged is lost, nothing refused is stored, and it goes on."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_kinds import Fault, full_disk, impossible, injected, out_of_memory, read_only, run, short_writes
from fault_test import KINDS, campaign
from harness import Server
from power_record import folder_in_memory

QUICK = [*injected(6, seed=5), *read_only(2, seed=1), *full_disk(2, seed=1), *short_writes([12_000, 60_000])]
SETTINGS = {
    "FUNNEL_MODEL": "none",
    "FUNNEL_DIM": "8",
    "FUNNEL_PREFIX_DIM": "4",
    "FUNNEL_ALLOW_UNTRAINED_PREFIX": "1",
    "FUNNEL_SHORTLIST_INDEX": "flat",
}


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory."""
    with folder_in_memory() as folder:
        yield Path(folder)


def possible(kind: str) -> None:
    """Skip, with the reason, what cannot be made to fail here."""
    if reason := impossible(kind):
        pytest.skip(reason)


@pytest.mark.parametrize("fault", [*QUICK, *out_of_memory([50])], ids=lambda fault: f"{fault.kind} {fault.name}")
def test_a_fault_loses_nothing(fault: Fault, memory: Path) -> None:
    """Some of each kind; `scripts/fault_test.py` makes hundreds."""
    possible(fault.kind)
    about = run(fault, memory)
    assert "error" not in about, about["error"]


def test_a_loss_would_be_seen(memory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A document that the log calls acknowledged and that nobody stored."""
    real = subprocess.run

    def forging(command: list[str], **options: Any) -> Any:
        done = real(command, **options)
        with (memory / "log").open("a") as log:
            log.write('{"begin": 9999, "changes": {"doc:a-0": [1, 1]}}\n{"ack": 9999, "learned": {}}\n')
        return done

    monkeypatch.setattr("fault_kinds.subprocess.run", forging)
    assert "Lost: doc:a-0 is" in run(next(short_writes([10_000_000])), memory)["error"]


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_hundreds_of_faults(kind: str, record_property: Callable[[str, object], None]) -> None:
    """Of each kind, from one seed."""
    possible(kind)
    counts = campaign(kind, 200, seed=1)
    for name, value in counts.items():
        record_property(name, value)
    assert counts["wrong"] == {}


# A real server


def document(number: int, length: int = 20_000) -> dict[str, Any]:
    """A document of some size with its vector."""
    return {"id": f"d{number}", "text": f"{number} " * (length // 4), "vector": [1.0, number / 100, *[0.5] * 6]}


def ingest(server: Server, number: int) -> int:
    """The status of one more document."""
    return server.client.post("/ingest", json={"documents": [document(number)]}).status_code


def searches(server: Server) -> bool:
    """Whether the first document is found."""
    body = {"vector": document(0)["vector"], "limit": 1, "with_text": True}
    answer = server.client.post("/search", json=body)
    return answer.status_code == 200 and answer.json()["results"][0]["id"] == "d0"


class Mounted:
    """A small tmpfs of this test's own."""

    def __init__(self, path: Path, size: str) -> None:
        self.path = path
        path.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", path], capture_output=True, text=True
        )
        if done.returncode:
            pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")

    def remount(self, option: str) -> None:
        """Give it another option."""
        subprocess.run(["mount", "-o", f"remount,{option}", self.path], check=True)

    def close(self) -> None:
        """Take it away."""
        subprocess.run(["umount", "-l", self.path], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Mounted]:
    """8 MiB."""
    disk = Mounted(tmp_path / "disk", "8m")
    yield disk
    disk.close()


def test_a_full_disk_is_507_and_passes(disk: Mounted, tmp_path: Path) -> None:
    """Searches go on; with room again so do writes; what was refused is not there, after a restart as well."""
    settings = SETTINGS | {"FUNNEL_DATA_DIR": str(disk.path / "data")}
    server = Server(settings, tmp_path / "log")
    try:
        server.wait()
        statuses = []
        while 507 not in statuses and len(statuses) < 1_000:
            statuses.append(ingest(server, len(statuses)))
        assert set(statuses[:-1]) == {200}
        assert searches(server)
        kept = len(statuses) - 1
        assert server.client.post("/documents/count", json={}).json()["count"] == kept
        disk.remount("size=16m")
        assert ingest(server, kept) == 200
    finally:
        server.end()
    server = Server(settings, tmp_path / "log")
    try:
        server.wait()
        assert server.client.post("/documents/count", json={}).json()["count"] == kept + 1
    finally:
        server.end()


def test_a_read_only_directory_is_refused_in_one_line(disk: Mounted, tmp_path: Path) -> None:
    """It says what cannot be opened, without a traceback."""
    settings = SETTINGS | {"FUNNEL_DATA_DIR": str(disk.path / "data")}
    server = Server(settings, tmp_path / "log")
    try:
        server.wait()
        assert ingest(server, 0) == 200
    finally:
        server.end()
    disk.remount("ro")
    command = [sys.executable, "-m", "app.cli", "serve"]
    done = subprocess.run(command, env=os.environ | settings, capture_output=True, text=True, timeout=60)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert str(disk.path / "data") in said
    assert re.search("read-only", said, re.IGNORECASE)
    assert "Traceback" not in said


@pytest.mark.parametrize(("call", "error"), [("fsync", "EIO"), ("pwrite64", "EROFS")])
def test_a_disk_that_fails_while_serving(tmp_path: Path, call: str, error: str) -> None:
    """No write is acknowledged from then on, searches go on, and a restart has everything that was."""
    possible("inject")
    settings = SETTINGS | {"FUNNEL_DATA_DIR": str(tmp_path / "data")}
    files = [tmp_path / "data/collections/default" / name for name in ("vectors-1.bin", "vectors-1.crc")]
    trace = ["-D", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when=6+"]
    before = ["strace", *trace, *(part for path in files for part in ("-P", str(path)))]
    server = Server(settings, tmp_path / "log", before)
    try:
        server.wait()
        statuses = [ingest(server, number) for number in range(8)]
        kept = statuses.count(200)
        assert statuses == [200] * kept + [503] * (8 - kept)
        assert 0 < kept < 8
        assert searches(server)
        assert server.client.get("/stats").json()["read_only"]
    finally:
        server.end()
    server = Server(settings, tmp_path / "log")
    try:
        server.wait()
        assert server.client.post("/documents/count", json={}).json()["count"] >= kept
        assert searches(server)
        assert ingest(server, 100) == 200
    finally:
        server.end()
