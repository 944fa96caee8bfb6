"""The window of compared answers."""

import numpy as np
import pytest

from app.truth_window import ENOUGH, SHORT, WINDOW, Observed, Window
from index.interval import interval


def window(recalls: list[float], estimate: float | None = None, target: float | None = None) -> Window:
    """A window of answers that had the same estimate and target."""
    made = Window()
    for recall in recalls:
        made.add(Observed(recall, estimate, None if estimate is None else estimate - 0.1, target))
    return made


def test_it_averages_what_it_was_given() -> None:
    """Error and coverage over the answers with an estimate, the target over those with one."""
    made = Window()
    made.add(Observed(1.0, 0.9, 0.8, 0.95))
    made.add(Observed(0.6, 0.9, 0.7, None))
    made.add(Observed(0.5, None, None, 0.85))
    assert made.means() == pytest.approx(
        {"recall": 0.7, "estimate_error": (-0.1 + 0.3) / 2, "coverage": 0.5, "target": 0.9}
    )
    told = made.describe()
    assert told["queries"] == 3
    assert told["recall_low"] <= told["recall"] <= told["recall_high"]


def test_an_empty_one_knows_nothing() -> None:
    """No number stands for a measurement that was not made."""
    made = Window()
    assert set(made.describe().values()) == {0, None}
    assert made.shortfall() is None


def test_only_the_newest_count() -> None:
    """The oldest leaves when a new one comes into a full window."""
    made = window([0.0] * 50 + [1.0] * WINDOW)
    assert (len(made), made.means()["recall"]) == (WINDOW, 1.0)
    made.clear()
    assert len(made) == 0


def test_a_clear_drop_is_a_shortfall() -> None:
    """Both numbers are told, and what was promised: the target first, else the estimate."""
    low = [0.7, 0.9] * 50
    assert window(low, estimate=0.97).shortfall() == (
        "the last 100 answers that were compared with exact search have a recall of 80.0% on average, "
        "97.0% was estimated"
    )
    told = window(low, estimate=0.97, target=0.98).shortfall()
    assert told is not None
    assert told.endswith("80.0% on average, 98.0% was asked for")


def test_a_few_answers_prove_nothing() -> None:
    """One less than ENOUGH, however bad, is no warning."""
    assert window([0.0] * (ENOUGH - 1), target=0.9).shortfall() is None
    assert window([0.0] * ENOUGH, target=0.9).shortfall() is not None


def test_a_small_drop_is_none() -> None:
    """Two points may be missing, however sure that is."""
    assert window([0.9] * WINDOW, target=0.9 + 0.99 * SHORT).shortfall() is None


def test_a_drop_within_the_interval_is_none() -> None:
    """Sixty answers that are all right or all wrong do not tell 0.9 from 0.95."""
    recalls = [0.0, *[1.0] * 9] * 6
    assert interval(np.array(recalls)).high > 0.95
    assert window(recalls, target=0.95).shortfall() is None


def test_kept_promises_seldom_warn() -> None:
    """Of 40 services whose mean recall is that of their target, looked at after every answer, none is warned."""
    rng, warned = np.random.default_rng(0), 0
    for _ in range(40):
        made = Window()
        for recall in rng.binomial(10, 0.95, 300) / 10:
            made.add(Observed(float(recall), None, None, 0.95))
            if made.shortfall() is not None:
                warned += 1
                break
    assert warned == 0
