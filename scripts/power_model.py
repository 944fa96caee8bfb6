"""What a disk may hold after the power fails: the files of a trace, what of them is durable, and what may be.

The model, after Pillai et al., "All File Systems Are Not Created Equal" (OSDI 2014), and what SQLite
(sqlite.org/atomiccommit.html) and the kernel's dm-log-writes assume; harsher than ext4, XFS and btrfs:

- fsync and fdatasync of a file make durable what was written to it, and its size, by calls that ended before it began.
  They do not make its name durable; fsync of its directory does, as it does for a removal and a rename.
- Each later write is on the disk, or not, or torn: any subset of its sectors of 512 or 4,096 bytes, in any order
  among the writes to this and to other files. Where a write is missing there are the old bytes, or zeros.
- Changes of size (by truncation, preallocation or a write past the end) happen in their order, any number of them,
  whether or not the bytes are there.
- Changes of names are either `journaled`: in their order, any number of them, every sync of anything having
  brought along all before it (ext4, XFS); or `loose`: any subset, in which a change only needs the name that it
  starts from, and only an fsync of its directory makes it durable. A rename is one change.

Not modelled: a disk that lies about a flush, and sectors that were durable and become unreadable.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random


@dataclass(eq=False)
class Change:
    """A call that changed the bytes or the size of a file; `data` None: only the size."""

    start: int
    end: int
    size: int  # of the file after it
    offset: int = 0
    data: bytes | None = None


@dataclass(eq=False)
class File:
    """`durable` is what an fsync has put on the disk; `now` is what a reader of the running system sees."""

    durable: bytes = b""
    now: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)

    def write(self, start: int, end: int, offset: int, data: bytes) -> None:
        """A write at an offset."""
        grown = offset + len(data) - len(self.now)
        if grown > 0:
            self.now.extend(bytes(grown))
        self.now[offset : offset + len(data)] = data
        self.pending.append(Change(start, end, len(self.now), offset, data))

    def resize(self, start: int, end: int, size: int) -> None:
        """A truncation or a preallocation."""
        resized(self.now, size)
        self.pending.append(Change(start, end, size))

    def sync(self, start: int) -> None:
        """An fsync that began at `start`: everything that had ended by then is durable."""
        content = bytearray(self.durable)
        for change in self.pending:
            if change.end < start:
                apply(content, change)
        self.durable = bytes(content)
        self.pending = [change for change in self.pending if change.end >= start]


@dataclass(eq=False)
class Folder:
    """Names and what they stand for: on the disk, and in the running system."""

    durable: dict[str, "Node"] = field(default_factory=dict)
    now: dict[str, "Node"] = field(default_factory=dict)


Node = File | Folder


@dataclass(eq=False)
class Naming:
    """A change of names, done as one: each step is (folder, name, what it stands for before, and after)."""

    start: int
    end: int
    steps: list[tuple[Folder, str, Node | None, Node | None]]

    def within(self, folder: Folder) -> bool:
        """Whether an fsync of this folder makes it durable: the one that it put a name into, or took it from."""
        return self.steps[-1][0] is folder


@dataclass(frozen=True)
class Fate:
    """What becomes of what is not durable: whether bytes, sizes and names arrive, and what share of them."""

    data: str  # none | sizes | some | all
    names: str  # none | all | journaled | loose
    sector: int = 512
    share: float = 0.5


def resized(content: bytearray, size: int) -> None:
    """Cut, or fill with zeros."""
    del content[size:]
    content.extend(bytes(size - len(content)))


def apply(content: bytearray, change: Change) -> None:
    """Do a change in full."""
    if change.data is None:
        resized(content, change.size)
        return
    missing = change.offset + len(change.data) - len(content)
    if missing > 0:
        content.extend(bytes(missing))
    content[change.offset : change.offset + len(change.data)] = change.data


def surviving(file: File, cut: int, fate: Fate, random: Random) -> bytes:
    """The bytes of a file after the power failed at `cut`."""
    pending = [change for change in file.pending if change.start < cut]
    if fate.data == "none" or not pending:
        return file.durable
    content = bytearray(file.durable)
    resizes = random.randint(0, len(pending)) if fate.data == "some" else len(pending)
    size = pending[resizes - 1].size if resizes else len(content)
    for place, change in enumerate(pending):
        if change.data is None:
            if place < resizes:
                resized(content, change.size)
        elif fate.data == "all":
            apply(content, change)
        elif fate.data == "some":
            _tear(content, change.offset, change.data, fate, random)
    resized(content, size)
    return bytes(content)


def _tear(content: bytearray, offset: int, data: bytes, fate: Fate, random: Random) -> None:
    """Some sectors of a write arrive; now and then all or none of them."""
    whole = random.random()
    for start, stop in _sectors(offset, len(data), fate.sector):
        if whole < fate.share / 2 or (whole < 0.75 and random.random() < fate.share):
            apply(content, Change(0, 0, 0, start, data[start - offset : stop - offset]))


def _sectors(offset: int, length: int, sector: int) -> Iterator[tuple[int, int]]:
    start = offset
    while start < offset + length:
        stop = min((start // sector + 1) * sector, offset + length)
        yield start, stop
        start = stop


def follow(naming: Naming, names: dict[Folder, dict[str, Node]] | None = None) -> None:
    """Do a change of names, if what it starts from is there: for good, or in `names`, a copy of what is durable."""

    def of(folder: Folder) -> dict[str, Node]:
        return folder.durable if names is None else names.setdefault(folder, dict(folder.durable))

    first_folder, first_name, before, after = naming.steps[0]
    if after is None and of(first_folder).get(first_name) is not before:
        return  # the name that would be taken away, or renamed, never arrived
    for folder, name, _, after in naming.steps:
        if after is None:
            of(folder).pop(name, None)
        else:
            of(folder)[name] = after
