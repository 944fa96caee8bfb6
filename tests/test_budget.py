"""The budget of work in the background."""

import pytest

from app.budget import Budget


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_it_fills_at_its_rate_up_to_what_can_be_saved() -> None:
    """A hundredth of the time, at most 10 seconds, which it begins with."""
    clock = Clock()
    budget = Budget(0.01, 10, clock)
    assert budget.left == 10
    budget.spend(4)
    assert budget.left == pytest.approx(6)
    clock.now += 100
    assert budget.left == pytest.approx(7)
    clock.now += 1_000
    assert budget.left == 10


def test_a_debt_is_paid_back_first() -> None:
    """Work that took longer than was left keeps the budget shut until then."""
    clock = Clock()
    budget = Budget(0.5, 1, clock)
    budget.spend(3)
    assert budget.left == pytest.approx(-2)
    clock.now += 4
    assert budget.left == pytest.approx(0)
    clock.now += 1
    assert budget.left == pytest.approx(0.5)
