"""Time that work in the background may take: it comes in at a steady rate and some of it can be saved up."""

import time
from collections.abc import Callable
from threading import Lock


class Budget:
    """`share` seconds come in with every second, at most `saved` are kept; may be used from any thread."""

    def __init__(self, share: float, saved: float, clock: Callable[[], float] = time.monotonic) -> None:
        """It begins with all that can be saved."""
        self._share, self._saved, self._clock = share, saved, clock
        self._left, self._at, self._lock = saved, clock(), Lock()

    @property
    def left(self) -> float:
        """Seconds that may be spent now; below zero until a debt is paid back."""
        with self._lock:
            return self._now()

    def spend(self, seconds: float) -> None:
        """Take seconds out; a piece of work that took more than was left makes a debt."""
        with self._lock:
            self._left = self._now() - seconds

    def _now(self) -> float:
        now = self._clock()
        self._left = min(self._saved, self._left + self._share * (now - self._at))
        self._at = now
        return self._left
