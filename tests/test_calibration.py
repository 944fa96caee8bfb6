"""Curves, estimates and rules: formulas by hand, guarantees on simulated queries, and the way to a file and back."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from index.calibration import Bucket, Calibration, Curve, Estimator, bernstein, expected
from index.plan import Plan
from index.stopping import MissModel
from index.targeting import resolved

TOLD = Estimator(np.array([-1.0, -2.0, -4.0]), np.array([0.5, 0.8, 0.99]), np.array([0.3, 0.6, 0.9]))
RNG = np.random.default_rng(0)


def curve_of(recall: list[float], queries: int = 99, spread: float = 0.1, rows: list[float] | None = None) -> Curve:
    """A curve whose points lie at log rates -1, -2, ... and 10, 20, ... rows."""
    places = np.arange(1, len(recall) + 1)
    made = 10.0 * places if rows is None else np.array(rows)
    return Curve(queries, -1.0 * places, 5 * places, np.array(recall), np.full(len(recall), spread), made, TOLD, TOLD)


def model_of(bias: float = -1.0) -> MissModel:
    """Weights of no particular meaning."""
    return MissModel(RNG.standard_normal(14), RNG.uniform(1, 2, 14), RNG.standard_normal(14), bias)


def calibration_of(**changes: object) -> Calibration:
    """Two buckets, the second with curves for all documents and for a hundredth of them."""
    one, ten, hundredth = curve_of([0.9, 1.0]), curve_of([0.5, 0.9, 0.97]), curve_of([0.7, 0.95, 0.99])
    buckets = (
        Bucket(1, model_of(), model_of(), {1.0: one}),
        Bucket(10, model_of(), model_of(), {1.0: ten, 0.01: hundredth}),
    )
    given = {
        "calibration_id": "2026-01-01T00:00:00-0000abcd", "made": "2026-01-01T00:00:00+00:00", "source": "a file",
        "guaranteed": True, "queries": 99, "rows": 10_000, "most": 5_000, "depth": 2.0,
        "identity": {"fingerprint": "x", "rotation": None}, "buckets": buckets, "measured": {"seconds": 1.5},
    }  # fmt: skip
    return Calibration(**{**given, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("target", "place"),
    [
        (0.5, 0),  # (99 * 0.2 + 1) / 100 = 0.208
        (0.79, 0),
        (0.80, 1),  # 0.208 > 0.2; (99 * 0.1 + 1) / 100 = 0.109
        (0.891, 1),
        (0.90, 2),  # 0.109 > 0.1; (99 * 0.05 + 1) / 100 = 0.0595
        (0.95, 3),
        (0.99, 3),  # (0 + 1) / 100: ninety-nine queries can promise no more
        (0.995, None),
    ],
)
def test_conformal_risk_control_takes_the_least_work_that_meets_the_bound(target: float, place: int | None) -> None:
    """n/(n+1) * mean loss + 1/(n+1) <= 1 - target, worked out by hand for 99 queries."""
    assert curve_of([0.8, 0.9, 0.95, 1.0]).place(target) == place


def test_the_bound_on_the_mean_is_that_of_maurer_and_pontil() -> None:
    """sqrt(2 V ln(2/delta) / n) + 7 ln(2/delta) / (3 (n - 1)); nothing can be said of one query."""
    expected = math.sqrt(2 * 0.04 * math.log(40) / 400) + 7 * math.log(40) / (3 * 399)
    assert float(bernstein(np.array([0.2]), 400, 0.05)[0]) == pytest.approx(expected)
    assert bernstein(np.array([0.2]), 1, 0.05) == np.inf


@pytest.mark.parametrize("target", [0.5, 0.7, 0.8, 0.85])
def test_more_confidence_is_never_shallower(target: float) -> None:
    """Sure of it with 50, 90 or 99 % probability: deeper each time, or not at all."""
    curve = curve_of(np.linspace(0.4, 1.0, 40).tolist(), queries=500)
    places = [curve.place(target, confidence) for confidence in (None, 0.5, 0.9, 0.99)]
    depths = [math.inf if place is None else place for place in places]
    assert depths == sorted(depths)
    assert depths[0] < depths[-1]


def simulated(needed: np.ndarray, lengths: np.ndarray) -> Curve:
    """The curve of queries whose one result lies at these depths."""
    losses = needed[None] > lengths[:, None]  # (m, q)
    recall, spread = 1 - losses.mean(axis=1), losses.std(axis=1, ddof=1)
    return Curve(len(needed), -np.log(lengths), lengths, recall, spread, lengths, TOLD, TOLD)


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95])
def test_the_target_is_met_on_average_over_calibrations(target: float) -> None:
    """400 calibrations on 100 exchangeable queries each: mean recall of new ones at least the target, not far above."""
    rng, lengths = np.random.default_rng(1), np.geomspace(1, 10_000, 200)
    fresh = np.sort(rng.lognormal(3, 1.5, 100_000))
    achieved = []
    for _ in range(400):
        place = simulated(rng.lognormal(3, 1.5, 100), lengths).place(target)
        assert place is not None
        achieved.append(np.searchsorted(fresh, lengths[place], side="right") / len(fresh))
    assert target - 0.003 <= np.mean(achieved) <= target + 0.02
    assert np.mean(np.array(achieved) < target) > 0.2  # it is a promise about the mean alone


def test_with_confidence_the_target_is_missed_rarely() -> None:
    """No more than one calibration in ten has a mean recall below the target when 90 % confidence was asked for."""
    rng, lengths, target = np.random.default_rng(2), np.geomspace(1, 10_000, 200), 0.9
    fresh = np.sort(rng.lognormal(3, 1.5, 100_000))
    missed = 0
    for _ in range(300):
        place = simulated(rng.lognormal(3, 1.5, 400), lengths).place(target, 0.9)
        assert place is not None
        missed += np.searchsorted(fresh, lengths[place], side="right") / len(fresh) < target
    assert missed <= 30


def test_estimates_fall_as_more_is_missing() -> None:
    """Between the levels, beyond both ends, and never below their own lower bound."""
    told = [TOLD.of(level) for level in np.linspace(0, -6, 50)]
    estimates, lower = zip(*told, strict=True)
    assert list(estimates) == sorted(estimates)
    assert list(lower) == sorted(lower)
    assert all(low <= estimate for estimate, low in told)
    assert (told[0], told[-1]) == ((0.5, 0.3), (0.99, 0.9))
    assert TOLD.of(-3.0)[0] == pytest.approx((0.8 + 0.99) / 2)


def test_a_bucket_is_the_nearest_within_reach() -> None:
    """By ratio; far beyond the greatest there is none, and a search is exact."""
    made = calibration_of()
    ks = {k: bucket.k if (bucket := made.bucket(k)) else None for k in (1, 3, 4, 10, 17, 18, 500)}
    assert ks == {1: 1, 3: 1, 4: 10, 10: 10, 17: 10, 18: None, 500: None}
    assert calibration_of(buckets=()).bucket(1) is None


def test_a_rule_is_that_of_the_selectivity() -> None:
    """The curve nearest to the share of documents that match."""
    made = calibration_of()
    everything, few = made.rule(10, 0.85, 10_000), made.rule(10, 0.85, 100)
    assert everything is not None
    assert few is not None
    assert (everything.rate, few.rate) == (-2.0, -2.0)
    assert (everything.curve.recall[1], few.curve.recall[1]) == (0.9, 0.95)
    assert (everything.most, everything.depth, everything.calibration_id) == (5_000, 2.0, made.calibration_id)
    assert (everything.rows, few.rows) == (20.0, 20.0)
    assert made.rule(10, 0.999, 10_000) is None  # met nowhere
    assert made.rule(500, 0.5, 10_000) is None


def test_a_search_is_resolved_by_what_it_costs() -> None:
    """A rule; a scan where a third of what matches would be reranked; else the plan that was to be taken instead."""
    made, last = calibration_of(), (32, 10)
    default = Plan(((8, 200), last), 10, "default")
    exact = Plan((last,), 10, "calibration", exact=True, target=0.85)
    plan = Plan(((8, 5_000), last), 10, "calibration", target=0.85, explain=True, instead=default)
    assert resolved(plan, made, 60)[1] is not None  # 20 rows of 60 on average
    scanned, rule = resolved(plan, made, 59)
    assert (scanned.exact, scanned.stages, scanned.source, rule) == (True, (last,), "calibration", None)
    for hopeless in (replace(plan, target=0.9999), replace(plan, wanted=500)):
        chosen, rule = resolved(hopeless, made, 10_000)
        assert (chosen.source, chosen.shortlist, chosen.explain, rule) == ("default", 200, True, None)
        assert resolved(replace(hopeless, instead=exact), made, 10_000)[0].exact
    assert resolved(default, made, 10_000) == (default, None)
    assert resolved(plan, None, 10_000) == (plan, None)


def test_with_confidence_every_deeper_stop_has_to_hold() -> None:
    """A bound that holds by chance before one that does not is no way to the target."""
    curve = replace(curve_of([0.95, 0.96, 0.97], queries=1_000), spread=np.array([0.0, 0.5, 0.0]))
    assert curve.place(0.94, 0.95) == 2
    assert curve.place(0.94) == 0


def test_a_search_cut_short_is_worth_no_more_than_the_model_says() -> None:
    """The levels were learned from stops, of which none is so shallow."""
    rule = calibration_of().rule(10, 0.85, 10_000)
    assert rule is not None
    estimate, lower = rule.worth(np.log(0.9), stopped=False)
    assert estimate == pytest.approx(0.1)
    assert lower <= estimate
    assert rule.worth(np.log(0.9))[0] > 0.1


def test_a_lower_target_is_never_deeper() -> None:
    """Rates of the rules fall as the target rises."""
    made = calibration_of()
    rules = [made.rule(10, target, 10_000) for target in (0.3, 0.6, 0.85, 0.92)]
    rates = [rule.rate for rule in rules if rule is not None]
    assert len(rates) == 4
    assert rates == sorted(rates, reverse=True)


def test_json_keeps_everything() -> None:
    """The same rules and the same estimates after a round trip; a second one changes not a letter."""
    made = calibration_of()
    text = made.to_json()
    read = Calibration.from_json(text)
    assert read.to_json() == text
    signs = RNG.standard_normal((20, 10))
    for k, target, matching in ((1, 0.85, 10_000), (10, 0.6, 10_000), (10, 0.85, 90)):
        one, other = made.rule(k, target, matching), read.rule(k, target, matching)
        assert one is not None
        assert other is not None
        assert (one.rate, one.most, one.depth) == (other.rate, other.most, other.depth)
        assert one.model.log_rate(signs).tolist() == other.model.log_rate(signs).tolist()
        assert [one.curve.stopped.of(x) for x in (-1.5, -9)] == [other.curve.stopped.of(x) for x in (-1.5, -9)]
        assert [one.curve.plain.of(x) for x in (0, -3)] == [other.curve.plain.of(x) for x in (0, -3)]


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"version": 1}', '{"version": 99}', "null"])
def test_what_is_not_a_calibration_of_this_version_is_refused(damage: str) -> None:
    """By one of the three errors that its reader expects; another version by its number."""
    with pytest.raises((ValueError, KeyError, TypeError)):
        Calibration.from_json(damage)
    later = {**json.loads(calibration_of().to_json()), "version": 3}
    with pytest.raises(ValueError, match="version 3, this program reads 2"):
        Calibration.from_json(json.dumps(later))


def test_documents_that_stand_in_for_queries_are_taken_with_caution() -> None:
    """A loss that stored documents had is expected to be larger for people's queries; 1 and 0 stay what they are."""
    estimate, lower = expected((0.99, 0.9), 1.15)
    assert estimate == pytest.approx(1 - 0.01 ** (1 / 1.15))
    assert lower < 0.9
    assert expected((1.0, 0.0), 1.15) == (1.0, 0.0)
    assert expected((0.97, 0.9), 1.0) == pytest.approx((0.97, 0.9))
