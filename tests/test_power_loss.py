"""Power failures: the model of a disk, the trace it follows, and a recorded run opened from its crashes."""

import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import syscall_trace
from power_crash import crashed
from power_disk import Disk
from power_loss import planted, recorded, survey
from power_model import Fate, File, surviving
from power_record import Recording, folder_in_memory, record
from power_states import choose, examine
from store_promises import Lost, check, possible_after
from syscall_trace import Unreadable

SYNCED, EVERYTHING = Fate("none", "none"), Fate("all", "all")
ROOT = Path("/d")
DICE = random.Random(0)


@pytest.fixture(scope="module")
def traced() -> None:
    """Skips, with the reason, where nothing can be recorded."""
    if reason := syscall_trace.missing():
        pytest.skip(reason)


@pytest.fixture(scope="module")
def recording(traced: None) -> Iterator[Recording]:
    """A small run of every phase."""
    with folder_in_memory() as folder:
        yield record(Path(folder), scale=1)


def hexed(text: str) -> str:
    """A string as strace -xx prints it."""
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


def played(tmp_path: Path, *lines: str) -> Disk:
    """A disk that followed these calls; `'...'` stands for a string, `5</d/f>` for a descriptor."""
    return followed(tmp_path, "".join(f"1  {_printed(line)}\n" for line in lines))


def followed(tmp_path: Path, text: str) -> Disk:
    """A disk that followed a trace."""
    trace, disk = tmp_path / "trace", Disk(ROOT)
    trace.write_text(text)
    for call in syscall_trace.read(trace):
        disk.play(call)
    return disk


def _printed(line: str) -> str:
    parts = line.split("'")
    return "".join(part if place % 2 == 0 else f'"{hexed(part)}"' for place, part in enumerate(parts))


NEW = ("openat(AT_FDCWD, '/d/a', O_WRONLY|O_CREAT) = 5", "write(5, 'hello', 5) = 5")


@pytest.mark.parametrize(
    ("then", "left"),
    [
        ((), {}),
        (("fsync(5) = 0",), {}),  # the bytes, but not the name
        (("openat(AT_FDCWD, '/d', O_RDONLY|O_DIRECTORY) = 6", "fsync(6) = 0"), {"a": b""}),  # the name alone
        (("fsync(5) = 0", "openat(AT_FDCWD, '/d', O_RDONLY) = 6", "fsync(6) = 0"), {"a": b"hello"}),
    ],
    ids=["nothing synced", "file synced", "directory synced", "both synced"],
)
def test_only_what_was_synced_has_to_be_there(tmp_path: Path, then: tuple[str, ...], left: dict[str, bytes]) -> None:
    """Bytes by an fsync of the file, the name by one of its directory."""
    disk = played(tmp_path, *NEW, *then)
    assert crashed(disk, 99, SYNCED, DICE) == left
    assert crashed(disk, 99, EVERYTHING, DICE) == {"a": b"hello"}


def test_a_rename_is_one_change_that_a_sync_of_its_directory_makes_durable(tmp_path: Path) -> None:
    """The old name or the new one, never both, never none."""
    both = ("fsync(5) = 0", "openat(AT_FDCWD, '/d', O_RDONLY) = 6", "fsync(6) = 0")
    disk = played(tmp_path, *NEW, *both, "rename('/d/a', '/d/b') = 0")
    seen = [crashed(disk, 99, Fate("none", "loose"), random.Random(seed)) for seed in range(20)]
    assert {tuple(files) for files in seen} == {("a",), ("b",)}
    assert crashed(played(tmp_path, *NEW, *both, "rename('/d/a', '/d/b') = 0", "fsync(6) = 0"), 99, SYNCED, DICE) == {
        "b": b"hello"
    }


def test_an_fsync_does_not_cover_a_write_that_was_under_way(tmp_path: Path) -> None:
    """Only calls that had ended before it began."""
    path = hexed("/d/a")
    disk = followed(
        tmp_path,
        f'1  openat(AT_FDCWD, "{path}", O_RDWR|O_CREAT) = 5\n'
        f'2  pwrite64(5<{path}>, "\\x61", 1, 0 <unfinished ...>\n'
        f"1  fsync(5<{path}>) = 0\n"
        "2  <... pwrite64 resumed>) = 1\n",
    )
    assert crashed(disk, 99, Fate("none", "all"), DICE) == {"a": b""}


