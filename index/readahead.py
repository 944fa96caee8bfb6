"""Files that the start of a service will need, asked of the disk before anybody waits for them."""

import os
import threading
from pathlib import Path

from index.layout import Layout


def read_ahead(path: Path) -> None:
    """Have the kernel read the newest graph of a directory; returns at once, and says nothing when there is none."""
    found = sorted(Layout(path).collection.glob("shortlist-*.faiss"), key=_changed)
    if found and hasattr(os, "posix_fadvise"):
        threading.Thread(target=_ask_for, args=found[-1:], name="read ahead", daemon=True).start()


def _ask_for(path: Path) -> None:
    try:
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)
    except OSError:
        return  # whoever reads it says what is wrong


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
