"""What was learned from queries of known outcome, and the rule that a target recall asks for.

For each k and each selectivity of a filter a `Curve` says what recall a threshold of the stopping rate brought on
queries that the model was not fitted on. A target t is met by conformal risk control (Angelopoulos, Bates, Fisch,
Lei and Schuster 2022, "Conformal Risk Control", Theorem 1): of the nested thresholds the one with the least work is
taken for which n/(n+1) * mean loss + 1/(n+1) <= 1 - t, loss = 1 - recall. Then the expected recall of a new query is
at least t, provided that it is exchangeable with the n queries. With a confidence 1 - delta, the mean loss is bounded
with that probability instead, by the empirical Bernstein bound (Maurer and Pontil 2009, Theorem 4).
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from index.stopping import MissModel

VERSION = 2
KS = (1, 3, 10, 30, 100)
SHARES = (1.0, 0.1, 0.01, 0.001)  # of the documents that pass a filter
POINTS = "rates", "first", "recall", "spread", "rows"
ESTIMATES = "levels", "recall", "lower"
REACH = 10**0.25  # a k farther than this factor from the greatest of KS is not calibrated


@dataclass(frozen=True, eq=False)
class Estimator:
    """From the model's log missing share to a recall that was seen: (m,) centres, falling, with the mean recall
    there and the recall that nine of ten queries reached."""

    levels: np.ndarray
    recall: np.ndarray
    lower: np.ndarray

    def of(self, log_missing: float) -> tuple[float, float]:
        """(estimate, lower bound)."""
        estimate = float(np.interp(-log_missing, -self.levels, self.recall))
        place = int(np.abs(self.levels - log_missing).argmin())
        return estimate, min(float(self.lower[place]), estimate)


@dataclass(frozen=True, eq=False)
class Curve:
    """(m,) float64 log rates, falling, and the rows before the first look at any; what stopping there brought `queries`
    queries: mean recall, standard deviation of the loss, mean rows scored. The recall never falls along the curve.
    `stopped` and `plain` tell what an answer is worth: after such a stop, and with a shortlist of given length."""

    queries: int
    rates: np.ndarray
    first: np.ndarray
    recall: np.ndarray
    spread: np.ndarray
    rows: np.ndarray
    stopped: Estimator
    plain: Estimator

    def place(self, target: float, confidence: float | None = None) -> int | None:
        """Where the target is met with the least work; None when nowhere."""
        loss = 1.0 - self.recall
        if confidence is None:
            bound = (self.queries * loss + 1.0) / (self.queries + 1)
        else:
            bound = loss + bernstein(self.spread, self.queries, 1.0 - confidence)
        missed = np.flatnonzero(bound > 1.0 - target)  # a bound with confidence may rise again: all deeper ones hold
        place = int(missed[-1]) + 1 if len(missed) else 0
        return place if place < len(bound) else None


@dataclass(frozen=True, eq=False)
class Bucket:
    """All about one k: the models of a descent and of a shortlist in plain prefix order, and what they are worth."""

    k: int
    model: MissModel
    plain_model: MissModel
    curves: Mapping[float, Curve]  # by the share of documents that match


@dataclass(frozen=True, eq=False)
class Rule:
    """When one search stops: after `first` rows or more at a log rate of at most `rate`, or after `most` rows."""

    model: MissModel
    curve: Curve
    rate: float
    most: int
    depth: float
    calibration_id: str
    rows: float = 0.0  # scored on average in the calibration
    caution: float = 1.0
    first: int = 1
    corrects: bool = True

    def worth(self, log_missing: float, stopped: bool = True) -> tuple[float, float]:
        """Recall and lower bound of a search that ended where the model sees so much missing.

        One that was cut short, not `stopped`, is worth no more than the model says.
        """
        estimate, lower = self.curve.stopped.of(log_missing)
        if not stopped:
            estimate = min(estimate, 1.0 - math.exp(log_missing))
        return expected((estimate, min(lower, estimate)), self.caution)


@dataclass(frozen=True, eq=False)
class Calibration:
    """The buckets, and where they come from.

    `identity` is what it was made for (fingerprint, prefix, matrices, first stage): it means nothing elsewhere.
    `guaranteed` says that its queries are exchangeable with those to come; `rows` is the number of documents,
    `through` that of the rows ever written. `corrects` tells whether descents correct their order.
    Stored documents are easier queries than people's: where they stood in, a loss l that they had is taken for
    l^(1/caution), and targets are aimed at accordingly (measured: docs/recall.md).
    """

    calibration_id: str
    made: str
    source: str
    guaranteed: bool
    queries: int
    rows: int
    most: int
    depth: float
    identity: Mapping[str, Any]
    buckets: Sequence[Bucket]
    measured: Mapping[str, Any] = field(default_factory=dict)
    caution: float = 1.0
    through: int = 0
    corrects: bool = True

    def bucket(self, k: int) -> Bucket | None:
        """The bucket nearest to k; None when k is beyond all of them."""
        if not self.buckets or k > self.buckets[-1].k * REACH:
            return None
        return min(self.buckets, key=lambda bucket: abs(math.log(bucket.k / k)))

    def rule(self, k: int, target: float, matching: int, confidence: float | None = None) -> Rule | None:
        """The rule for a target recall@k among so many documents; None when the calibration knows none."""
        bucket = self.bucket(k)
        if bucket is None:
            return None
        curve = self.curve(bucket, matching)
        place = curve.place(1.0 - (1.0 - target) ** self.caution, confidence)
        if place is None:
            return None
        rate, first, rows = float(curve.rates[place]), int(curve.first[place]), float(curve.rows[place])
        return Rule(
            bucket.model, curve, rate, self.most, self.depth, self.calibration_id, rows, self.caution, first,
            self.corrects,
        )  # fmt: skip

    def worth(self, bucket: Bucket, matching: int, log_missing: float) -> tuple[float, float]:
        """Recall and lower bound of a shortlist of given length, of which the bucket's plain model says so much."""
        return expected(self.curve(bucket, matching).plain.of(log_missing), self.caution)

    def curve(self, bucket: Bucket, matching: int) -> Curve:
        """The curve of the selectivity nearest to so many documents."""
        share = max(matching, 1) / max(self.rows, 1)
        return bucket.curves[min(bucket.curves, key=lambda known: abs(math.log(known / share)))]

    def to_json(self) -> str:
        """The whole of it."""
        buckets = [_bucket_record(bucket) for bucket in self.buckets]
        named = {name: getattr(self, name) for name in PLAIN_FIELDS}
        return json.dumps({"version": VERSION, **named, "buckets": buckets})

    @classmethod
    def from_json(cls, text: str) -> "Calibration":
        """The reverse; ValueError, KeyError or TypeError when it is not one of this version."""
        record = json.loads(text)
        if record["version"] != VERSION:
            raise ValueError(f"version {record['version']}, this program reads {VERSION}")
        named = {name: record[name] for name in PLAIN_FIELDS}
        return cls(**named, buckets=tuple(_bucket(one) for one in record["buckets"]))


