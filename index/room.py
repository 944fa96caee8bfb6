"""Whether there is room on a disk before something large is written to it."""

import shutil
from pathlib import Path

from index.errors import StorageFull


def require_room(directory: Path, needed: int, what: str) -> None:
    """Raise StorageFull, with both numbers, unless `needed` bytes are free on the disk of an existing directory."""
    free = shutil.disk_usage(directory).free
    if free < needed:
        raise StorageFull(f"{what} needs {needed:,} bytes on the disk of {directory}, {free:,} are free")
