"""One core for the background: for as long as anybody needs it, and not longer."""

from collections.abc import Iterator
from threading import Event, Thread

import pytest

from app.one_core import one_core
from blas_threads import blas_threads, let_blas_have


@pytest.fixture(autouse=True)
def _two_threads() -> Iterator[None]:
    """However many this machine has."""
    before = max(blas_threads(), default=1)
    let_blas_have(2)
    if blas_threads() != {2}:
        pytest.skip("no BLAS here has threads of its own")
    yield
    let_blas_have(before)


class Worker:
    """A thread that is inside until it is told to leave."""

    def __init__(self) -> None:
        self._inside, self._leave = Event(), Event()
        self._thread = Thread(target=self._work)
        self._thread.start()
        assert self._inside.wait(10)

    def leave(self) -> None:
        """And go on living."""
        self._leave.set()
        self._thread.join()

    def _work(self) -> None:
        with one_core():
            self._inside.set()
            assert self._leave.wait(10)


@pytest.mark.parametrize("first", [0, 1])
def test_two_threads_that_overlap_end_in_any_order(first: int) -> None:
    """The limit holds until the last has gone; then it is what it was."""
    workers = [Worker(), Worker()]
    assert blas_threads() == {1}
    workers[first].leave()
    assert blas_threads() == {1}
    workers[1 - first].leave()
    assert blas_threads() == {2}


def test_a_thread_that_lives_on_does_not_keep_the_limit() -> None:
    """As those of the service do: one sets it, the other is the last to leave."""
    with one_core():
        other = Worker()
    assert blas_threads() == {1}
    other.leave()
    assert blas_threads() == {2}
    with one_core():
        assert blas_threads() == {1}
    assert blas_threads() == {2}


def test_an_error_inside_gives_the_cores_back() -> None:
    """And is the caller's."""
    with pytest.raises(KeyError), one_core():
        raise KeyError
    assert blas_threads() == {2}
