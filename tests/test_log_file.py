"""A log that was damaged after it was written is told from one that was torn while it was."""

import shutil
import sqlite3
import time
from pathlib import Path

import numpy as np
import pytest

from index.errors import StoreCorrupt
from index.layout import Layout
from index.log_file import FRAME, HEADER, PAGE, check_log_file
from index.opening import offline
from index.verify import verify
from index_cases import fill, opened, unit_vectors

V = unit_vectors(60)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The log of a store that was killed after twenty commits."""
    with opened(tmp_path / "data") as store:
        for i in range(20):
            fill(store, V[i * 3 : i * 3 + 3], start=i * 3)
        shutil.copytree(tmp_path / "data", tmp_path / "killed")
    return Layout(tmp_path / "killed").documents.with_name("documents.sqlite-wal")


def frames(log: Path) -> int:
    """How many there are."""
    return (log.stat().st_size - HEADER) // (FRAME + PAGE)


def commits(log: Path, first: int) -> int:
    """Frames that end a commit, from one on."""
    data = log.read_bytes()
    starts = range(HEADER + first * (FRAME + PAGE), len(data), FRAME + PAGE)
    return sum(data[start + 4 : start + 8] != bytes(4) for start in starts)


def flipped(log: Path, place: int) -> None:
    """The log with one bit changed."""
    data = bytearray(log.read_bytes())
    data[place // 8] ^= 1 << place % 8
    log.write_bytes(data)


def test_a_whole_log_passes(log: Path) -> None:
    """And none at all; SQLite reads the same frames as we do."""
    assert check_log_file(log) == frames(log) > 20
    assert check_log_file(log.with_name("none")) == 0
    assert verify(log.parents[2]).ok


def test_every_torn_end_passes(log: Path) -> None:
    """Cut at any byte, or with the last commit's frames in any state: nothing of that was acknowledged."""
    kept = log.read_bytes()
    for length in [*range(60), *range(len(kept) - 9_000, len(kept), 977)]:
        log.write_bytes(kept[:length])
        check_log_file(log)
    last = frames(log) - 1
    while commits(log, last) < 2:
        last -= 1
    for frame in range(last + 1, frames(log)):
        log.write_bytes(kept)
        flipped(log, (HEADER + frame * (FRAME + PAGE) + 100) * 8)
        check_log_file(log)


@pytest.mark.parametrize("seed", range(12))
def test_a_flipped_bit_with_commits_behind_it_is_refused(log: Path, seed: int) -> None:
    """In a page, a frame's header or the log's: SQLite alone would lose these commits in silence."""
    frame, inside = seed, (0, 5, 9, 17, 23, 24, 2_000, FRAME + PAGE - 1)[seed % 8]
    place = HEADER + frame * (FRAME + PAGE) + inside
    flipped(log, place * 8 + seed % 8)
    with pytest.raises(StoreCorrupt, match=rf"frame {frame} of .* is damaged, and \d+ commits follow"):
        check_log_file(log)
    (check,) = (check for check in verify(log.parents[2]).checks if check.name == "write-ahead log")
    assert not check.ok
    with pytest.raises(StoreCorrupt, match="commits follow it"):
        opened(log.parents[2])


def test_no_work_on_a_closed_directory_makes_an_end_of_it(log: Path) -> None:
    """`funnel reindex`, say: SQLite would move what it can read of the log into the file, and remove the rest."""
    flipped(log, (HEADER + 3 * (FRAME + PAGE) + 100) * 8)
    kept = log.read_bytes()
    with pytest.raises(StoreCorrupt, match="commits follow it"), offline(log.parents[2]):
        pass
    assert log.read_bytes() == kept


def test_two_pages_that_changed_places_are_refused(log: Path) -> None:
    """Several frames are broken, and commits follow the last of them."""
    data = log.read_bytes()
    for page in (3, 8, 12):
        one, two = slice(page * PAGE, page * PAGE + PAGE), slice((page + 3) * PAGE, (page + 4) * PAGE)
        swapped = bytearray(data)
        swapped[one], swapped[two] = data[two], data[one]
        log.write_bytes(swapped)
        with pytest.raises(StoreCorrupt, match="commits follow it"):
            check_log_file(log)


def test_any_flipped_bit_of_the_header_is_refused(log: Path) -> None:
    """But for the parts that SQLite does not use."""
    kept = log.read_bytes()
    for place in range(0, HEADER * 8, 7):
        log.write_bytes(kept)
        flipped(log, place)
        with pytest.raises(StoreCorrupt, match=r"the header of .* is damaged"):
            check_log_file(log)


def test_a_log_that_began_anew_passes(log: Path) -> None:
    """Old frames follow the new ones; a torn new header has other salts than they."""
    db = sqlite3.connect(log.with_name("documents.sqlite"))
    db.execute("PRAGMA wal_checkpoint(RESTART)")
    with db:
        db.execute("UPDATE documents SET title = 'x' WHERE row = 1")
    data = log.read_bytes()
    db.close()
    log.write_bytes(data)
    assert 0 < check_log_file(log) < frames(log)
    flipped(log, 12 * 8)
    log.write_bytes(log.read_bytes()[:16] + b"12345678" + log.read_bytes()[24:])
    assert check_log_file(log) == 0


def test_a_long_torn_end_is_read_once(log: Path) -> None:
    """Of a large commit that a power failure left in pieces: each frame is summed up from two others at most."""
    whole, torn = frames(log), np.random.default_rng(0).bytes(5_000 * (FRAME + PAGE))
    log.write_bytes(log.read_bytes() + torn)
    started = time.monotonic()
    assert check_log_file(log) == whole
    assert time.monotonic() - started < 60  # summed up from all before it: half an hour
