"""The shape of the answer to a compaction."""

from app.responses import Shape


class Compacted(Shape):
    """Rows and allocated bytes before and after; the snapshots that hold, or held until they were purged, rows that
    are erased from the index, and files that may hold some: those that `funnel repair`
    saved, and those of the index that a disk would not let go of."""

    rows_before: int
    rows_after: int
    erased: int
    bytes_before: int
    bytes_after: int
    generation: int
    snapshots_with_erased_rows: list[str]
    kept_by_repair: list[str]
    not_removed: list[str]
    purged_snapshots: bool
