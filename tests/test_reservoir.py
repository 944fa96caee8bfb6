"""The reservoir of live query vectors."""

from threading import Lock, Thread

import numpy as np
import pytest

from app.reservoir import SPREAD, Reservoir


def numbered(first: int, stop: int) -> np.ndarray:
    """(stop - first, 2) float32 unit vectors whose angle tells their number, up to 1,000,000."""
    angles = np.arange(first, stop) / 1e6
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def numbers(vectors: np.ndarray) -> np.ndarray:
    """The numbers again."""
    return np.rint(np.arctan2(vectors[:, 1], vectors[:, 0]) * 1e6).astype(int)


def test_all_are_kept_until_it_is_full() -> None:
    """In random order, each once."""
    reservoir = Reservoir(100)
    reservoir.add(numbered(0, 60))
    found = numbers(reservoir.vectors())
    assert sorted(found) == list(range(60))
    assert list(found) != list(range(60))
    assert len(reservoir) == 60


def test_it_never_holds_more_than_its_size_and_prefers_recent_queries() -> None:
    """Of a long stream the ages fall off exponentially, with the mean that the docstring gives."""
    reservoir, size, stream = Reservoir(2_000, seed=1), 2_000, 60_000
    for start in range(0, stream, 1_000):
        reservoir.add(numbered(start, start + 1_000))
    ages = stream - numbers(reservoir.vectors())
    assert len(ages) == size
    assert abs(ages.mean() / (SPREAD * size) - 1) < 0.1
    assert abs(np.mean(ages < SPREAD * size * np.log(2)) - 0.5) < 0.05  # the median of an exponential


def test_some_of_them_are_drawn_at_random() -> None:
    """As many as are asked for, different ones every time; all of them when there are fewer."""
    reservoir = Reservoir(3_000)
    reservoir.add(numbered(0, 2_500))
    draws = [numbers(reservoir.vectors(1_200)) for _ in range(2)]
    for drawn in draws:
        assert len(set(drawn)) == 1_200
        assert abs(drawn.mean() - 1_250) < 4 * 722 / np.sqrt(1_200)
    assert set(draws[0]) != set(draws[1])
    assert sorted(numbers(reservoir.vectors(9_999))) == list(range(2_500))
    assert reservoir.vectors(0).shape == (0, 2)


def test_reading_keeps_adding_waiting_for_a_part_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Others may have the lock between any two of them."""
    monkeypatch.setattr("app.reservoir.AT_ONCE", 10)

    class Counting:
        def __init__(self) -> None:
            self.taken, self._lock = 0, Lock()

        def __enter__(self) -> None:
            self._lock.acquire()
            self.taken += 1

        def __exit__(self, *_: object) -> None:
            self._lock.release()

    reservoir, lock = Reservoir(100), Counting()
    reservoir.add(numbered(0, 95))
    reservoir._lock = lock  # type: ignore[assignment]
    assert sorted(numbers(reservoir.vectors())) == list(range(95))
    assert lock.taken == 1 + 10


def test_it_keeps_unit_vectors_and_copies() -> None:
    """Vectors of any length come in; what the caller does to his array, or to ours, changes nothing."""
    given = np.array([[3.0, 4.0]], dtype=np.float32)
    reservoir = Reservoir(5)
    reservoir.add(given)
    given[:] = 0
    reservoir.vectors()[:] = 0
    assert np.allclose(reservoir.vectors(), [[0.6, 0.8]])


def test_one_of_size_0_keeps_nothing() -> None:
    """Which is the default of the service."""
    reservoir = Reservoir(0)
    reservoir.add(numbered(0, 10))
    assert len(reservoir.vectors()) == len(reservoir) == 0


def test_no_queries_add_nothing() -> None:
    """And before the first query there are none."""
    reservoir = Reservoir(3)
    reservoir.add(np.empty((0, 2), dtype=np.float32))
    assert len(reservoir.vectors()) == 0


def test_threads_may_add_and_read_at_the_same_time() -> None:
    """Nothing is lost or torn: every vector found is one that was added."""
    reservoir = Reservoir(4_001)
    threads = [Thread(target=reservoir.add, args=(numbered(i * 1_000, (i + 1) * 1_000),)) for i in range(4)]
    reservoir.add(numbered(3_999, 4_000))
    for thread in threads:
        thread.start()
        assert set(numbers(reservoir.vectors())) <= set(range(4_000))
    for thread in threads:
        thread.join()
    assert sorted(numbers(reservoir.vectors())) == sorted([*range(4_000), 3_999])