@pytest.mark.parametrize(
    ("flags", "left"),
    [("vfork( <unfinished ...>", b"ab"), ("clone3({flags=CLONE_VM|CLONE_FILES|CLONE_THREAD} <unfinished ...>", b"a")],
    ids=["process", "thread"],
)
def test_what_another_process_closes_stays_open_here(tmp_path: Path, flags: str, left: bytes) -> None:
    """A thread shares the descriptors, a process that is started has its own."""
    path = hexed("/d/a")
    disk = followed(
        tmp_path,
        f'1  openat(AT_FDCWD, "{path}", O_RDWR|O_CREAT) = 5\n'
        f'1  pwrite64(5<{path}>, "\\x61", 1, 0) = 1\n'
        f"1  {flags}\n"
        f"7  close(5<{path}>) = 0\n"
        f"1  <... {flags.split('(')[0]} resumed>) = 7\n"
        f'1  pwrite64(5<{path}>, "\\x62", 1, 1) = 1\n',
    )
    file = disk.top.now["a"]
    assert isinstance(file, File)
    assert bytes(file.now) == left


def test_a_torn_write_leaves_old_and_new_sectors() -> None:
    """In units of 512 bytes, any subset."""
    file = File(durable=b"o" * 2048, now=bytearray(b"o" * 2048))
    file.write(1, 1, 0, b"n" * 2048)
    seen = {surviving(file, 9, Fate("some", "all"), random.Random(seed)) for seed in range(100)}
    assert len(seen) > 8
    for content in seen:
        assert all(content[at : at + 512] in (b"o" * 512, b"n" * 512) for at in range(0, 2048, 512))


def test_sizes_may_arrive_without_bytes() -> None:
    """A write past the end leaves zeros, or nothing; a truncation may be undone."""
    file = File(durable=b"old", now=bytearray(b"old"))
    file.write(1, 1, 3, b"new")
    assert surviving(file, 9, Fate("sizes", "all"), DICE) == b"old\0\0\0"
    file.resize(2, 2, 0)
    assert {surviving(file, 9, Fate(data, "all"), DICE) for data in ("none", "all")} == {b"old", b""}


@pytest.mark.parametrize(
    "line",
    [
        "link('/d/a', '/d/b') = 0",
        "fallocate(5</d/a>, FALLOC_FL_PUNCH_HOLE, 0, 4096) = 0",
        "rename('/d/a', '/elsewhere') = 0",
        "mmap(NULL, 4096, PROT_READ|PROT_WRITE, MAP_SHARED, 5<'/d/a'>, 0) = 0x7f00",
    ],
)
def test_a_call_that_is_not_understood_is_an_error(tmp_path: Path, line: str) -> None:
    """Rather than a run in which something was overlooked."""
    line = line.replace("5</d/a>", f"5<{hexed('/d/a')}>").replace("5<'/d/a'>", f"5<{hexed('/d/a')}>")
    with pytest.raises(Unreadable):
        played(tmp_path, *NEW, line)


def test_a_log_says_what_is_possible() -> None:
    """Acknowledged: this; refused: what was before; neither: either."""
    lines = [
        '{"begin": 1, "changes": {"a": 1, "b": 1, "c": "*"}}',
        '{"ack": 1, "learned": {"c": "found"}}',
        '{"begin": 2, "changes": {"a": 2}}',
        '{"begin": 3, "changes": {"b": 2}}',
        '{"refused": 3}',
    ]
    possible = possible_after(lines)
    assert possible == {"a": [1, 2], "b": [1], "c": ["found"]}
    with pytest.raises(Lost, match="b is 2"):
        check(possible, "b", 2)


def test_nothing_acknowledged_is_lost(recording: Recording) -> None:
    """A hundred states of a small run."""
    with folder_in_memory() as folder:
        found = examine(recording, choose(recording, 100, seed=1), 1, Path(folder))
    assert found.losses == {}
    assert len(found.distinct) > 70


def test_a_sync_that_is_left_out_is_found(traced: None) -> None:
    """Vectors are acknowledged while nothing has made them durable."""
    with folder_in_memory() as folder:
        run = record(Path(folder) / "run", scale=1, plant="vector-fsync", phases=("first",))
        found = examine(run, choose(run, 30, seed=1), 1, Path(folder))
    assert any("vector" in loss for loss in found.losses.values())


@pytest.mark.long
def test_thousands_of_crash_states(traced: None, record_property: Callable[[str, object], None]) -> None:
    """And every planted defect is found."""
    with recorded(None, scale=6) as recording:
        found, figures = survey(recording, 4_000, seed=1, workers=2)
    defects = planted(scale=2, seed=1, workers=2)
    for name, value in {**figures, "planted": defects}.items():
        record_property(name, value)
    assert found.losses == {}
    assert figures["different_states"] >= 2_000
    assert all(about["states_that_lost_something"] for about in defects.values())
