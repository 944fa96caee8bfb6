"""What a run does: choose queries, look up exact answers, measure the curve, calibrate, check the targets."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from app.problems import Refused
from app.query_sources import QuerySources
from app.recall_job import Job
from app.recall_requests import FEWEST
from app.recall_results import SAID, plan_point, target_point
from index.calibrating import LEAST_QUERIES, Asked
from index.calibration import Calibration
from index.curve import Curve
from index.errors import InvalidInput
from index.measuring import Measuring
from index.plan import Plan

CHECKED, CHECKED_AT_MOST = 0.2, 400  # queries that a calibration does not see, so that they can tell what it is worth

Tell = Callable[[str, int, int], None]


class RecallWork:
    """Does runs over one store. What `tell` raises ends a run with nothing changed."""

    def __init__(self, measuring: Measuring, count: Callable[..., int], sources: QuerySources) -> None:
        self._measuring, self._count, self._sources = measuring, count, sources

    def check(self, job: Job) -> None:
        """Raise at once what a run would end with: InvalidPlan, InvalidFilter, InvalidVector, Refused."""
        self._plans(job)
        if not self._count(job.request.filter):
            of = f"of {self._count():,} documents match the filter" if job.request.filter else "documents are stored"
            raise Refused("validation", f"0 {of}, at least 1 is needed to measure recall")
        self._sources.check(job.request)

    def run(self, job: Job, tell: Tell) -> dict[str, Any]:
        """The result; a new calibration is put in force as the last step."""
        request, since = job.request, self._measuring.identity()
        asked = self._sources.choose(request, job.seed, partial(tell, "queries"))
        if len(asked.vectors) < FEWEST:
            raise InvalidInput(f"{len(asked.vectors)} queries from {asked.source}, at least {FEWEST} are needed")
        warnings = [SAID[asked.source]] if asked.source in SAID else []
        points = self._measured(asked, job, self._plans(job), None, tell, "exact", "curve")
        calibration: Calibration | None = None
        targets: list[dict[str, Any]] = []
        if request.calibrate:
            try:
                calibration, targets = self._in_force(asked, job, since, tell)
            except InvalidInput as error:
                warnings.append(f"not calibrated: {error}")
        return {
            "k": request.k,
            "queries": len(asked.vectors),
            "source": asked.source,
            "guaranteed": asked.guaranteed,
            "seed": job.seed,
            "documents": self._count(),
            "filter": request.filter,
            "curve": points,
            "targets": targets,
            "calibration": None if calibration is None else described(calibration),
            "warnings": warnings,
        }

    def _in_force(
        self, asked: Asked, job: Job, since: Mapping[str, Any], tell: Tell
    ) -> tuple[Calibration, list[dict[str, Any]]]:
        """A calibration that was put in force, and what its targets bring; InvalidInput when there can be none.

        `since` is the identity of the index when the queries were chosen: under another query map they are others.
        """
        changed = InvalidInput("the index was changed meanwhile")
        if self._measuring.identity() != since:
            raise changed
        calibration, targets = self._calibrated(asked, job, tell)
        tell("calibration", 1, 1)  # the last moment to give up
        if not self._measuring.put(calibration, since):
            raise changed
        return calibration, targets

    def _calibrated(self, asked: Asked, job: Job, tell: Tell) -> tuple[Calibration, list[dict[str, Any]]]:
        """A calibration, not yet in force, and what its targets bring queries that it was not made with."""
        number = len(asked.vectors)
        held = max(0, min(CHECKED_AT_MOST, int(CHECKED * number), number - LEAST_QUERIES))
        seen, unseen = asked.part(slice(held, None)), asked.part(slice(0, held))
        calibration = self._measuring.calibrated(seen, partial(tell, "calibration"), job.seed)
        plans = self._measuring.targets(job.request.k, calibration) if held else []
        return calibration, self._measured(unseen, job, plans, calibration, tell, "targets", "targets")

    def _measured(
        self, asked: Asked, job: Job, plans: list[Plan], calibration: Calibration | None, tell: Tell, *phases: str
    ) -> list[dict[str, Any]]:
        if not plans:
            return []
        curve: Curve = self._measuring.curve(asked, job.request.k, job.request.filter, calibration)
        curve.look_up(partial(tell, phases[0]))
        points = curve.points(plans, partial(tell, phases[1]))
        return [target_point(point) if point.plan.target else plan_point(point) for point in points]

    def _plans(self, job: Job) -> list[Plan]:
        stages = job.request.stages
        cascades = None if stages is None else [tuple((dims, keep) for dims, keep in one) for one in stages]
        return self._measuring.plans(job.request.k, job.request.shortlists, cascades)


def described(calibration: Calibration) -> dict[str, Any]:
    """What a calibration is, in short."""
    return {
        "id": calibration.calibration_id,
        "made": calibration.made,
        "source": calibration.source,
        "guaranteed": calibration.guaranteed,
        "queries": calibration.queries,
        "documents": calibration.rows,
    }
