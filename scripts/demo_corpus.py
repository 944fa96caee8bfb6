#!/usr/bin/env python3
"""Write the demo corpus: the documentation that every Python installation carries, as NDJSON.

    python scripts/demo_corpus.py demo.ndjson       # to a file
    python scripts/demo_corpus.py - --limit 500     # to standard output

One document per docstring of a public module, class, function or method of the standard library:

    {"id": "datetime.datetime.strptime", "title": "datetime.datetime.strptime(...)",
     "text": "string, format -> new datetime parsed from a string (like time.strptime()).",
     "metadata": {"module": "datetime", "kind": "method", "signature": "(...)", "package": "datetime"}}

The same interpreter gives the same bytes every time. Needs nothing but the standard library.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import io
import json
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any, TextIO

LIMIT = 6_000
MIN_WORDS = 4
MAX_SIGNATURE = 120

# Importing these prints, opens a browser or a window or needs a display; or they are tests and examples;
# or they are leaving the library; or the same functions have a better known name (os for posix).
SKIPPED_MODULES = (
    {"antigravity", "this", "idlelib", "tkinter", "turtle", "turtledemo", "ensurepip", "pydoc_data"}
    | {"test", "xxlimited", "xxsubtype"}
    | {"distutils", "lib2to3"}
    | {"nt", "ntpath", "posix"}
)
FAMILIAR_NAMES = {"builtins": "", "posixpath": "os.path."}
SKIPPED_PARTS = frozenset({"__main__", "test", "tests", "idle_test"})

KIND_ORDER = {"module": 0, "class": 1, "function": 2, "method": 3}
ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@dataclass(frozen=True)
class Entry:
    """One documented object, before duplicates are removed."""

    id: str
    kind: str  # a key of KIND_ORDER
    module: str
    signature: str  # "(string, format)", or "" for modules and where none is known
    text: str
    at_home: bool  # defined in this module, not only importable from it

    @property
    def rank(self) -> tuple[bool, int, int, str]:
        """Which of several entries with the same text stays: the smallest."""
        return (not self.at_home, KIND_ORDER[self.kind], self.id.count("."), self.id)

    def document(self) -> dict[str, Any]:
        """The entry in the shape that `POST /ingest` takes."""
        package = self.module.partition(".")[0]
        metadata = {"module": self.module, "kind": self.kind, "signature": self.signature, "package": package}
        return {"id": self.id, "title": self.id + self.signature, "text": self.text, "metadata": metadata}


def public(name: str) -> bool:
    return not name.startswith("_") and name not in SKIPPED_PARTS


def import_quietly(name: str) -> ModuleType | None:
    """The module, or None where this platform or build does not have it."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            return importlib.import_module(name)
        except ImportError:
            return None


def modules() -> Iterator[ModuleType]:
    """Every public module of the standard library, by name; packages before what is in them."""
    waiting = sorted(filter(public, sys.stdlib_module_names - SKIPPED_MODULES), reverse=True)
    while waiting:
        module = import_quietly(waiting.pop())
        if module is None:
            continue
        yield module
        inside = pkgutil.iter_modules(getattr(module, "__path__", []))
        waiting += sorted((f"{module.__name__}.{m.name}" for m in inside if public(m.name)), reverse=True)


def signature(thing: Any) -> str:
    """`(string, format)`; `(...)` where none is recorded, a long one is cut."""
    try:
        text = ADDRESS.sub("", str(inspect.signature(thing)))
    except (
        ValueError,
        TypeError,
        AttributeError,
    ):  # the last: some defaults in curses name what is not there
        return "(...)"
    return text if len(text) <= MAX_SIGNATURE else text[: MAX_SIGNATURE - 4] + "...)"


def text_of(thing: Any) -> str | None:
    """The docstring, cleaned; None when there is none worth searching for."""
    text = thing.__doc__
    if not isinstance(text, str) or len(text.split()) < MIN_WORDS:
        return None
    return inspect.cleandoc(text).strip()


def exported(module: ModuleType) -> Iterator[tuple[str, Any, bool]]:
    """(name, object, at_home) of what a module offers: its `__all__`, else what it defines itself."""
    declared = getattr(module, "__all__", None)
    for name in sorted(set(declared) if declared is not None else vars(module)):
        thing = getattr(module, name, None)
        home = getattr(thing, "__module__", None)
        at_home = home in (module.__name__, f"_{module.__name__}")
        if public(name) and (at_home or declared is not None) and not inspect.ismodule(thing):
            yield name, thing, at_home


def methods(owner: type) -> Iterator[tuple[str, Any]]:
    """(name, function) of the public methods and properties that a class defines itself."""
    for name, raw in sorted(vars(owner).items()):
        thing = raw.__func__ if isinstance(raw, staticmethod | classmethod) else raw
        if public(name) and (inspect.isroutine(thing) or isinstance(thing, property)):
            yield name, thing


def entries_of(module: ModuleType) -> Iterator[Entry]:
    """The documented objects of one module, the module first."""
    where = module.__name__
    prefix = FAMILIAR_NAMES.get(where, f"{where}.")
    if text := text_of(module):
        yield Entry(where, "module", where, "", text, at_home=True)
    for name, thing, at_home in exported(module):
        if inspect.isclass(thing):
            yield from entries_of_class(prefix + name, thing, where, at_home)
        elif inspect.isroutine(thing) and (text := text_of(thing)):
            yield Entry(prefix + name, "function", where, signature(thing), text, at_home)


def entries_of_class(name: str, owner: type, where: str, at_home: bool) -> Iterator[Entry]:
    """A class and its own methods."""
    if text := text_of(owner):
        yield Entry(name, "class", where, signature(owner), text, at_home)
    for part, thing in methods(owner):
        if text := text_of(thing):
            yield Entry(f"{name}.{part}", "method", where, signature(thing), text, at_home)


def without_duplicates(entries: Iterable[Entry]) -> list[Entry]:
    """One entry per text and per id, the best of each."""
    by_text: dict[str, Entry] = {}
    for entry in sorted(entries, key=lambda e: e.rank):
        by_text.setdefault(entry.text, entry)
    by_id: dict[str, Entry] = {}
    for entry in by_text.values():
        by_id.setdefault(entry.id, entry)
    return list(by_id.values())


def corpus(limit: int = LIMIT) -> list[Entry]:
    """At most `limit` entries by id; modules stay before classes, functions, methods; long texts first."""
    entries = without_duplicates(e for module in modules() for e in entries_of(module))
    entries.sort(key=lambda e: (not e.at_home, KIND_ORDER[e.kind], -len(e.text), e.id))
    return sorted(entries[:limit], key=lambda e: e.id)


def write(entries: Iterable[Entry], out: TextIO) -> None:
    for entry in entries:
        out.write(json.dumps(entry.document(), ensure_ascii=False) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description="Write the standard library's docstrings as NDJSON.")
    parser.add_argument("output", nargs="?", default="-", help="a file, or - for standard output (default)")
    parser.add_argument("--limit", type=int, default=LIMIT, help=f"at most this many (default {LIMIT})")
    arguments = parser.parse_args()
    entries = corpus(arguments.limit)
    if arguments.output == "-":
        sys.stdout.reconfigure(encoding="utf-8")  # type: ignore[union-attr]
        write(entries, sys.stdout)
    else:
        with open(arguments.output, "w", encoding="utf-8") as out:
            write(entries, out)


if __name__ == "__main__":
    main()
