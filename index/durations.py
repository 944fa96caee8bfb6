"""How long something took: counted by length, by one thread, for any other to read."""

from bisect import bisect_left

BOUNDS = (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)  # seconds


class Durations:
    """A histogram that costs a microsecond to add to; half a note may be seen while it is taken."""

    def __init__(self) -> None:
        self._counts = [0] * (len(BOUNDS) + 1)
        self.seconds = 0.0  # all together

    def note(self, seconds: float) -> None:
        """Count one duration."""
        self._counts[bisect_left(BOUNDS, seconds)] += 1
        self.seconds += seconds

    def cumulated(self) -> list[tuple[float, int]]:
        """(seconds, how many took no longer), by rising seconds; the last are infinite and count all."""
        total, found = 0, []
        for bound, count in zip((*BOUNDS, float("inf")), list(self._counts), strict=True):
            total += count
            found.append((bound, total))
        return found
