"""Bounds on work: what a full queue or a stalled body raises, and slots for requests that take long."""

from collections.abc import Iterator
from contextlib import contextmanager


class Busy(Exception):
    """A bounded queue is full; try again after `retry_after` seconds."""

    def __init__(self, what: str, limit: int, retry_after: int = 1) -> None:
        super().__init__(f"{limit} {what} are waiting already, which is the limit")
        self.retry_after = retry_after


class BodiesFull(Busy):
    """The bodies of all requests together would take more memory than they may."""

    def __init__(self, held: int, size: int, limit: int) -> None:
        super().__init__("bytes of bodies", limit)
        self.args = (f"{held} bytes of bodies are in memory, {size} more would be beyond the limit of {limit}",)


class ShuttingDown(Exception):
    """The service stops; what still waits is not computed any more."""


class RecallBusy(Exception):
    """A run of the recall measurement that somebody asked for is not done yet; there is one at a time."""


class Stalled(Exception):
    """A body has begun and does not go on."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"nothing more of the body came for {seconds:g} seconds")


class Slots:
    """At most `limit` requests inside at once. Used on one event loop."""

    def __init__(self, what: str, limit: int) -> None:
        self._what, self._limit = what, limit
        self.taken = 0

    @contextmanager
    def one(self) -> Iterator[None]:
        """Hold a slot; Busy when there is none."""
        if self.taken >= self._limit:
            raise Busy(self._what, self._limit, retry_after=2)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1
