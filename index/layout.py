"""Every file of a data directory, by name."""

import fcntl
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from index.errors import StoreLocked
from index.manifest import check_manifest, write_manifest


@dataclass(frozen=True)
class Layout:
    """Paths below a data directory; see ARCHITECTURE.md for what the files hold."""

    root: Path

    @property
    def manifest(self) -> Path:
        return self.root / "manifest.json"

    @property
    def lock(self) -> Path:
        return self.root / "LOCK"

    @property
    def snapshots(self) -> Path:
        return self.root / "snapshots"

    @property
    def collection(self) -> Path:
        return self.root / "collections" / "default"

    @property
    def documents(self) -> Path:
        return self.collection / "documents.sqlite"

    @property
    def log(self) -> Path:
        """SQLite's log beside the documents; it is there while they are open, and after a crash."""
        return self.documents.with_name(f"{self.documents.name}-wal")

    @property
    def log_index(self) -> Path:
        """What SQLite's connections share about the log; of no use once they are closed."""
        return self.documents.with_name(f"{self.documents.name}-shm")

    def vector_files(self, generation: int) -> tuple[Path, Path]:
        """The vectors of a generation, and their checksums."""
        return self.vectors(generation), self.checksums(generation)

    def vectors(self, generation: int) -> Path:
        return self.collection / f"vectors-{generation}.bin"

    def checksums(self, generation: int) -> Path:
        return self.collection / f"vectors-{generation}.crc"

    def shortlist(self, generation: int, rows: int, rotation: int | None = None) -> Path:
        """The graph of the first rows; `rotation` is the CRC-32 of the rotation its prefixes were made with."""
        turned = "" if rotation is None else f"-{rotation:08x}"
        return self.collection / f"shortlist-{generation}-{rows}{turned}.faiss"

    def words(self, generation: int) -> Path:
        """The words of a generation's texts; derived. SQLite keeps a log and what is shared about it beside it."""
        return self.collection / f"words-{generation}.sqlite"

    @property
    def calibration(self) -> Path:
        """What was learned about recall; derived."""
        return self.collection / "calibration.json"

    @staticmethod
    def rotation_name(checksum: int) -> str:
        return f"rotation-{checksum:08x}.npy"

    @staticmethod
    def query_map_name(checksum: int) -> str:
        return f"query-map-{checksum:08x}.npy"

    def exists(self) -> bool:
        """Whether a data directory has been made here."""
        return self.manifest.exists()

    def strangers(self) -> list[str]:
        """Names of what keeps this folder from being made a data directory: anything but an interrupted `create`."""
        ours = {"LOCK", "manifest.tmp", "snapshots", "collections", "lost+found"}
        foreign = [entry.name for entry in self.root.iterdir() if entry.name not in ours]
        return sorted(foreign + [entry.name for entry in self.collection.glob("*")])

    def create(self) -> None:
        """Make the directory and its manifest, durably; the manifest comes last and never changes."""
        self.collection.mkdir(parents=True, exist_ok=True)
        self.snapshots.mkdir(exist_ok=True)
        for directory in (self.collection.parent, self.root):  # before the manifest says that they are there
            sync_directory(directory)
        write_manifest(self.manifest, int(time.time()))
        for directory in (self.root, self.root.parent):
            sync_directory(directory)

    def check_format(self) -> None:
        """Raise StoreFormat unless the manifest is one of ours, undamaged, and of this version."""
        check_manifest(self.manifest)


def acquire_lock(layout: Layout) -> IO[str]:
    """Hold the directory for this process until the returned file is closed; raises StoreLocked."""
    layout.root.mkdir(parents=True, exist_ok=True)
    file = layout.lock.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise StoreLocked(
            f"{layout.root} is open in another process (pid {holder}); one process at a time uses a directory"
        ) from None
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return file


def sync_directory(path: Path) -> None:
    """fsync a directory, so that the names in it survive a power loss."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
