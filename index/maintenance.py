"""Works over the whole index, a rotation or a compaction: one at a time, and none when the store is closed."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from index.errors import MaintenanceBusy, StoreUnavailable


class Maintenance:
    """What the works of one store share."""

    def __init__(self) -> None:
        self._alone, self._closed, self._doing = threading.Lock(), threading.Event(), ""

    @contextmanager
    def alone(self, doing: str) -> Iterator[None]:
        """`doing` is what others are told, such as "a rotation is being applied"; raises MaintenanceBusy."""
        if not self._alone.acquire(blocking=False):
            raise MaintenanceBusy(f"{self._doing or 'another work began'}; one at a time: wait until it is done")
        try:
            self._doing = doing
            yield
        finally:
            self._doing = ""
            self._alone.release()

    def check_open(self, doing: str) -> None:
        """Raise StoreUnavailable when the store is closed: what `doing` tells of is given up."""
        if self._closed.is_set():
            raise StoreUnavailable(f"the store was closed while {doing}; nothing was changed")

    def close(self) -> None:
        """Stop the work in progress, of which nothing stays, and refuse others."""
        self._closed.set()
        with self._alone:
            pass
