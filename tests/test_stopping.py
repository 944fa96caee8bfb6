"""The model of what is still missing, and the rule by which a descent stops."""

import json
import math

import numpy as np
import pytest

from index.descent import SIGNS
from index.plan import Plan
from index.stopping import MissModel, terms
from index.targeting import descend
from recall_cases import allowed_of, collection, rule_of, view_of

RNG = np.random.default_rng(0)
ROWS, QUERIES = collection(1_500, 5)


def model_of(bias: float) -> MissModel:
    """Any model."""
    return MissModel(RNG.standard_normal(14), RNG.uniform(1, 2, 14), RNG.standard_normal(14), bias)


def test_terms_are_the_signs_and_four_bends() -> None:
    """Squares of the margins up to three spreads and beyond, of the log of the rows, and of the half margin."""
    signs = np.arange(10.0) / 2
    margin, rows, half = (signs[SIGNS.index(name)] for name in ("margin", "log_rows", "half_margin"))
    assert terms(signs)[:10].tolist() == signs.tolist()
    assert terms(signs)[10:].tolist() == [margin**2, 0.0, rows**2, 3.0**2]
    assert half == 3.5
    assert terms(np.zeros((2, 3, 10))).shape == (2, 3, 14)
    steep = np.zeros(10)
    steep[SIGNS.index("margin")] = 5.0
    assert terms(steep)[10:12].tolist() == [9.0, 4.0]


def test_the_missing_share_is_that_of_the_regression() -> None:
    """exp(w . (terms - centre) / scale + b), but never more than everything."""
    model, signs = model_of(-2.0), RNG.standard_normal((50, 10))
    plain = (terms(signs) - model.centre) / model.scale @ model.weights + model.bias
    np.testing.assert_allclose(model.log_missing(signs), np.minimum(plain, 0), rtol=1e-9, atol=1e-12)
    assert (model.log_missing(signs) <= 0).all()
    assert model.log_missing(signs).min() < 0


def test_the_rate_is_the_share_over_the_rows() -> None:
    """Its log, of one descent or of many."""
    model, signs = model_of(-2.0), RNG.standard_normal((50, 10))
    expected = model.log_missing(signs) - signs[:, SIGNS.index("log_rows")]
    np.testing.assert_allclose(model.log_rate(signs), expected)
    assert model.log_rate(signs[0]) == pytest.approx(expected[0])


def test_json_keeps_every_bit() -> None:
    """Estimates of a model that was read are those of the one that was written."""
    model, signs = model_of(-2.0), RNG.standard_normal((50, 10))
    read = MissModel.from_json(json.loads(json.dumps(model.to_json())))
    assert read.log_missing(signs).tolist() == model.log_missing(signs).tolist()


def test_a_lower_rate_never_stops_earlier() -> None:
    """Whatever the model and the filter: the rows of a stricter rule begin with those of a laxer one."""
    view, plan = view_of(ROWS), Plan(((8, 1_500), (32, 10)), 10, "calibration", target=0.9, explain=True)
    for allowed in (None, allowed_of(np.arange(1_500) % 3 == 0)):
        for query in QUERIES:
            depths = []
            for rate in np.linspace(-2.0, -12.0, 30):
                work = descend(view, query, plan, rule_of(float(rate)), allowed, None).work
                assert work is not None
                depths.append(work.full)
            assert depths == sorted(depths)
            assert depths[0] < depths[-1] == (500 if allowed else 1_500)


def test_it_stops_where_the_rate_falls_to_the_threshold() -> None:
    """With a model that says e^-1 of every descent, after the first length above e^(-1 - rate) rows."""
    view, plan = view_of(ROWS), Plan(((8, 1_500), (32, 10)), 10, "calibration", target=0.9, explain=True)
    for rows, length in ((17, 32), (33, 64), (64.1, 96), (129, 192), (1_100, 1_500)):
        work = descend(view, QUERIES[0], plan, rule_of(-1 - math.log(rows)), None, None).work
        assert work is not None
        assert work.stop is not None
        assert work.full == length
        reason = "exhausted" if length == 1_500 else "rule"
        assert (work.stop.reason, work.stop.threshold) == (reason, -1 - math.log(rows))
        if reason == "rule":
            assert work.stop.log_rate == pytest.approx(-1 - math.log(length))
            assert work.stop.estimated_missing == pytest.approx(math.exp(-1))
