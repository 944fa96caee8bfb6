"""The manifest of a data directory: what it is, its format version, when it was made, and their checksum."""

import json
import os
import zlib
from pathlib import Path
from typing import Any

from index.errors import StoreFormat

FORMAT, FORMAT_VERSION = "funnel-search", 1
MEND = "`funnel repair` writes it again"


class NewerFormat(StoreFormat):
    """It is whole, and of another version than this program reads."""


def created_of(path: Path, documents: Path) -> int:
    """When the directory was made, from its manifest; from the documents file when that says nothing any more."""
    try:
        check_manifest(path)
        return int(json.loads(path.read_text())["created"])
    except StoreFormat:
        return int(documents.stat().st_mtime)


def write_manifest(path: Path, created: int) -> None:
    """Put a manifest in place, `created` in seconds since 1970; its directory is not synced yet."""
    record = {"format": FORMAT, "version": FORMAT_VERSION, "created": created}
    temporary = path.with_suffix(".tmp")
    with temporary.open("w") as file:
        json.dump({**record, "crc32": _checksum(record)}, file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def check_manifest(path: Path) -> None:
    """Raise StoreFormat unless it is one of ours, whole to the last byte, and of this version."""
    try:
        text = path.read_text()
        record = json.loads(text)
        name, version, expected = record["format"], record["version"], record.pop("crc32", None)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StoreFormat(f"{path} is not a {FORMAT} manifest: {error}; {MEND}") from None
    if expected is not None and expected != (actual := _checksum(record)):
        raise StoreFormat(f"{path} does not match its checksum: expected {expected}, found {actual}; {MEND}")
    if name != FORMAT or version != FORMAT_VERSION:
        raise NewerFormat(
            f"{path.parent} has format {name!r} version {version}; this program reads version {FORMAT_VERSION}. "
            f"Open it with the newer {FORMAT} that wrote it"
        )
    whole = record if expected is None else {**record, "crc32": expected}  # earlier programs wrote no checksum
    if list(record) != ["format", "version", "created"] or text != json.dumps(whole):
        raise StoreFormat(f"{path} is damaged: {text[:200]!r}; {MEND}")


def _checksum(record: dict[str, Any]) -> int:
    return zlib.crc32(json.dumps(record).encode())
