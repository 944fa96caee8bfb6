"""What the writer's thread is asked to do: writes that share a commit, and what never shares one."""

import sqlite3
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from index.batch import Batch
from index.older import Older
from index.vectors import VectorFile
from index.view import View

Apply = Callable[[Batch], Any]


@dataclass
class Job:
    """`apply` changes the batch and returns the caller's answer; `size` is the number of documents it brings."""

    apply: Apply
    size: int = 1
    future: "Future[Any]" = field(default_factory=Future)


@dataclass
class Adopt:
    """Put older rows made from `base` in place of the live ones; forget them if those or the rotation have changed."""

    older: Older
    base: View
    future: "Future[Any]" = field(default_factory=Future)


@dataclass
class Swap:
    """A commit of its own: `make` writes to the database and gives the view that replaces the newest one."""

    make: Callable[[sqlite3.Connection, View], View]
    future: "Future[Any]" = field(default_factory=Future)


@dataclass(frozen=True)
class Generation:
    """What may take the place of everything: a closed and synced documents file, vectors, and the view of them."""

    documents: Path
    vectors: VectorFile
    view: View


@dataclass
class Exchange:
    """`make` finishes the next generation from the newest view; it gets a connection to the documents as they are.

    Readers are waited for at most `patience` seconds, while nothing is searched or written: then StillRead.
    """

    make: Callable[[sqlite3.Connection, View], Generation]
    patience: float
    future: "Future[Any]" = field(default_factory=Future)


Alone = Adopt | Swap | Exchange  # what never shares a commit
