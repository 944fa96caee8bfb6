"""What a path holds: a collection in BEIR's layout, or scored pairs."""

from collections.abc import Sequence
from pathlib import Path

from app.collections import Collection, is_collection, read_collection
from app.rows import RecordError
from app.similarity import SUFFIXES, ScoredPairs, kind_of, read_scored_pairs

WANTED = "corpus.jsonl[.gz] (a collection) or test.tsv, .csv, .jsonl or .parquet (scored pairs)"


def read_data(path: Path) -> Collection | ScoredPairs:
    """A folder's collection or its `test` file, or a file of scored pairs; RecordError when it is neither."""
    if path.is_file():
        return read_scored_pairs(path)
    if not path.is_dir():
        raise RecordError(f"{path}: there is no such file or folder")
    if is_collection(path):
        return read_collection(path)
    if (pairs := scored_file(path)) is not None:
        return read_scored_pairs(pairs)
    raise RecordError(f"{path}: no {WANTED} in it{_hint(path)}")


def read_all(paths: Sequence[Path]) -> list[Collection | ScoredPairs]:
    """All of them; RecordError when two have the same name, which results are kept under."""
    found = [read_data(path) for path in paths]
    names = [one.name for one in found]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise RecordError(f"two are named {twice[0]!r}: rename the folder of one")
    return found


def scored_file(folder: Path) -> Path | None:
    """The folder's file named `test`."""
    named = [file for file in sorted(folder.glob("test.*")) if kind_of(file) in SUFFIXES]
    return named[0] if named else None


def _hint(folder: Path) -> str:
    inside = [one for one in sorted(folder.iterdir()) if one.is_dir() and (is_collection(one) or scored_file(one))]
    return f"; but there is in {', '.join(str(one) for one in inside[:5])}" if inside else ""
