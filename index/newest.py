"""Reading with the rows of a view from documents as they are now: again on the newest view when they disagree.

A document that was written again meanwhile has left its row; after a compaction, rows mean other documents.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from index.errors import ViewGone
from index.view import View

T = TypeVar("T")
MOMENT = 0.001  # seconds: a view is published this soon after its commit
PATIENCE = 0.25  # seconds; a store that lost track of its disk has no newer view


def on_newest(newest: Callable[[], View], work: Callable[[View, bool], T]) -> T:
    """What `work(view, strict)` makes of the newest view, begun again while it raises ViewGone.

    With `strict` it has to raise that when anything was committed since the view. The last time it is not strict:
    documents that are written at that moment may be left out.
    """
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            return work(newest(), True)
        except ViewGone:
            time.sleep(MOMENT)
    while True:
        view = newest()
        try:
            return work(view, False)
        except ViewGone:  # a compaction has ended at this very moment, or the store has no newer view any more
            if newest().generation == view.generation:
                raise
