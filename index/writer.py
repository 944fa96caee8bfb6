"""The one thread that changes the store: jobs that wait together share one commit.

A commit: SQLite BEGIN IMMEDIATE, documents; vectors and checksums written and fsynced; the next view made;
SQLite COMMIT (the commit point); the new view replaces the old one; the callers are answered. Whatever can fail
comes before the COMMIT, so that memory never lags behind the disk. After an I/O error nobody knows what the
disk holds, so the store refuses writes until it is opened again.
"""

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import Any

import numpy as np

from index import bits
from index.batch import Batch
from index.database import Documents
from index.durations import Durations
from index.errors import FunnelError, StoreBusy, StoreUnavailable
from index.jobs import Adopt, Alone, Exchange, Job, Swap
from index.vectors import VectorFile
from index.view import View

MAX_JOBS = 256  # in one commit
MAX_ROWS = 8_192  # no further job joins a commit that holds more


class Writer:
    """Owns the writing ends of documents and vectors; `view` is replaced by this thread alone."""

    def __init__(self, documents: Documents, vectors: VectorFile, view: View) -> None:
        self.view = view
        self.vectors = vectors  # of the generation that the documents have: the same while one of these is read
        self.committed: Callable[[], None] = lambda: None  # called after each new view; must not block
        self.repainted: deque[int] | None = None  # rows whose metadata changed in place, noted once committed
        self.syncs, self.commits = Durations(), Durations()  # of the vectors; of whole commits
        self._documents = documents
        self._jobs: queue.SimpleQueue[Job | Alone | None] = queue.SimpleQueue()
        self._broken: StoreUnavailable | None = None
        self._closed = False
        self._gate = threading.Lock()  # no job may follow the closing None
        self._thread = threading.Thread(target=self._run, name="funnel-writer", daemon=True)
        self._thread.start()

    @property
    def broken(self) -> StoreUnavailable | None:
        """Why the store refuses writes, or None."""
        return self._broken

    def submit(self, job: Job | Alone) -> Any:
        """Queue a job and wait for its commit."""
        with self._gate:
            if self._closed:
                raise StoreUnavailable("the store is closed")
            if self._broken:
                raise StoreUnavailable(f"the store is read-only until it is reopened: {self._broken}")
            self._jobs.put(job)
        return job.future.result()

    def close(self) -> None:
        """Finish the waiting jobs and stop."""
        with self._gate:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)
        self._thread.join()

    def _run(self) -> None:
        carried, ended = None, False
        while not ended:  # nothing here keeps a job that is done: it may hold a whole generation
            carried, ended = self._do(carried or self._jobs.get())

    def _do(self, first: Job | Alone | None) -> tuple[Alone | None, bool]:
        """What must follow the job, and whether the end was seen."""
        match first:
            case Adopt():
                self._adopt(first)
            case Swap():
                self._swap(first)
            case Exchange():
                self._exchange(first)
            case Job():
                jobs, carried, ended = self._gather(first)
                self._commit(jobs)
                return carried, ended
        return None, first is None

    def _gather(self, first: Job) -> tuple[list[Job], Alone | None, bool]:
        """Jobs that wait already: (jobs of one commit, what must follow them, whether the end was seen)."""
        jobs, size = [first], first.size
        while len(jobs) < MAX_JOBS and size < MAX_ROWS:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if not isinstance(job, Job):
                return jobs, job, job is None
            jobs.append(job)
            size += job.size
        return jobs, None, False

    def _commit(self, jobs: list[Job]) -> None:
        answers: list[tuple[Job, Any]] = []
        try:
            if self._broken:
                raise self._broken
            begun = perf_counter()
            view = self._transact(jobs, answers)
            self.commits.note(perf_counter() - begun)
        except Exception as error:  # all is rolled back, the callers get it, and this thread must live on
            self._note(error)
            self._refuse(jobs, error)
            return
        self.view = view
        self.committed()
        for job, answer in answers:
            _resolve(job, answer)

    def _refuse(self, jobs: list[Job], error: Exception) -> None:
        if len(jobs) == 1 or self._broken or isinstance(error, StoreBusy):
            for job in jobs:
                job.future.set_exception(error)
        else:  # the fault may be one job's alone
            for job in jobs:
                self._commit([job])

    def _transact(self, jobs: list[Job], answers: list[tuple[Job, Any]]) -> View:
        view = self.view
        with self._documents.transaction() as db:
            batch = Batch(db, first=view.rows)
            for job in jobs:
                answers.append((job, self._apply(job, batch)))
            if not batch.added and not batch.killed and not batch.repainted:
                return view
            raw = view.codec.encode(np.stack(batch.added)) if batch.added else None
            if raw is not None:
                self.syncs.note(self.vectors.write(view.rows, raw))
            db.execute("UPDATE state SET commits = commits + 1, rows = ?", (batch.next_row,))
            made = self._next_view(view, batch, raw)
        if (noted := self.repainted) is not None:  # a compaction that ends forgets it at any moment
            noted.extend(batch.repainted)
        return made

    def _apply(self, job: Job, batch: Batch) -> Any:
        mark = batch.mark()
        batch.db.execute("SAVEPOINT job")
        answer: Any
        try:
            answer = job.apply(batch)
        except FunnelError as error:
            batch.db.execute("ROLLBACK TO job")
            batch.rewind(mark)
            answer = error
        batch.db.execute("RELEASE job")  # not after other errors: a full disk ends the transaction by itself
        return answer

    def _next_view(self, view: View, batch: Batch, raw: np.ndarray | None) -> View:
        rows = batch.next_row
        shortlist = view.shortlist
        if raw is not None:
            full = view.codec.decode(raw)
            shortlist = shortlist.appended(view.prefixes(full))
        return replace(
            view,
            commits=view.commits + 1,
            rows=rows,
            count=view.count + len(batch.added) - len(batch.killed),
            epoch=view.epoch + bool(batch.repainted),
            live=bits.changed(view.live, view.rows, rows, batch.killed),
            matrix=self.vectors.matrix(rows),
            checksums=self.vectors.checksums(rows),
            shortlist=shortlist,
        )

    def _adopt(self, adopt: Adopt) -> None:
        base, view = adopt.base, self.view
        current = base.rotation is view.rotation and base.shortlist.older is view.shortlist.older
        current = current and base.generation == view.generation
        try:
            if current:
                self.view = replace(view, shortlist=view.shortlist.with_older(adopt.older))
        except MemoryError as error:
            adopt.future.set_exception(error)
        else:
            adopt.future.set_result(current)

    def _swap(self, swap: Swap) -> None:
        try:
            if self._broken:
                raise self._broken
            with self._documents.transaction() as db:
                view = swap.make(db, self.view)
        except Exception as error:  # rolled back, as in _commit
            self._note(error)
            swap.future.set_exception(error)
            return
        self.view = view
        self.committed()
        swap.future.set_result(view)

    def _exchange(self, exchange: Exchange) -> None:
        try:
            if self._broken:
                raise self._broken
            with self._documents.alone(exchange.patience):
                with self._documents.transaction() as db:
                    made = exchange.make(db, self.view)
                try:
                    self._documents.replace(made.documents)
                finally:
                    if self._documents.generation == made.view.generation:
                        self.view, self.vectors = made.view, made.vectors
        except Exception as error:
            self._note(error)
            exchange.future.set_exception(error)
            return
        self.committed()
        exchange.future.set_result(made.view)

    def _note(self, error: Exception) -> None:
        """After an I/O error the store refuses writes."""
        if isinstance(error, StoreUnavailable) and not isinstance(error, StoreBusy):
            self._broken = self._broken or error


def _resolve(job: Job, answer: Any) -> None:
    if isinstance(answer, FunnelError):
        job.future.set_exception(answer)
    else:
        job.future.set_result(answer)
