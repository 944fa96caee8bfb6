"""What a store has done to the whole of it: rotations, query maps, compactions, snapshots."""

from collections.abc import Callable
from typing import Any

from index.calibrations import Calibrations
from index.compaction import Compactor
from index.database import Documents
from index.layout import Layout
from index.maintenance import Maintenance
from index.merger import Merger
from index.options import StoreOptions
from index.progress import Progress, silent
from index.rotation import QueryMap, Rotation
from index.rotator import Rotator
from index.scrub import Scrubbed, scrub
from index.snapshots import Snapshots
from index.told import told
from index.writer import Writer


class Upkeep:
    """A part of `Store`. One rotation or compaction at a time; every method may be called from any thread."""

    def __init__(
        self,
        writer: Writer,
        documents: Documents,
        merger: Merger,
        calibrations: Calibrations,
        layout: Layout,
        options: StoreOptions,
    ) -> None:
        self._writer, self._maintenance, self._scrubbed = writer, Maintenance(), documents
        self.snapshots = Snapshots(layout, documents, lambda: writer.view)
        self._rotator = Rotator(writer, merger, layout, options, self._maintenance)
        self._compactor = Compactor(writer, documents, merger, calibrations, layout, options, self._maintenance)

    def scrub(self, pause: Callable[[], None]) -> Scrubbed:
        """Check every live vector and document while searches and writes go on; `pause` comes every few milliseconds.

        What it raises ends the work. Raises ViewGone when a compaction renumbers the rows, StoreCorrupt.
        """
        return scrub(self._writer.view, self._scrubbed, pause)

    @property
    def rotation(self) -> Rotation | None:
        """The rotation of the prefixes in force."""
        return self._writer.view.rotation

    @property
    def query_map(self) -> QueryMap | None:
        """The map of the queries in force."""
        return self._writer.view.query_map

    def rotate(self, rotation: Rotation | None, progress: Progress | None = None) -> None:
        """Put the prefixes of every row under a rotation, or under none; returns when that is durable and searched.

        Searches and writes go on. `progress` gets (rows done, rows); what it raises stops the work. An error, or a
        kill, leaves what was in force. Raises InvalidInput, MaintenanceBusy, StorageFull, StoreUnavailable.
        """
        self._rotator.rotate(rotation, progress)

    def set_query_map(self, query_map: QueryMap | None) -> None:
        """Put a map on the query vectors, or none; searches see the old one or the new one.

        Raises InvalidInput, StorageFull, StoreUnavailable.
        """
        self._rotator.set_query_map(query_map)

    def compact(self, progress: Progress | None = None) -> dict[str, Any]:
        """Write the live rows again without the dead ones: the bytes of what was deleted before are in no file then.

        Searches and writes go on, and find the same. `progress` gets (steps done, steps); what it raises stops the
        work. An error, or a kill, leaves everything as it was. Returns rows_before, rows_after, erased, bytes_before
        and bytes_after (allocated on disk), the generation in force, and what may still hold erased rows: files
        kept_by_repair, files not_removed (a disk refused; they go at the next start) and snapshots_with_erased_rows.
        Raises MaintenanceBusy, StorageFull with the bytes needed and free, StoreCorrupt for a damaged live row,
        StoreBusy when another process has the documents file open, StoreUnavailable.
        """
        with told("the compaction failed, nothing was changed"):
            report = self._compactor.compact(progress or silent)
        return {**report, "snapshots_with_erased_rows": self.snapshots.older_than(report["generation"])}

    def close_upkeep(self) -> None:
        """Stop a work in progress, of which nothing stays, and refuse others."""
        self.snapshots.close()
        self._maintenance.close()
        self._rotator.close()
