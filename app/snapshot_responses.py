"""The shapes of answers about snapshots."""

from typing import Literal

from app.responses import Shape


class Snapshot(Shape):
    """A snapshot: a tar file with everything as it was at one commit. `sha256` is that of its SHA256SUMS, and so of
    all that it holds. Of a file that cannot be read there are `name`, `bytes` and `error` alone."""

    name: str
    bytes: int
    created: str | None = None  # UTC
    generation: int | None = None
    commits: int | None = None
    rows: int | None = None
    count: int | None = None
    fingerprint: str | None = None
    storage: str | None = None
    sha256: str | None = None
    error: str | None = None


class Snapshots(Shape):
    """All snapshots, the oldest first."""

    snapshots: list[Snapshot]


class SnapshotDeleted(Shape):
    """The snapshot is gone."""

    deleted: Literal[1]
