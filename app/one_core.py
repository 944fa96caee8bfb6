"""Work in the background multiplies matrices on one core: blocks on all of them made searches wait three times as
long."""

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Lock, Thread

from threadpoolctl import threadpool_limits

_lock = Lock()
_inside = 0
_keeper: "Keeper | None" = None


@contextmanager
def one_core() -> Iterator[None]:
    """BLAS computes with one thread while anybody is inside; each of several threads may come and go as it likes.

    The limit of a BLAS with threads of its own belongs to the process: of two that overlap, the first to come sets it
    and the last to go restores what was before. One that computes with OpenMP has a limit for each thread instead,
    which `faiss.omp_set_num_threads` of that thread sets.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


class Keeper:
    """Holds the limit in a thread of its own: threadpoolctl lets no other thread restore what one has set."""

    def __init__(self) -> None:
        """Returns when the limit is set."""
        self._set, self._done = Event(), Event()
        self._thread = Thread(target=self._keep, name="one core", daemon=True)
        self._thread.start()
        self._set.wait()

    def end(self) -> None:
        """Returns when the limit is what it was."""
        self._done.set()
        self._thread.join()

    def _keep(self) -> None:
        try:
            with threadpool_limits(1, "blas"):
                self._set.set()
                self._done.wait()
        finally:
            self._set.set()


def _enter() -> None:
    global _inside, _keeper
    with _lock:
        if not _inside:
            _keeper = Keeper()
        _inside += 1


def _leave() -> None:
    global _inside, _keeper
    with _lock:
        _inside -= 1
        if not _inside and _keeper is not None:
            _keeper.end()
            _keeper = None
