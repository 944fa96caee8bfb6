"""The directory that a power failure at some line of a trace leaves, as `power_model` allows it."""

import os
from pathlib import Path
from random import Random

from power_disk import REBUILT, Disk
from power_model import Fate, Folder, Node, follow, surviving

Files = dict[str, bytes | None]  # bytes by path, None for a folder
Names = dict[Folder, dict[str, Node]]  # of the folders that differ from what is durable


def crashed(disk: Disk, cut: int, fate: Fate, random: Random) -> Files:
    """What is below the root of a disk on which everything before the line `cut` was played."""
    names = _names(disk, cut, fate, random)
    found: Files = {}

    def visit(folder: Folder, prefix: str) -> None:
        for name, node in names.get(folder, folder.durable).items():
            if isinstance(node, Folder):
                found[prefix + name] = None
                visit(node, f"{prefix}{name}/")
            elif name.endswith(REBUILT):
                found[prefix + name] = random.randbytes(len(node.now))
            else:
                found[prefix + name] = surviving(node, cut, fate, random)

    visit(disk.top, "")
    return found


def _names(disk: Disk, cut: int, fate: Fate, random: Random) -> Names:
    names: Names = {}
    pending = [naming for naming in disk.namings if naming.start < cut]
    forced = sum(naming.end < disk.journaled for naming in pending)
    kept = {"none": 0, "all": len(pending)}.get(fate.names, random.randint(forced, len(pending)))
    for place, naming in enumerate(pending):
        if random.random() < fate.share if fate.names == "loose" else place < kept:
            follow(naming, names)
    return names


def materialise(found: Files, root: Path) -> None:
    """Write such a directory."""
    root.mkdir(parents=True)
    for path, data in found.items():
        if data is None:
            (root / path).mkdir()
        else:
            descriptor = os.open(root / path, os.O_WRONLY | os.O_CREAT, 0o640)
            os.write(descriptor, data)
            os.close(descriptor)
