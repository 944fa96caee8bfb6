"""Recall is measured, and calibrated, in one background thread: one run at a time, giving way to searches."""

import asyncio
import logging
from threading import Condition, Thread
from typing import Any

from app.busy import Busy, RecallBusy, ShuttingDown
from app.encoder import Encoder
from app.idle import Idle
from app.one_core import one_core
from app.pools import Pool
from app.problems import Refused
from app.query_sources import QuerySources
from app.recall_job import Cancelled, Job
from app.recall_requests import RecallRequest
from app.recall_watch import Seen, Watch
from app.recall_work import RecallWork
from app.reservoir import Reservoir
from app.settings import Settings
from index.errors import FunnelError
from index.store import Store

LOOK = 5.0  # seconds between two looks at whether a calibration is due
PATIENCE = 10.0  # seconds that a cancellation waits for the run to end
TOLD = (FunnelError, Refused, Busy)
CALIBRATE_ALONE: dict[str, Any] = {"shortlists": [], "stages": []}
NONE = {"id": None, "state": "none", "phase": "none", "seconds": 0.0}
log = logging.getLogger(__name__)


class Recalls:
    """Runs that somebody asked for, and those that `watch` finds due. Every method may be called from any thread."""

    def __init__(self, work: RecallWork, idle: Idle, watch: Watch | None, look: float) -> None:
        """`watch` is asked every `look` seconds; None: nothing happens unless somebody asks."""
        self._work, self._idle, self._watch = work, idle, watch
        self._look = look if watch else None
        self._changed = Condition()
        self._job: Job | None = None  # that runs, or ran last
        self._next: Job | None = None
        self._closed = False
        self._thread = Thread(target=self._live, name="recall", daemon=True)
        self._thread.start()

    def start(self, request: RecallRequest) -> dict[str, Any]:
        """Begin a run; one that the service began by itself makes room for it.

        Raises RecallBusy, ShuttingDown, and what `RecallWork.check` raises.
        """
        job = Job(request)
        self._work.check(job)
        with self._changed:
            if self._closed:
                raise ShuttingDown("the service shuts down")
            self._make_room()
            self._next = job
            self._changed.notify()
        return job.body()

    def status(self) -> dict[str, Any]:
        """The run that waits, runs or ran last."""
        job = self._next or self._job
        return Job(RecallRequest.model_validate({})).body() | NONE if job is None else job.body()

    def cancel(self) -> bool:
        """Give up what waits or runs, and wait PATIENCE seconds for its end; whether nothing runs any more."""
        with self._changed:
            jobs = [job for job in (self._next, self._job) if job is not None and not job.ended.is_set()]
            for job in jobs:
                job.cancelled.set()
        return all(job.ended.wait(PATIENCE) for job in jobs)

    def wanted(self, reason: str) -> None:
        """Ask for a calibration soon; nothing happens when the service makes none by itself."""
        if self._watch:
            self._watch.wanted(reason)

    def decline(self) -> None:
        """Give up what runs, and make no calibration by itself until somebody asks for one again.

        Raises RecallBusy when a run does not end soon: it may be putting its calibration in force.
        """
        self._declined()
        if not self.cancel():
            raise RecallBusy(f"a run was cancelled and has not ended within {PATIENCE:g} seconds; try again")
        self._declined()  # a run that was just done had lifted it

    def _declined(self) -> None:
        if self._watch:
            self._watch.declined()

    def close(self) -> None:
        """Give up what runs and end the thread."""
        with self._changed:
            self._closed = True
            for job in filter(None, (self._next, self._job)):
                job.cancelled.set()
            self._changed.notify()
        self._thread.join()

    def _make_room(self) -> None:
        for job in (self._next, self._job):
            if job is None or job.ended.is_set():
                continue
            if job.reason is None:
                raise RecallBusy(f"run {job.id} is in its phase {job.phase!r}; cancel it with DELETE /recall, or wait")
            job.cancelled.set()

    def _live(self) -> None:
        while not self._closed:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._next is not None, self._look)
                self._job = self._next or self._due() or self._job
                self._next = None
            if self._job is not None and not self._job.ended.is_set():
                self._do(self._job)

    def _due(self) -> Job | None:
        try:
            reason = self._watch.due() if self._watch and not self._closed else None
        except Exception:  # the thread lives on, and looks again
            log.exception("whether a calibration is due could not be found out")
            return None
        return None if reason is None else Job(RecallRequest.model_validate(CALIBRATE_ALONE), reason)

    def _do(self, job: Job) -> None:
        """Run it to whatever end; the thread lives on."""

        state, result, error = self._outcome(job)
        self._told(job, state, result, error)  # before its end, which others wait for
        job.end(state, result, error)

    def _outcome(self, job: Job) -> tuple[str, dict[str, Any] | None, str | None]:
        """State, result and error."""

        def tell(phase: str, done: int, total: int) -> None:
            job.at(phase, done, total)
            self._idle.wait()

        try:
            tell("queries", 0, 0)
            with one_core():
                return "done", self._work.run(job, tell), None
        except (Cancelled, ShuttingDown):
            return "cancelled", None, None
        except TOLD as error:
            return "failed", None, str(error)
        except Exception:  # whatever it is, whoever asks for the state gets to know
            log.exception("measuring recall failed")
            return "failed", None, "something went wrong here; the log has more"

    def _told(self, job: Job, state: str, result: dict[str, Any] | None, error: str | None) -> None:
        """Say how a run came out that nobody asked for, and when the next one may be."""
        made = (result or {}).get("calibration")
        if self._watch and (made or job.reason is not None):
            self._watch.ended(bool(made))
        if job.reason is None or state == "cancelled":
            return
        if made:
            log.info("calibrated on %d queries (%s) because %s", made["queries"], made["source"], job.reason)
        else:
            why = error or "; ".join((result or {}).get("warnings", []))
            log.warning("no calibration was made, although %s: %s", job.reason, why)


def open_recalls(settings: Settings, store: Store, encoder: Encoder | None, searches: Pool, live: Reservoir) -> Recalls:
    """The runs of a service, on whose event loop this is called; `live` has recent query vectors."""

    def busy() -> bool:
        return searches.busy or (encoder is not None and encoder.depths["query"] > 0)

    def look() -> Seen:
        view = store.view
        return Seen(view.count, view.commits, store.measuring.asked_for())

    sources = QuerySources(store, encoder, asyncio.get_running_loop(), live)
    watch = Watch(look, settings.calibrate_from) if settings.auto_calibrate else None
    return Recalls(RecallWork(store.measuring, store.count, sources), Idle(busy), watch, LOOK)
