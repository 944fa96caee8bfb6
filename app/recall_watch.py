"""When the service calibrates by itself: once there is enough, again when there is reason, never without a pause."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Seen:
    """What a look at the store tells: documents, committed batches, and why a calibration should be made, if so."""

    count: int
    commits: int
    reason: str | None


class Watch:
    """Looks at the store now and then, from one thread; `wanted` and `declined` may be called from any."""

    def __init__(
        self, look: Callable[[], Seen], least: int, pause: float = 300.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`least` documents are needed for a calibration without being asked; `pause` in seconds between two."""
        self._look, self._least, self._pause, self._clock = look, least, pause, clock
        self._wanted: str | None = None
        self._declined = False
        self._commits = -1
        self._failures, self._not_before = 0, 0.0

    def due(self) -> str | None:
        """Why to calibrate now; None while there is no reason, too little, or writing goes on since the last look."""
        seen = self._look()
        quiet, self._commits = seen.commits == self._commits, seen.commits
        reason = self._wanted or (None if self._declined or seen.count < self._least else seen.reason)
        return reason if quiet and self._clock() >= self._not_before else None

    def wanted(self, reason: str) -> None:
        """Ask for a calibration as soon as there may be one."""
        self._wanted = reason

    def declined(self) -> None:
        """Somebody took the calibration away: none is made again until somebody asks."""
        self._wanted, self._declined = None, True

    def ended(self, calibrated: bool) -> None:
        """Pause, for longer after every failure, at most a day."""
        if calibrated:
            self._wanted, self._declined = None, False
        self._failures = 0 if calibrated else self._failures + 1
        self._not_before = self._clock() + min(self._pause * 2**self._failures, 86_400.0)
