"""A sample of the live query vectors, from which `funnel recall` and calibrations may take theirs. Never a text."""

from threading import Lock

import numpy as np

from index.matryoshka import normalise

SPREAD = 4  # of so many queries one enters a full reservoir
AT_ONCE = 1_000  # vectors that are copied while others wait: a millisecond or so


class Reservoir:
    """At most `size` unit vectors of recent queries; may be used from any thread. Size 0 keeps nothing.

    The first `size` enter; after that one in SPREAD enters, at the place of a random one (biased reservoir sampling,
    Aggarwal 2006, "On Biased Reservoir Sampling in the Presence of Stream Evolution", Algorithm 3.1). The chance that
    a query is still there falls as exp(-age / (SPREAD * size)): queries change with time, so that a uniform sample of
    all times would describe the past; and the newest `size` alone could be one client's batch.
    """

    def __init__(self, size: int, seed: int = 0) -> None:
        self._size, self._count, self._lock = size, 0, Lock()
        self._rng = np.random.default_rng(seed)
        self._kept = np.empty((0, 0), dtype=np.float32)

    def __len__(self) -> int:
        return self._count

    def add(self, vectors: np.ndarray) -> None:
        """Offer (n, dim) query vectors, which need not be unit vectors; a copy is kept."""
        if not self._size or not len(vectors):
            return
        units = normalise(np.asarray(vectors, dtype=np.float32))
        with self._lock:
            if not len(self._kept):
                self._kept = np.empty((self._size, units.shape[1]), dtype=np.float32)
            for unit in units:
                self._offer(unit)

    def vectors(self, size: int | None = None) -> np.ndarray:
        """(n, dim) float32 unit vectors in random order, at most `size` of them, a copy; (0, 0) before the first.

        They are drawn first and copied AT_ONCE at a time: `add` needs the same lock, and the event loop waits for it.
        """
        with self._lock:
            kept, count = self._kept, self._count  # a place that was taken once always holds a query
        drawn = self._rng.permutation(count)[:size]
        found = np.empty((len(drawn), kept.shape[1]), dtype=np.float32)
        for start in range(0, len(drawn), AT_ONCE):
            places = drawn[start : start + AT_ONCE]
            with self._lock:
                found[start : start + len(places)] = kept[places]
        return found

    def _offer(self, unit: np.ndarray) -> None:
        if self._count < self._size:
            self._kept[self._count] = unit
            self._count += 1
        elif self._rng.integers(SPREAD) == 0:
            self._kept[self._rng.integers(self._size)] = unit
