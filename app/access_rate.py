"""A limit on the rate of requests, by key or address: a token bucket each, in bounded memory."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from time import monotonic

REMEMBERED = 10_000  # callers; whoever was silent for longest is forgotten, and has a full bucket again


class RateLimit:
    """`rate` requests a second in the long run, `burst` at once."""

    def __init__(self, rate: float, burst: int, clock: Callable[[], float] = monotonic) -> None:
        self.rate, self._burst, self._clock = rate, burst, clock
        self._buckets: OrderedDict[Hashable, tuple[float, float]] = OrderedDict()  # tokens, when they were counted

    def take(self, caller: Hashable) -> float:
        """0 when the request may go on, else the seconds after which one may."""
        now = self._clock()
        tokens, then = self._buckets.get(caller, (float(self._burst), now))
        tokens = min(self._burst, tokens + (now - then) * self.rate)
        allowed = tokens >= 1
        self._buckets[caller] = (tokens - allowed, now)
        self._buckets.move_to_end(caller)
        if len(self._buckets) > REMEMBERED:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1 - tokens) / self.rate
