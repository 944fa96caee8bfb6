"""Records a run of the store: every call that changes a file, and every acknowledgement between them."""

import os
import sys
import tempfile
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import syscall_trace
from power_disk import Disk
from store_phases import PHASES
from syscall_trace import Call

PHASE = Path(__file__).resolve().parent / "store_phases.py"
NEAR = {"rename", "renameat", "renameat2", "unlink", "unlinkat", "fsync", "fdatasync", "ftruncate", "fallocate"}


@dataclass(frozen=True)
class Recording:
    """A run: the calls of each phase, and the lines of the log with the line of the trace where each was written."""

    root: Path
    phases: list[list[Call]]
    log: list[tuple[int, str]]

    def promised(self, cut: int) -> list[str]:
        """The lines of the log that were written before a line of the trace."""
        return [line for start, line in self.log if start < cut]

    def cuts(self) -> list[int]:
        """Lines of the trace: just before and after syncs and changes of names, after acknowledgements and writes."""
        calls = [call for phase in self.phases for call in phase]
        near = {at for call in calls if call.name in NEAR for at in (call.end, call.end + 1)}
        near |= {start + 1 for start, line in self.log if '"ack"' in line}
        return sorted(near | {call.start + 1 for call in calls if call.name.startswith("pwrite")})

    def after_renames(self, lines: int) -> list[int]:
        """Those cuts that are at most so many lines after a rename."""
        renames = sorted(call.end for phase in self.phases for call in phase if call.name.startswith("rename"))
        latest = ((cut, bisect_right(renames, cut)) for cut in self.cuts())
        return [cut for cut, count in latest if count and cut - renames[count - 1] <= lines]


def record(folder: Path, scale: int, plant: str | None = None, phases: Sequence[str] = tuple(PHASES)) -> Recording:
    """Run phases under strace, in and below an empty folder.

    Raises RuntimeError when a phase fails, or when the trace does not give the very files that are there.
    """
    root, offset = folder / "data", 0
    root.mkdir(parents=True)
    disk = Disk(root)
    for name in phases:
        command = [sys.executable, str(PHASE), name, str(root), str(folder / "log"), "--scale", str(scale)]
        command += ["--plant", plant] if plant else []
        if status := syscall_trace.record(command, _trace(folder, name)):
            raise RuntimeError(f"the phase {name} ended with {status}")
        disk.new_process()
        for call in syscall_trace.read(_trace(folder, name), offset):
            disk.play(call)
            offset = max(offset, call.end + 1)
        if wrong := disk.differences(root):
            raise RuntimeError(f"after the phase {name} the trace gives other files than there are: {wrong}")
    return load(folder)


def folder_in_memory() -> "tempfile.TemporaryDirectory[str]":
    """A folder whose fsyncs cost nothing, where that can be had: here it counts which there are."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    return tempfile.TemporaryDirectory(prefix="funnel-power-", dir=memory)


def load(folder: Path) -> Recording:
    """A recording that was made in this folder."""
    phases = list(_phases(folder))
    to = "<" + "".join(f"\\x{byte:02x}" for byte in os.fsencode(folder / "log")) + ">"
    calls = sorted((call for phase in phases for call in phase), key=lambda call: call.start)
    log = [(c.start, c.text(1).decode()) for c in calls if c.name == "write" and c.arguments[0].endswith(to)]
    return Recording(folder / "data", phases, log)


def _phases(folder: Path) -> Iterator[list[Call]]:
    offset = 0
    for name in filter(lambda name: _trace(folder, name).exists(), PHASES):
        calls = syscall_trace.read(_trace(folder, name), offset)
        offset = max(call.end for call in calls) + 1
        yield [call for call in calls if call.name != "mmap"]


def _trace(folder: Path, phase: str) -> Path:
    return folder / f"{phase}.strace"
