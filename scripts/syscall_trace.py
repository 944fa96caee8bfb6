"""What a process does to files, as strace sees it: one Call a system call, with the lines where it began and ended.

Calls of several threads overlap: `start` and `end` are the lines of the trace where a call began and ended.
"""

import re
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    "open,openat,openat2,creat,close,dup,dup2,dup3,lseek,write,pwrite64,writev,pwritev,pwritev2,ftruncate,truncate,"
    "fallocate,fsync,fdatasync,sync_file_range,sync,syncfs,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,"
    "link,linkat,symlink,symlinkat,copy_file_range,sendfile,splice,mmap,msync,io_uring_setup,io_submit"
)
RETURNING = {"open", "openat", "creat", "dup", "dup2", "dup3", "fsync", "fdatasync"}
LONGEST = 1 << 28  # bytes of one write
LINE = re.compile(r"^(\d+) +(.*)$")
DONE = re.compile(r"^(\w+)\((.*)\) += (-?\w+|\?)(?: .*|<.*>)?$", re.DOTALL)


class Unreadable(RuntimeError):
    """The trace holds something that this program does not understand."""


@dataclass(frozen=True)
class Call:
    """A system call that succeeded."""

    name: str
    arguments: tuple[str, ...]
    result: int
    start: int
    end: int

    @property
    def moment(self) -> int:
        """When it counts: a descriptor, or a promise of the disk, is there once the call has returned."""
        return self.end if self.name in RETURNING else self.start

    def text(self, position: int) -> bytes:
        """A string argument: a path or what was written."""
        return unquoted(self.arguments[position])

    def path(self, position: int) -> str:
        """A path argument."""
        return self.text(position).decode()

    def descriptor(self, position: int = 0) -> int:
        """A file descriptor argument."""
        return int(self.arguments[position].split("<")[0])


def missing() -> str | None:
    """Why nothing can be recorded here; None when strace works."""
    if shutil.which("strace") is None:
        return "strace is not installed (package strace)"
    done = subprocess.run(["strace", "-f", "-o", "/dev/null", "true"], capture_output=True, text=True)
    return None if done.returncode == 0 else f"strace is refused here: {done.stderr.strip()[:200]}"


def record(command: Sequence[str], trace: Path) -> int:
    """Run a command under strace; returns its exit status."""
    options = ["-f", "--seccomp-bpf", "-qq", "-y", "-xx", "-s", str(LONGEST), "-o", str(trace), "-e", f"trace={CALLS}"]
    return subprocess.run(["strace", *options, "--", *command], check=False).returncode


def read(trace: Path, offset: int = 0) -> list[Call]:
    """The calls of a trace in the order of their moments, lines counted from `offset`; raises Unreadable."""
    with trace.open() as lines:
        return sorted(_calls(lines, offset), key=lambda call: call.moment)


def _calls(lines: Iterable[str], offset: int) -> Iterator[Call]:
    begun: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines, offset):
        matched = LINE.match(line.rstrip("\n"))
        if matched is None:
            raise Unreadable(f"line {number} of the trace: {line[:200]}")
        thread, text = matched.groups()
        start = number
        if text.endswith("<unfinished ...>"):
            begun[thread] = number, text.removesuffix("<unfinished ...>").rstrip()
            continue
        if text.startswith("<... "):
            start, head = begun.pop(thread)
            text = head + text.split(" resumed>", 1)[1]
        elif text.startswith(("---", "+++")):
            continue
        call = _call(text, start, number)
        if call is not None:
            yield call
    if begun:
        raise Unreadable(f"calls were under way when the process ended: {[text[:80] for _, text in begun.values()]}")


def _call(text: str, start: int, end: int) -> Call | None:
    matched = DONE.match(text)
    if matched is None:
        raise Unreadable(f"line {end} of the trace: {text[:200]}")
    name, arguments, result = matched.groups()
    if result.startswith("-") or result == "?":
        return None
    # No comma is inside a string: strings are in hexadecimal.
    return Call(name, tuple(part.strip() for part in arguments.split(",")), int(result, 0), start, end)


def unquoted(argument: str) -> bytes:
    r"""The bytes of a string such as "\x61\x62"."""
    if not argument.startswith('"') or not argument.endswith('"'):
        raise Unreadable(f"expected a whole string, got {argument[:80]}")
    return bytes.fromhex(argument[1:-1].replace("\\x", ""))
