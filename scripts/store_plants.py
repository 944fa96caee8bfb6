"""Defects that are planted in memory, to show that a campaign finds them; never a switch in the product."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from index import database, matrices, snapshot_file, vectors
from index.database import Documents


def without_fsync(module: ModuleType) -> None:
    """The files that this module writes are never synced."""
    module.os = SimpleNamespace(**{**vars(os), "fsync": lambda _: None})  # type: ignore[attr-defined]


def skip_vector_fsync() -> None:
    """Vectors are acknowledged while the disk may not hold them."""
    without_fsync(vectors)


def skip_document_fsync() -> None:
    """SQLite leaves it to the kernel when its log is written."""
    real = Documents.__init__

    def lazy(self: Documents, *arguments: Any, **named: Any) -> None:
        real(self, *arguments, **named)
        self._writer.execute("PRAGMA synchronous=OFF")

    Documents.__init__ = lazy  # type: ignore[method-assign]


def skip_directory_fsync() -> None:
    """New names and renames are not synced."""
    for module in [module for name, module in sys.modules.items() if name.startswith("index.")]:
        if hasattr(module, "sync_directory"):
            module.sync_directory = quiet  # type: ignore[attr-defined]


def skip_exchange_fsync() -> None:
    """The rename by which a compaction takes effect is not synced before it is acknowledged."""
    database.sync_directory = quiet


def skip_snapshot_fsync() -> None:
    """A snapshot is acknowledged while the disk may not hold it."""
    without_fsync(snapshot_file)


def skip_matrix_fsync() -> None:
    """A matrix is named by a transaction before its bytes are on the disk."""
    without_fsync(matrices)


def quiet(path: Path) -> None:
    """Does nothing."""


PLANTS: dict[str, Callable[[], None]] = {
    "vector-fsync": skip_vector_fsync,
    "document-fsync": skip_document_fsync,
    "directory-fsync": skip_directory_fsync,
    "matrix-fsync": skip_matrix_fsync,
    "exchange-fsync": skip_exchange_fsync,
    "snapshot-fsync": skip_snapshot_fsync,
}
