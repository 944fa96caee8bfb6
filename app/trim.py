"""Giving memory back to the system after a large request; the C library would keep it for the next one."""

import ctypes
from threading import Thread

LARGE = 8 << 20  # bytes of a body


def give_back(size: int) -> None:
    """After a body of so many bytes: have the C library return what is free, in a thread; nothing where it cannot."""
    if size >= LARGE:
        Thread(target=_trim, name="trim", daemon=True).start()


def _trim() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)
