"""Reading with the rows of a view: again on the newest one when a compaction renumbered them meanwhile."""

from collections.abc import Callable
from typing import TypeVar

from index.errors import ViewGone
from index.view import View

T = TypeVar("T")


def on_newest(newest: Callable[[], View], work: Callable[[View], T]) -> T:
    """What `work` makes of the newest view; ViewGone only when it is still the newest one."""
    while True:
        view = newest()
        try:
            return work(view)
        except ViewGone:
            if newest().generation == view.generation:
                raise
