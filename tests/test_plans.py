"""Stage plans: what is typed, and the queries that come of it."""

import pytest

from app.plans import StagePlan, default_plans, parse_plan
from index.errors import InvalidInput


def test_a_rerank_asks_for_shortlists() -> None:
    """And names only the two widths."""
    plan = parse_plan("rerank")
    assert [(length, query.shortlist, query.stages) for length, query in plan.queries((50, 100), 10)] == [
        (50, 50, None),
        (100, 100, None),
    ]
    assert plan.name(64, 768) == "64 -> 768"


def test_a_cascade_keeps_a_quarter_at_each_step() -> None:
    """But never fewer than are wanted."""
    plan = parse_plan("64,128,256")
    assert [query.stages for _, query in plan.queries((400, 20), 10)] == [
        ((64, 400), (128, 100), (256, 25)),
        ((64, 20), (128, 10), (256, 10)),
    ]
    assert plan.name(64, 768) == "64 -> 128 -> 256 -> 768"


def test_fixed_stages_are_one_point() -> None:
    """Whatever shortlists are asked for."""
    ((length, query),) = parse_plan("64:2000,256:300").queries((50, 100), 10)
    assert (length, query.stages) == (2000, ((64, 2000), (256, 300)))


@pytest.mark.parametrize("text", ["", "wide", "64,256:3", "64:1:2"])
def test_other_words_are_refused(text: str) -> None:
    """With an example of each form."""
    with pytest.raises(InvalidInput, match="rerank, 64,256 or 64:2000,256:300"):
        parse_plan(text)


def test_the_usual_plans() -> None:
    """A cascade only where there is room for a middle width."""
    assert default_plans(64, 768) == [StagePlan(), StagePlan((64, 256))]
    assert default_plans(64, 256) == [StagePlan()]
