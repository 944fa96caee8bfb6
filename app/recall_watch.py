"""When the service calibrates by itself: once there is enough, again when there is reason, never without a pause."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Seen:
    """What a look at the store tells: documents, committed batches, and why a calibration should be made, if so."""

    count: int
    commits: int
    reason: str | None


PATIENCE = 600.0  # seconds that a reason waits for writing to stop: where it never does, none would ever be made
DAY = 86_400.0


class Watch:
    """Looks at the store now and then, from one thread; `wanted` and `declined` may be called from any.

    Where recall falls again and again although each calibration succeeds, calibrating does not help: the pause
    before the next one for that reason doubles every time, and is the first again after a day without.
    """

    def __init__(
        self, look: Callable[[], Seen], least: int, pause: float = 300.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`least` documents are needed for a calibration without being asked; `pause` in seconds between two."""
        self._look, self._least, self._pause, self._clock = look, least, pause, clock
        self._wanted: str | None = None
        self._declined = False
        self._commits = -1
        self._since: float | None = None  # there is a reason
        self._failures, self._not_before = 0, 0.0
        self._drops, self._dropped = 0, -math.inf  # calibrations in a row that a drop of recall was the reason of
        self._by_drop, self._no_drop_before = False, 0.0

    def due(self) -> str | None:
        """Why to calibrate now; None while there is no reason or too little, and for at most PATIENCE while writing
        goes on since the last look."""
        seen, now = self._look(), self._clock()
        quiet, self._commits = seen.commits == self._commits, seen.commits
        drop = self._wanted if now >= self._no_drop_before else None
        reason = None if self._declined or seen.count < self._least else drop or seen.reason
        if reason is None:
            self._since = None
            return None
        self._since = now if self._since is None else self._since
        self._by_drop = reason == drop
        return reason if now >= self._not_before and (quiet or now - self._since >= PATIENCE) else None

    def wanted(self, reason: str) -> None:
        """Ask for a calibration as soon as there may be one, since recall fell; in vain after `declined`."""
        now = self._clock()
        if self._declined:
            return
        if now - self._dropped > DAY:
            self._drops, self._no_drop_before = 0, 0.0
        self._wanted, self._dropped = reason, now

    def declined(self) -> None:
        """Somebody took the calibration away: none is made again until somebody asks."""
        self._wanted, self._declined = None, True

    def ended(self, calibrated: bool) -> None:
        """Pause, for longer after every failure, at most a day."""
        now = self._clock()
        if calibrated:
            if self._by_drop:
                self._drops, self._dropped = self._drops + 1, now
                self._no_drop_before = now + min(self._pause * 2**self._drops, DAY)
            self._wanted, self._declined = None, False
        self._by_drop, self._since = False, None
        self._failures = 0 if calibrated else self._failures + 1
        self._not_before = now + min(self._pause * 2**self._failures, DAY)
