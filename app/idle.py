"""Work in the background that gives way to searches."""

import time
from collections.abc import Callable

LOOK = 0.002  # seconds between two looks at what is busy


class Idle:
    """Lets background work go on while nobody searches. Called from the thread that does the work."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        """`busy` says whether a search runs or waits; it is asked from other threads."""
        self._busy = busy

    def wait(self, patience: float = 0.1) -> None:
        """Between two pieces of work of a few milliseconds: return at once when nobody searches, else when nobody
        does any more, or after `patience` seconds, so that under constant load the work still goes on, slowly."""
        until = time.monotonic() + patience
        while self._busy() and time.monotonic() < until:
            time.sleep(LOOK)
