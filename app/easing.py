"""Under load, searches by a target step down to a cheaper recall, if the operator allows it; the answer says so."""

from dataclasses import dataclass, replace
from typing import Any

from index.query import Answer, Query

DEEP = (2, 4, 8)  # waiting searches for each thread at which the next step is taken
BACK = 0.5  # of that number, below which it is taken back: between the two nothing changes


@dataclass(frozen=True)
class Eased:
    """A search that asks for less than it was meant to."""

    query: Query
    meant: float  # the target recall without load

    def marked(self, answer: Answer) -> Answer:
        """The answer with what it lost; one that is proved to be exact has lost nothing."""
        if answer.certified:
            return replace(answer, target_recall=self.meant)
        said = {"reason": "load", "target_recall": self.meant, "eased_to": self.query.target_recall}
        return replace(answer, degraded={**said, **(answer.degraded or {})})


class Easing:
    """Steps between a target and the floor, by how many searches wait. Used on one event loop."""

    def __init__(self, floor: float | None, threads: int, default: float | None) -> None:
        """`floor` None eases nothing; `default` is the target of searches that name none, None for none."""
        self._floor, self._threads, self._default, self._step = floor, threads, default, 0

    def step(self, waiting: int) -> int:
        """0 without load to 3 at the floor, now that so many searches wait."""
        while self._step < len(DEEP) and waiting >= DEEP[self._step] * self._threads:
            self._step += 1
        while self._step and waiting < BACK * DEEP[self._step - 1] * self._threads:
            self._step -= 1
        return self._step

    def of(self, query: Query, waiting: int) -> Eased | None:
        """The search at the present step; None when it stays as it is: by a shortlist, by stages, exact, with a
        confidence, or with a target at or below the floor."""
        if self._floor is None or not self.step(waiting):
            return None
        meant = self._target(query)
        if meant is None or not self._floor < meant < 1:
            return None
        return Eased(replace(query, target_recall=eased(meant, self._floor, self._step)), meant)

    def describe(self, waiting: int) -> dict[str, Any] | None:
        """`easing` of the statistics; None when it is off."""
        return None if self._floor is None else {"floor": self._floor, "step": self.step(waiting), "steps": len(DEEP)}

    def _target(self, query: Query) -> float | None:
        given = query.shortlist, query.oversampling, query.stages, query.confidence
        if query.exact or not query.rescore or any(value is not None for value in given):
            return None
        return self._default if query.target_recall is None else query.target_recall


def eased(target: float, floor: float, step: int) -> float:
    """A target that many steps towards the floor: each multiplies what is missed by the same factor, since the work
    of a search grows about as the logarithm of what it misses falls. To three digits, unless that would be no less
    than the target, such as 1; between floor and target always."""
    share = step / len(DEEP)
    between = 1 - (1 - target) ** (1 - share) * (1 - floor) ** share
    short = round(between, 3)
    return max(floor, min(target, short if short < target else between))
