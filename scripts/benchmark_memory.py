"""Memory, processor time, disk and page cache of processes and files under test. Needs the standard library alone."""

import os
import resource
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

KIB = 1024
GROUPS = Path("/sys/fs/cgroup")


def resident(processes: Iterable[int]) -> dict[str, int]:
    """Resident bytes of these processes together, anonymous (with shared memory) and file-backed apart.

    A page that several processes have counts for each in part (Linux's proportional set size).
    """
    found = {"anonymous": 0, "file": 0}
    for process in processes:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()[1:]
        kib = {line.split(":")[0]: int(line.split()[1]) for line in lines}
        found["anonymous"] += KIB * (kib["Pss_Anon"] + kib["Pss_Shmem"])
        found["file"] += KIB * kib["Pss_File"]
    return found


def peak() -> int:
    """The most bytes that this process ever had resident."""
    return KIB * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def cpu_seconds() -> float:
    """Processor time that this process and those it waited for have taken, on all cores."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in both)


def read_bytes(processes: Iterable[int]) -> int:
    """Bytes that these processes had the device read."""
    lines = (line for process in processes for line in Path(f"/proc/{process}/io").read_text().splitlines())
    return sum(int(line.split()[1]) for line in lines if line.startswith("read_bytes"))


def on_disk(folder: Path) -> int:
    """Bytes that the files below a folder take."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


def drop(folder: Path) -> None:
    """Take the files below a folder out of the page cache; no process may have them mapped."""
    os.sync()
    for path in filter(Path.is_file, folder.rglob("*")):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


class NoCap(Exception):
    """This machine lets us limit no memory."""


@contextmanager
def capped(limit: int) -> Iterator[Path]:
    """A control group whose processes have `limit` bytes, page cache included; write a process id to its cgroup.procs.

    Version 2 of control groups where their memory controller is, else version 1. Raises NoCap.
    """
    two = GROUPS / "cgroup.controllers"
    version_two = two.exists() and "memory" in two.read_text().split()
    name = f"funnel-benchmark-{os.getpid()}"
    group = (GROUPS if version_two else GROUPS / "memory") / name
    limits = ("memory.max", "memory.swap.max") if version_two else ("memory.limit_in_bytes",)
    try:
        group.mkdir()
        (group / limits[0]).write_text(str(limit))
        for swap in limits[1:]:
            (group / swap).write_text("0")
    except OSError as error:
        if group.exists():
            group.rmdir()
        raise NoCap(f"no control group can be made here: {error}") from None
    try:
        yield group
    finally:
        group.rmdir()
