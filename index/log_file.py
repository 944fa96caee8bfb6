"""Damage inside SQLite's write-ahead log, which SQLite takes for its end: what follows would be lost in silence.

Every frame has a checksum that goes on from the one before. A torn write is the last thing in a log: whatever was
synced before it is whole. One broken frame with two commits after it, whose own checksums hold, was broken later.
"""

import struct
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np

from index.check import Check
from index.errors import StoreCorrupt
from index.layout import Layout
from index.seal import REPAIR

HEADER, FRAME, PAGE = 32, 24, 4_096  # bytes
SALT_BYTES = 7  # of 8 that header and frames have in common when one bit of them is flipped
MASK = 0xFFFFFFFF
MAGIC = 0x377F0682  # the last bit says in which byte order checksums are made: this machine's
PAIRS = (8 + PAGE) // 8  # of 32-bit numbers in the checksum of a frame: half of its header, and its page
BLOCK = 1_024  # frames whose numbers are summed up at a time
SYNCED = 2  # commits that follow a broken frame: the first of them was synced before the second was written

Sum = tuple[int, int]


def check_log(layout: Layout) -> Check:
    """Whether the log of a directory that nobody has open is whole up to its last commit."""
    try:
        frames = check_log_file(layout.log)
    except StoreCorrupt as error:
        lost = "`funnel repair` keeps what came before it, saves the log in a file, and names what that leaves open"
        return Check("write-ahead log", False, str(error), lost)
    return Check("write-ahead log", True, f"{frames} frames" if frames else "none")


def check_log_file(path: Path) -> int:
    """The number of whole frames from the beginning; StoreCorrupt when acknowledged commits follow a broken one."""
    data = path.read_bytes() if path.exists() else b""
    seeds = _header(data)
    salt = data[16:24] if seeds else data[HEADER + 8 : HEADER + 16]  # a header that is damaged has frames of its own
    broken, whole = (None if seeds else "the header"), 0
    stretch = longest = commits = 0  # of sound frames behind a broken one: commits in this stretch, the longest, all
    if not seeds and sum(a == b for a, b in zip(salt, data[16:24], strict=False)) < SALT_BYTES:
        return 0  # it was torn when the log began anew: what follows is in the documents file
    for number, (frame, own) in enumerate(_frames(data)):
        stored = struct.unpack(">2I", frame[16:])
        sums = [_after(seed, own) for seed in seeds]
        sound = frame[8:16] == salt and (stored in sums or not seeds)
        if broken is None and sound:
            whole = number + 1
        elif broken is None:
            broken = f"frame {number}"
        elif not sound:
            stretch = 0
        elif frame[4:8] != bytes(4):
            stretch, commits = stretch + 1, commits + 1
            longest = max(longest, stretch)
        seeds = [stored] if sound else [stored, *sums[:1]]  # which of the two is damaged tells the next frame
    if broken is not None and (longest >= SYNCED or commits > SYNCED):  # what power losses left has one commit each
        raise StoreCorrupt(f"{broken} of {path} is damaged, and {commits} commits follow it; {REPAIR}")
    return whole


def _header(data: bytes) -> list[Sum]:
    """The checksum that the first frame goes on from; none when the header does not match it."""
    if len(data) < HEADER or struct.unpack(">I", data[:4])[0] & ~1 != MAGIC:
        return []
    stored: Sum = struct.unpack(">2I", data[HEADER - 8 : HEADER])
    s0 = s1 = 0
    for x0, x1 in struct.iter_unpack("=2I", data[: HEADER - 8]):  # SQLite's checksum, as this machine makes it
        s0 = (s0 + x0 + s1) & MASK
        s1 = (s1 + x1 + s0) & MASK
    return [stored] if stored == (s0, s1) else []


def _frames(data: bytes) -> Iterator[tuple[bytes, Sum]]:
    """The header of every frame, and what the frame adds to the checksum before it: the sums are linear in both."""
    number, weights = max(0, len(data) - HEADER) // (FRAME + PAGE), _linear()[0]
    found = np.frombuffer(data, np.uint8, number * (FRAME + PAGE), HEADER if number else 0).reshape(
        number, FRAME + PAGE
    )
    for start in range(0, number, BLOCK):
        block = found[start : start + BLOCK]
        summed = np.ascontiguousarray(np.delete(block, np.s_[8:FRAME], axis=1)).view(np.uint32) @ weights
        yield from ((row[:FRAME].tobytes(), (own[0], own[1])) for row, own in zip(block, summed.tolist(), strict=True))


def _after(seed: Sum, own: Sum) -> Sum:
    """The checksum of a frame that goes on from `seed`."""
    (a, b), (c, d) = _linear()[1]
    return (a * seed[0] + b * seed[1] + own[0]) & MASK, (c * seed[0] + d * seed[1] + own[1]) & MASK


@cache
def _linear() -> tuple[np.ndarray, list[list[int]]]:
    """What each number of a frame adds to both sums, (2 * PAIRS, 2) uint32; and what the sums before it become."""
    step = np.array([[1, 1], [1, 2]], dtype=np.uint32)
    power = np.eye(2, dtype=np.uint32)
    weights = np.empty((PAIRS, 2, 2), dtype=np.uint32)
    for place in reversed(range(PAIRS)):
        weights[place] = (power @ np.array([[1, 0], [1, 1]], dtype=np.uint32)).T
        power = power @ step
    return weights.reshape(2 * PAIRS, 2), power.tolist()
