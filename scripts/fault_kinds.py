"""The faults that a store is put under, one process (scripts/fault_phase.py) each, and what it has to have kept."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import syscall_trace
from store_check import check_store
from store_phases import random_rotation
from store_promises import possible_after

from index.matrices import packed

PHASE = Path(__file__).resolve().parent / "fault_phase.py"
PATIENCE = 60  # seconds for a run; one that waits for ever is a defect
CALLS = {  # with the number of the last call of a thread that is hit, and how it fails
    "pwrite64": (80, ("EIO", "ENOSPC", "EINTR", "EDQUOT")),
    "write": (8, ("EIO", "ENOSPC", "EINTR")),
    "fsync": (24, ("EIO", "ENOSPC")),
    "fdatasync": (40, ("EIO", "ENOSPC")),
    "ftruncate": (6, ("EIO", "EROFS")),
    "fallocate": (3, ("EIO", "ENOSPC", "EOPNOTSUPP")),
    "rename": (4, ("EIO", "ENOSPC")),
    "unlink": (6, ("EIO", "EROFS")),
    "openat": (30, ("EIO", "EMFILE", "ENOSPC")),
    "mkdir": (3, ("EIO", "ENOSPC")),
}
FILES = ("documents.tmp", "documents.sqlite", "documents.sqlite-wal", "documents.compact", "calibration.tmp")
READ_ONLY = "mkdir,pwrite64,write,ftruncate,fallocate,rename,unlink"
MAX_ROWS = 400  # of a saved graph, whose name tells them


@dataclass(frozen=True)
class Fault:
    """How the process is started: `before` is put in front of it, `options` are for it, `name` says what it is."""

    kind: str
    name: str
    before: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    moved: bool = False  # the data directory is where only the process sees it
    may_die: bool = False


def injected(count: int, seed: int) -> Iterator[Fault]:
    """System calls that fail at one call, or from one on."""
    random = Random(f"{seed}/injected")
    for _ in range(count):
        call = random.choice(tuple(CALLS))
        error, when = random.choice(CALLS[call][1]), int(CALLS[call][0] ** random.random())
        for_good = random.random() < 0.3 and error != "EINTR"  # for ever it would be no interruption
        yield _strace(f"inject {error}", call, error, f"{when}+" if for_good else str(when))


def read_only(count: int, seed: int) -> Iterator[Fault]:
    """The file system turns read-only at some call: what the kernel does to one that it found damaged."""
    random = Random(f"{seed}/read-only")
    for _ in range(count):
        yield _strace("read-only", READ_ONLY, "EROFS", f"{int(80 ** random.random())}+")


def _strace(kind: str, calls: str, error: str, when: str) -> Fault:
    inject = f"inject={calls}:error={error}:when={when}"
    before = ("strace", "-f", "-qq", "-y", "-o", "TRACE", "-e", f"trace={calls}", "-e", inject)
    return Fault(kind, f"{calls} {error} at call {when}", (*before, "PATHS"))


def full_disk(count: int, seed: int) -> Iterator[Fault]:
    """A file system of which hardly anything is free, again and again, at whatever the store does."""
    script = "mount -t tmpfs -o size=16m tmpfs DISK && mkdir DISK/data || exit 9; "
    script += '"$@"; status=$?; cp -a DISK/data/. DATA; exit $status'
    for number in range(seed * count, (seed + 1) * count):
        options = ("--ballast", "DISK/ballast", "--seed", str(number))
        yield Fault("disk-full", f"seed {number}", ("unshare", "-m", "sh", "-c", script, "sh"), options, moved=True)


def short_writes(sizes: Sequence[int]) -> Iterator[Fault]:
    """No file may grow beyond so many bytes: the write that crosses that is short, the next one fails."""
    for size in sizes:
        yield Fault("short-write", f"{size} bytes a file", options=("--file-size", str(size)))


def out_of_memory(sizes: Sequence[int]) -> Iterator[Fault]:
    """So many KiB of address space are left; the process may die of that."""
    for size in sizes:
        yield Fault("out-of-memory", f"{size} KiB left", options=("--memory", str(size << 10)), may_die=True)


def run(fault: Fault, folder: Path, scale: int = 1) -> dict[str, Any]:
    """One process under a fault, then a look at what it left: its counts, with `error` when something is wrong."""
    data, log, trace, disk = (folder / name for name in ("data", "log", "trace", "disk"))
    for path in (data, disk):
        path.mkdir(parents=True)
    names = {"TRACE": str(trace), "DISK": str(disk), "DATA": str(data)}
    before = [part for given in fault.before for part in (_paths(data) if given == "PATHS" else [_named(given, names)])]
    inside = disk / "data" if fault.moved else data
    command = [sys.executable, str(PHASE), str(inside), str(log), "--scale", str(scale)]
    options = [_named(option, names) for option in fault.options]
    counts: dict[str, Any] = {"faults": 1}
    try:
        try:
            done = subprocess.run([*before, *command, *options], capture_output=True, text=True, timeout=PATIENCE)
            if done.returncode and not fault.may_die:
                return counts | {"error": f"ended with {done.returncode}: {done.stderr[-1500:]}"}
            counts["died"] = int(done.returncode != 0)
            counts |= {
                k: v for line in done.stdout.splitlines() if line[:1] == "{" for k, v in json.loads(line).items()
            }
        except subprocess.TimeoutExpired:
            if not fault.may_die:
                raise
            counts["killed"] = 1  # Python waits for ever for a thread that finds no memory when it starts
        if trace.exists():
            counts["faults"] = trace.read_text().count("(INJECTED)")
        else:
            counts["faults"] = max(1, counts.get("refused", 0) + counts.get("unknown", 0))
        check_store(data, possible_after(log.read_text().splitlines() if log.exists() else []))
    except Exception as error:
        return counts | {"error": f"{type(error).__name__}: {error}"}
    return counts


def _named(text: str, names: dict[str, str]) -> str:
    for name, path in names.items():
        text = text.replace(name, path)
    return text


def _paths(data: Path) -> list[str]:
    """Options that keep strace to files of the data directory, those that there will be as well."""
    collection = data / "collections" / "default"
    rotation, query_map = (packed(random_rotation(seed).matrix)[1] for seed in (1, 2))
    names = [*FILES, *(f"vectors-{generation}.{end}" for generation in (1, 2) for end in ("bin", "crc"))]
    names += [f"shortlist-1-{rows}.tmp" for rows in range(MAX_ROWS)]
    names += [f"rotation-{rotation:08x}.tmp", f"query-map-{query_map:08x}.tmp"]
    files = [data / "manifest.tmp", data / "manifest.json", data / "snapshots/one.tmp", data / "snapshots", collection]
    files += [collection / name for name in names]
    return [option for path in files for option in ("-P", str(path))]


def impossible(kind: str) -> str | None:
    """Why such faults cannot be made here."""
    if kind == "disk-full":
        tried = subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "x", "/mnt"], capture_output=True, text=True)
        return None if tried.returncode == 0 else f"no tmpfs can be mounted here: {tried.stderr.strip()[:200]}"
    if kind in ("short-write", "out-of-memory"):
        return None if os.name == "posix" else "there are no resource limits here"
    return syscall_trace.missing()


def clear(folder: Path) -> None:
    """Remove what a run left."""
    shutil.rmtree(folder, ignore_errors=True)
