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
    "link,linkat,symlink,symlinkat,copy_file_range,sendfile,splice,mmap,msync,io_uring_setup,io_submit,"
    "fork,vfork,clone,clone3"
)
RETURNING = {"open", "openat", "creat", "dup", "dup2", "dup3", "fsync", "fdatasync"}
LONGEST = 1 << 28  # bytes of one write
LINE = re.compile(r"^(\d+) +(.*)$")
STARTED = re.compile(r"(?:<\.\.\. )?(?:v?fork|clone3?)\b(.*) = (\d+)$", re.DOTALL)
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
    """The calls of a process and its threads in the order of their moments, lines counted from `offset`.

    Processes that it starts have descriptors of their own and are passed over. Raises Unreadable.
    """
    with trace.open() as lines:
        others = _started(lines)
    with trace.open() as lines:
        return sorted(_calls(lines, offset, others), key=lambda call: call.moment)


def _started(lines: Iterable[str]) -> set[str]:
    """Numbers of the processes that are no threads, as the end of the call that made them gives them."""
    found, threads = set(), dict[str, bool]()
    for line in lines:
        maker, text = line.rstrip("\n").split(maxsplit=1)
        if text.startswith(("clone", "fork", "vfork")):
            threads[maker] = "CLONE_THREAD" in text
        if (started := STARTED.match(text)) and (maker in found or not threads.get(maker)):
            found.add(started[2])
    return found


def _calls(lines: Iterable[str], offset: int, others: set[str]) -> Iterator[Call]:
    begun: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines, offset):
        matched = LINE.match(line.rstrip("\n"))
        if matched is None:
            raise Unreadable(f"line {number} of the trace: {line[:200]}")
        thread, text = matched.groups()
        if thread in others:
            continue
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
        if call is not None and not call.name.startswith(("clone", "fork", "vfork")):
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
