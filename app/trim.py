"""Giving memory back to the system after a large request; the C library (glibc) would keep it for the next one."""

import ctypes
from threading import Thread

M_ARENA_MAX = -8
ARENAS = 2  # heaps; by default each of forty threads gets one, and what one has freed no other can use
LARGE = 4 << 20  # bytes of a body, or of an answer


def give_back(size: int) -> None:
    """After a request of so many bytes: have the C library return what is free, in a thread."""
    if size >= LARGE:
        Thread(target=_trim, name="trim", daemon=True).start()


def few_heaps() -> None:
    """Before there are threads: let them share their heaps."""
    _call("mallopt", M_ARENA_MAX, ARENAS)


def _trim() -> None:
    _call("malloc_trim", 0)


def _call(name: str, *arguments: int) -> None:
    """A function of the C library; nothing where it has none of that name."""
    function = getattr(ctypes.CDLL(None), name, None)
    if function is not None:
        function(*arguments)
