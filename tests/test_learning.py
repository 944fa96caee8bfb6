"""From traces to curves and estimates, on traces whose law is known."""

from dataclasses import replace

import numpy as np
import pytest

from index.calibration import Bucket, Curve
from index.descent import SIGNS, lengths
from index.learning import learn
from index.tracing import Trace

K = 10
RNG = np.random.default_rng(0)
MARGIN, ROWS = SIGNS.index("margin"), SIGNS.index("log_rows")


def known(rng: np.random.Generator, hardness: float) -> Trace:
    """Ten results, found one after the other at exponential depths; the margin tells how many, with noise."""
    rows = np.array(list(lengths(2_000)))
    depths = rng.exponential(hardness, size=K)
    missing = np.where(rows >= K, (depths[:, None] > rows).mean(axis=0), 1.0)
    expected = np.exp(-rows / hardness)
    signs = rng.standard_normal((len(rows), len(SIGNS))) * 0.1
    signs[:, MARGIN] = -np.log(expected + 1e-3) + 0.1 * rng.standard_normal(len(rows))
    signs[:, ROWS] = np.log(rows)
    return Trace(rows, signs[None], missing[None])


def traces(number: int, seed: int = 0) -> list[Trace]:
    """Queries of very different hardness, in random order."""
    rng = np.random.default_rng(seed)
    return [known(rng, float(hardness)) for hardness in rng.lognormal(3.5, 1.0, size=number)]


@pytest.fixture(scope="module")
def bucket() -> Bucket:
    """Learned from 600 queries."""
    made = learn({1.0: traces(600), 0.1: traces(300, 1)}, {1.0: traces(600), 0.1: traces(300, 1)}, (K,))
    assert [one.k for one in made] == [K]
    assert set(made[0].curves) == {1.0, 0.1}
    return made[0]


def stopped(bucket: Bucket, curve: Curve, place: int, fresh: list[Trace]) -> tuple[np.ndarray, ...]:
    """Recall, rows, estimate, lower bound and looks of each query at a point of the curve."""
    found = []
    for one in fresh:
        long = one.rows >= K
        signs, missing, rows = one.signs[0, long], one.missing[0, long], one.rows[long]
        low = (bucket.model.log_rate(signs) <= curve.rates[place]) & (rows >= curve.first[place])
        at = int(low.argmax()) if low.any() else len(low) - 1
        told = curve.stopped.of(float(bucket.model.log_missing(signs[at])))
        looks = np.count_nonzero(rows[: at + 1] >= curve.first[place])
        found.append((1 - missing[at], rows[at], *told, looks))
    return tuple(np.array(column) for column in zip(*found, strict=True))


def test_along_a_curve_rates_fall_and_recall_and_work_rise(bucket: Bucket) -> None:
    """From hardly anything to everything, on the queries that the model was not fitted on."""
    for share, queries in ((1.0, 360), (0.1, 180)):
        curve = bucket.curves[share]
        assert curve.queries == queries
        assert (np.diff(curve.rates) < 0).all()
        assert (np.diff(curve.recall) >= 0).all()
        assert (np.diff(curve.rows) >= 0).all()
        assert curve.recall[0] < 0.7
        assert curve.recall[-1] > 0.99


@pytest.mark.parametrize("target", [0.9, 0.95, 0.98])
def test_what_was_learned_holds_for_new_queries(bucket: Bucket, target: float) -> None:
    """Mean recall and mean work within noise of the curve; the mean estimate near the truth."""
    curve = bucket.curves[1.0]
    place = curve.place(target)
    assert place is not None
    recall, rows, estimates, *_ = stopped(bucket, curve, place, traces(3_000, 7))
    assert target - 0.01 <= recall.mean() <= target + 0.03
    assert rows.mean() == pytest.approx(curve.rows[place], rel=0.15)
    assert abs(estimates.mean() - recall.mean()) <= 0.015


