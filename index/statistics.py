"""What the store can say about itself."""

from typing import Any

from index.layout import Layout
from index.merger import Merger
from index.vectors import CHECKSUM_BYTES
from index.view import View

MANY_DEAD = 1 / 3  # of the rows


def statistics(
    view: View, layout: Layout, merger: Merger, cached_filter_bytes: int, read_only: Exception | None
) -> dict[str, Any]:
    """Counts, the make of the shortlist, bytes on disk (allocated) and in memory, why writes are refused or None."""
    older, dead = view.shortlist.older, view.rows - view.count
    return {
        "count": view.count,
        "rows": view.rows,
        "dead_rows": dead,
        "dead_bytes": dead * (view.codec.row_bytes + CHECKSUM_BYTES),
        "advice": _advice(view.rows, dead),
        "generation": view.generation,
        "commits": view.commits,
        "storage": view.codec.name,
        "read_only": None if read_only is None else str(read_only),
        "shortlist": {
            "kind": older.kind if older else "flat",
            "codes": older.codes if older else "float32",
            "older_rows": view.shortlist.older_rows,
            "tail_rows": len(view.shortlist.tail),
            "merged_from": merger.merged_from,
            "merging": merger.merging,
            "merge_error": merger.error,
        },
        "disk_bytes": disk_bytes(layout),
        "memory_bytes": {
            "shortlist": view.shortlist.memory_bytes,
            "live_bitmap": view.live.nbytes,
            "filter_cache": cached_filter_bytes,
        },
    }


def _advice(rows: int, dead: int) -> str | None:
    """When a compaction pays; None when it would not yet."""
    if dead <= MANY_DEAD * rows:
        return None
    how = "`funnel compact` (POST /compact) erases them and gives their disk space back"
    return f"{dead:,} of {rows:,} rows are dead: {how}"


def disk_bytes(layout: Layout) -> dict[str, int]:
    """Allocated bytes by kind of file, and their total."""
    sizes = {"vectors": 0, "checksums": 0, "documents": 0, "shortlist": 0, "matrices": 0, "words": 0}
    kinds = {".bin": "vectors", ".crc": "checksums", ".faiss": "shortlist", ".npy": "matrices"}
    for path in layout.collection.iterdir():
        try:
            size = path.stat().st_blocks * 512
        except FileNotFoundError:  # replaced while we looked
            continue
        words = path.name.startswith("words-")
        sizes["words" if words else kinds.get(path.suffix, "documents")] += size
    return {**sizes, "total": sum(sizes.values())}
