"""What a workload was promised, by its log: the values that each thing may have after a crash.

A thing is a key such as `doc:a-3`, `rotation` or `snapshot:x`. Each line of the log is JSON: `{"begin": n,
"changes": {key: value}}` before a call, `{"ack": n, "learned": {...}}` after it returned, `{"refused": n}` when it
raised an error that says that nothing was changed. A call that has neither ack nor refusal may have happened or not.
"""

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ANY = "*"  # a value that is only known once the call has returned
Possible = dict[str, list[Any]]


class Lost(AssertionError):
    """The store broke its promise."""


class Log:
    """The writing end; every line is one `write` to a file outside the data directory."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._count, self._lock = 0, threading.Lock()

    def begin(self, changes: dict[str, Any]) -> int:
        """A call is about to be made; returns its number."""
        with self._lock:
            self._count += 1
            number = self._count
        self._write({"begin": number, "changes": changes})
        return number

    def acknowledge(self, number: int, learned: dict[str, Any] | None = None) -> None:
        """The call returned; `learned` are values that nobody could know before."""
        self._write({"ack": number, "learned": learned or {}})

    def refuse(self, number: int) -> None:
        """The call raised an error that promises that nothing was changed."""
        self._write({"refused": number})

    def _write(self, record: dict[str, Any]) -> None:
        os.write(self._descriptor, json.dumps(record).encode() + b"\n")


def possible_after(lines: Iterable[str]) -> Possible:
    """The values that each thing may have when the log ended with these lines."""
    possible: Possible = {}
    before: dict[int, Possible] = {}
    changes: dict[int, dict[str, Any]] = {}
    for record in map(json.loads, lines):
        if "begin" in record:
            number, changes[record["begin"]] = record["begin"], record["changes"]
            before[number] = {key: possible.get(key, [None]) for key in record["changes"]}
            possible |= {key: [*before[number][key], value] for key, value in record["changes"].items()}
        elif "ack" in record:
            known = changes.pop(record["ack"]) | record["learned"]
            possible |= {key: [value] for key, value in known.items() if value != ANY}
        else:
            possible |= before[record["refused"]]
            changes.pop(record["refused"])
    return possible


def acknowledged(lines: Iterable[str]) -> int:
    """How many calls were acknowledged."""
    return sum('"ack"' in line for line in lines)


def check(possible: Possible, key: str, found: Any) -> None:
    """Raise Lost unless `found` is a value that this thing may have."""
    values = possible.get(key, [None])
    if found not in values and not (ANY in values and found is not None):
        raise Lost(f"{key} is {found!r}, it may be {values}")
