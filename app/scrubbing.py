"""The scrub of a service: everything that is stored is looked at in idle time, from time to time."""

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event, Thread
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from app.budget import Budget
from app.busy import ShuttingDown
from app.idle import Idle
from index.errors import FunnelError, ViewGone
from index.scrub import Scrubbed
from index.store import Store

SHARE, SAVED = 0.02, 1.0  # of the time; seconds of work that a quiet time saves up
FIRST = 30.0  # seconds after the start
DAY = 86_400
NAMED = 10  # damaged rows that are told
log = logging.getLogger(__name__)


class Scrubbing:
    """One thread; a pass soon after the start, because damage happens while nobody looks, then one every `days`."""

    def __init__(
        self, store: Store, idle: Idle, days: float, registry: CollectorRegistry, first: float = FIRST
    ) -> None:
        """`days` 0 never looks; `first` are the seconds until the first pass."""
        self._store, self._idle, self._days, self._first = store, idle, days, first
        self._budget, self._stopped = Budget(SHARE, SAVED), Event()
        self._last: tuple[datetime, Scrubbed] | None = None
        self._damaged = Gauge("funnel_damaged_rows", "Rows that the last scrub found damaged.", registry=registry)
        self._when = Gauge(
            "funnel_last_scrub_time_seconds", "When the last scrub ended; 0 before the first.", registry=registry
        )
        self._thread = Thread(target=self._run, name="scrub", daemon=True)
        if days:
            self._thread.start()

    def describe(self) -> dict[str, Any] | None:
        """`scrub` of the statistics; None when there is none."""
        if not self._days:
            return None
        when, found = self._last or (None, None)
        return {
            "last_scrub": None if when is None else when.isoformat(timespec="seconds"),
            "documents": 0 if found is None else found.documents,
            "damaged_rows": 0 if found is None else len(found.damaged),
            "rows": [] if found is None else list(found.damaged[:NAMED]),
        }

    def close(self) -> None:
        """Give up a pass in progress, and end the thread."""
        self._stopped.set()
        if self._days:
            self._thread.join()

    def _run(self) -> None:
        wait = self._first
        while not self._stopped.wait(wait):
            wait = self._days * DAY
            try:
                self._pass()
            except ShuttingDown:
                return
            except ViewGone:
                wait = self._first  # a compaction read every row meanwhile
            except (FunnelError, OSError, MemoryError) as error:
                log.error("the scrub could not be finished: %s", error)
            except Exception:  # the thread lives on
                log.exception("the scrub could not be finished")

    def _pass(self) -> None:
        found = self._store.scrub(self._pause())
        self._last = datetime.now(UTC), found
        self._damaged.set(len(found.damaged))
        self._when.set_to_current_time()
        if found.damaged:
            log.error(
                "%d rows are damaged, among them %s: stop the service, and run `funnel repair`",
                len(found.damaged),
                ", ".join(map(str, found.damaged[:NAMED])),
            )

    def _pause(self) -> Callable[[], None]:
        """Pays for the work since the last pause, and waits for searches and for the budget."""
        since = time.perf_counter()

        def pause() -> None:
            nonlocal since
            self._budget.spend(time.perf_counter() - since)
            self._idle.wait()
            while self._budget.left <= 0 or self._stopped.is_set():
                if self._stopped.wait(0.05):
                    raise ShuttingDown
            since = time.perf_counter()

        return pause
