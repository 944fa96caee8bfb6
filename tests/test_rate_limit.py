"""The limit on the rate of requests."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from access_cases import FULL, KEYED, READ, bearer
from app import access_rate
from app.access_rate import RateLimit
from service import assert_problem, running


def test_a_burst_then_the_rate() -> None:
    """Two a second and three at once: three go, then one each half second, and the wait that is told is enough."""
    now = 0.0
    limit = RateLimit(2, 3, lambda: now)
    assert [limit.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    now = 0.4
    assert limit.take("a") == pytest.approx(0.1)
    now = 0.5
    assert limit.take("a") == 0
    assert limit.take("a") == pytest.approx(0.5)
    now = 100
    assert [limit.take("a") > 0 for _ in range(4)] == [False, False, False, True]


@given(st.lists(st.floats(0, 2), max_size=60), st.floats(0.1, 20), st.integers(1, 5))
def test_no_caller_gets_more_than_burst_and_rate(pauses: list[float], rate: float, burst: int) -> None:
    """Whenever they come, at most burst + rate x seconds requests go through."""
    now, passed = 0.0, 0
    limit = RateLimit(rate, burst, lambda: now)
    for pause in pauses:
        now += pause
        passed += limit.take("a") == 0
    assert passed <= burst + rate * now + 1e-6


def test_callers_do_not_share_and_are_not_remembered_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has a bucket; of more than so many callers the longest silent one is forgotten."""
    monkeypatch.setattr(access_rate, "REMEMBERED", 3)
    limit = RateLimit(1, 1, lambda: 0.0)
    assert [limit.take(name) for name in "abc"] == [0, 0, 0]
    assert limit.take("a") == 1
    assert limit.take("d") == 0
    assert len(limit._buckets) == 3
    assert limit.take("a") == 1  # it came again since "b"


def test_each_key_has_a_rate_of_its_own(tmp_path: Path) -> None:
    """429 with Retry-After for the one that is too quick; the others go on, and health checks count for nobody."""
    with running(tmp_path, **KEYED, rate_limit=0.01, rate_burst=3) as client:
        for _ in range(10):
            assert client.get("/livez").status_code == client.get("/readyz", headers=bearer(FULL)).status_code == 200
        answers = [client.get("/stats", headers=bearer(READ)) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert "0.01 requests a second" in assert_problem(answers[-1], 429, "rate-limited")["detail"]
        assert 40 <= int(answers[-1].headers["retry-after"]) <= 100
        assert client.get("/stats", headers=bearer(FULL)).status_code == 200
        assert {client.get("/page/main.js").status_code for _ in range(40)} == {200}
        assert [client.get("/").status_code for _ in range(4)] == [200, 200, 200, 429]


def test_guessing_keys_is_limited_by_address(tmp_path: Path) -> None:
    """Every wrong key counts for the address it came from, so that another one does not help."""
    with running(tmp_path, **KEYED, rate_limit=0.01, rate_burst=3) as client:
        tried = [client.get("/stats", headers=bearer(f"guess-{number}")).status_code for number in range(5)]
        assert tried == [401, 401, 401, 429, 429]
        assert client.get("/stats", headers=bearer(READ)).status_code == 200


def test_without_keys_the_address_counts(tmp_path: Path) -> None:
    """And unset there is no limit."""
    with running(tmp_path / "a", rate_limit=0.01, rate_burst=2) as client:
        assert [client.get("/info").status_code for _ in range(3)] == [200, 200, 429]
    with running(tmp_path / "b") as client:
        assert {client.get("/info").status_code for _ in range(50)} == {200}
