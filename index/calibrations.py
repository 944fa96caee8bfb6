"""The calibration in force and its file. It is derived: a lost or damaged one is made again, nothing else suffers."""

import logging
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from index.calibrating import identity, named
from index.calibration import Calibration
from index.errors import StoreUnavailable
from index.layout import Layout, sync_directory
from index.matrices import write_durably
from index.view import View

GROWN = 1.5  # times as many documents as there were: what was measured says little about the rest
FRESH = 0.5  # of the documents were written since
SHRUNK = 0.5
log = logging.getLogger(__name__)


class Calibrations:
    """Read at the start, replaced as a whole; may be used from any thread."""

    def __init__(self, layout: Layout) -> None:
        self._path = layout.calibration
        self._kept = self._loaded()

    @property
    def kept(self) -> Calibration | None:
        """The one in the file, whatever it was made for; None when there is none, or it cannot be read."""
        return self._kept

    def of(self, view: View) -> Calibration | None:
        """The calibration, if it was made for such a view: another model, rotation or first stage voids it."""
        kept = self._kept
        return kept if kept is not None and dict(kept.identity) == identity(view) else None

    def put(self, calibration: Calibration) -> None:
        """Store it durably and use it from now on; raises StorageFull or StoreUnavailable."""
        write_durably(self._path, calibration.to_json().encode())
        self._kept = calibration

    def renumber(self, number: Callable[[int], int]) -> None:
        """Rows have new numbers: tell again which documents came after it. Raises StorageFull or StoreUnavailable."""
        if (kept := self._kept) is not None:
            moved = replace(kept, through=number(kept.through), calibration_id="")
            self.put(replace(moved, calibration_id=named(moved)))

    def forget(self) -> None:
        """Go back to none; raises StoreUnavailable when the file cannot be removed, and it stays in force then."""
        try:
            self._path.unlink(missing_ok=True)
            sync_directory(self._path.parent)
        except OSError as error:
            raise StoreUnavailable(f"{self._path} cannot be removed: {error.strerror}") from error
        self._kept = None

    def describe(self, view: View) -> dict[str, Any]:
        """`calibration` for the statistics: what it is and whether it should be made again."""
        kept = self._kept
        if kept is None:
            return {"calibration": None}
        outdated = outdated_by(kept, view)
        return {
            "calibration": {
                "id": kept.calibration_id,
                "made": kept.made,
                "source": kept.source,
                "guaranteed": kept.guaranteed,
                "queries": kept.queries,
                "documents": kept.rows,
                "in_force": self.of(view) is not None,
                "outdated": outdated,
            }
        }

    def _loaded(self) -> Calibration | None:
        try:
            kept = Calibration.from_json(self._path.read_text())
            if named(replace(kept, calibration_id="")) != kept.calibration_id:
                raise ValueError("it does not match its checksum")
            return kept
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            log.warning("the calibration in %s cannot be read and is made again: %s", self._path, error)
            return None


def outdated_by(calibration: Calibration, view: View) -> str | None:
    """Why it should be made again; None when there is no reason."""
    here = identity(view)
    if different := [name for name, value in calibration.identity.items() if here.get(name) != value]:
        return f"{' and '.join(name.replace('_', ' ') for name in different)} changed since"
    fresh = view.rows - calibration.through
    if not SHRUNK * calibration.rows <= view.count <= GROWN * calibration.rows:
        return f"made on {calibration.rows:,} documents, there are {view.count:,} now"
    if fresh > FRESH * view.count:
        return f"{fresh:,} documents were written since, there are {view.count:,}"
    return None