PLAIN_FIELDS = (
    "calibration_id", "made", "source", "guaranteed", "queries", "rows", "most", "depth", "identity", "measured",
    "caution", "through", "corrects",
)  # fmt: skip


def expected(seen: tuple[float, float], caution: float) -> tuple[float, float]:
    """What recalls that were seen in a calibration mean for the queries to come."""
    estimate, lower = (1.0 - (1.0 - recall) ** (1.0 / caution) for recall in seen)
    return estimate, lower


def bernstein(spread: np.ndarray, queries: int, delta: float) -> Any:
    """How far the mean of losses in [0, 1] may lie above what was seen, but for a probability delta."""
    if queries < 2:
        return np.inf
    term = math.log(2 / delta)
    return np.sqrt(2 * spread**2 * term / queries) + 7 * term / (3 * (queries - 1))


def _bucket_record(bucket: Bucket) -> dict[str, Any]:
    return {
        "k": bucket.k,
        "model": bucket.model.to_json(),
        "plain_model": bucket.plain_model.to_json(),
        "curves": [_curve_record(share, curve) for share, curve in bucket.curves.items()],
    }


def _curve_record(share: float, curve: Curve) -> dict[str, Any]:
    told = {name: _arrays(getattr(curve, name)) for name in ("stopped", "plain")}
    points = {name: _rounded(getattr(curve, name)) for name in POINTS}
    return {"share": share, "queries": curve.queries, **points, **told}


def _bucket(record: dict[str, Any]) -> Bucket:
    model, plain_model = (MissModel.from_json(record[name]) for name in ("model", "plain_model"))
    return Bucket(record["k"], model, plain_model, {one["share"]: _curve(one) for one in record["curves"]})


def _curve(record: dict[str, Any]) -> Curve:
    stopped, plain = (Estimator(*(np.array(record[name][part]) for part in ESTIMATES)) for name in ("stopped", "plain"))
    rates, first, recall, spread, rows = (np.array(record[name]) for name in POINTS)
    return Curve(record["queries"], rates, first, recall, spread, rows, stopped, plain)


def _arrays(told: Estimator) -> dict[str, Any]:
    return {name: _rounded(getattr(told, name)) for name in ESTIMATES}


def _rounded(numbers: np.ndarray) -> list[float]:
    return [round(float(number), 6) for number in numbers]