@pytest.mark.parametrize("target", [0.8, 0.9, 0.95])
def test_nine_of_ten_new_queries_reach_the_lower_bound(bucket: Bucket, target: float) -> None:
    """At the stops of this target; it is no trivial bound."""
    curve = bucket.curves[1.0]
    place = curve.place(target)
    assert place is not None
    recall, _, _, lower, _ = stopped(bucket, curve, place, traces(3_000, 8))
    assert (recall >= lower - 1e-9).mean() >= 0.88
    assert lower.mean() >= target - 0.25


@pytest.mark.parametrize("target", [0.9, 0.95])
def test_few_queries_do_not_raise_the_lower_bound(target: float) -> None:
    """Nine of ten reach it in every one of six small calibrations, not only in the mean of them."""
    fresh = traces(1_500, 99)
    for seed in range(6):
        given = {1.0: traces(120, seed)}
        (made,) = learn(given, given, (K,))
        place = made.curves[1.0].place(target)
        assert place is not None
        recall, _, _, lower, _ = stopped(made, made.curves[1.0], place, fresh)
        assert (recall >= lower - 1e-9).mean() >= 0.88


def test_stopping_by_the_rate_is_cheaper_than_one_length_for_all(bucket: Bucket) -> None:
    """At a mean recall of 0.95, hard queries may take what easy ones leave."""
    curve, fresh = bucket.curves[1.0], traces(2_000, 9)
    place = curve.place(0.95)
    assert place is not None
    recall, rows, *_ = stopped(bucket, curve, place, fresh)
    grid, missing = fresh[0].rows, np.mean([one.missing[0] for one in fresh], axis=0)
    fixed = grid[np.flatnonzero(missing <= 1 - recall.mean())[0]]
    assert rows.mean() < fixed / 1.3


@pytest.mark.parametrize("target", [0.8, 0.9, 0.98])
def test_the_first_look_is_where_rows_and_looks_cost_least(target: float) -> None:
    """No first look at half or twice as many rows brings new queries the same recall for less; free looks are taken."""
    given, fresh = {1.0: traces(300)}, traces(400, 9)
    (dear,), (free,) = (learn(given, given, (K,), look) for look in (100.0, 0.0))
    curve = dear.curves[1.0]
    place = curve.place(target)
    assert place is not None
    recall, rows, _, _, looks = stopped(dear, curve, place, fresh)
    for times in (0.5, 2.0):
        other = replace(curve, first=curve.first * times)
        for at in range(0, len(curve.rates), 8):
            found, read, _, _, looked = stopped(dear, other, at, fresh)
            if found.mean() >= recall.mean():
                assert (rows + 100 * looks).mean() <= 1.1 * (read + 100 * looked).mean()
                break
    at = free.curves[1.0].place(target)
    assert at is not None
    assert free.curves[1.0].first[at] < curve.first[place]
    assert free.curves[1.0].rows[at] < curve.rows[place]


def test_estimators_never_fall(bucket: Bucket) -> None:
    """Less missing by the model is more recall, for the mean and for the bound, after stops and at given lengths."""
    for curve in bucket.curves.values():
        for told in (curve.stopped, curve.plain):
            assert (np.diff(told.levels) <= 0).all()
            assert (np.diff(told.recall) >= 0).all()
            assert (np.diff(told.lower) >= 0).all()
            assert 0 <= told.recall.min() <= told.recall.max() <= 1


def test_where_nothing_is_ever_missing_the_shallowest_stop_will_do() -> None:
    """No regression can be fitted to that; the rule stops at once and every estimate is 1."""
    easy = [Trace(one.rows, one.signs, np.where(one.rows >= K, 0.0, 1.0)[None]) for one in traces(150)]
    (made,) = learn({1.0: easy}, {1.0: easy}, (K,))
    curve = made.curves[1.0]
    place = curve.place(0.98)
    assert place is not None
    assert curve.rows[place] == 16
    assert curve.stopped.of(-3.0) == (1.0, 1.0)
