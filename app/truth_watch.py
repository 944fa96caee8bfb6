"""Watches the recall of live answers: what it was, and a warning when it is less than was promised."""

import logging
from collections.abc import Callable
from threading import Lock
from typing import Any

from app.truth_metrics import TruthMetrics
from app.truth_window import WINDOW, Observed, Window
from index.query import Answer

log = logging.getLogger(__name__)


class TruthWatch:
    """Takes compared answers one by one; may be used from any thread.

    Another calibration is another promise: the window is emptied then, and the warning lifted.
    """

    def __init__(
        self, calibration_id: Callable[[], str | None], metrics: TruthMetrics, wanted: Callable[[str], None]
    ) -> None:
        """`calibration_id` tells the one in force; `wanted` hears why another is needed, and returns at once."""
        self._calibration_id, self._metrics, self._wanted = calibration_id, metrics, wanted
        self._window, self._of, self._lock = Window(), calibration_id(), Lock()
        self._compared, self._ask_at = 0, 0
        self._warning: str | None = None

    def add(self, recall: float, answer: Answer) -> None:
        """Recall@k of an answer that was found under the calibration in force."""
        if answer.certified and recall < 1:
            self._metrics.false_certificates.inc()
            log.error("an answer was certified to be exact, its recall is %.3f: this is a defect, report it", recall)
        with self._lock:
            self._renew()
            self._compared += 1
            self._metrics.queries.inc()
            self._window.add(Observed(recall, answer.recall_estimate, answer.recall_lower, answer.target_recall))
            self._warning = self._window.shortfall()
            self._metrics.show(self._window.means(), self._warning is not None)
            asks = self._warning if self._compared >= self._ask_at else None
            if asks:
                self._ask_at = self._compared + WINDOW  # again when all of the window is new
        if asks:
            log.warning("%s: a recalibration is due", asks)
            self._wanted(asks)

    def describe(self) -> dict[str, Any]:
        """The window's measures, the number compared since the start, and the warning or None."""
        with self._lock:
            self._renew()
            return {**self._window.describe(), "compared": self._compared, "warning": self._warning}

    def _renew(self) -> None:
        now = self._calibration_id()
        if now != self._of:
            self._of, self._warning, self._ask_at = now, None, 0
            self._window.clear()
            self._metrics.show(self._window.means(), False)
