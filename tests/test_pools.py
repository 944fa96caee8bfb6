"""Bounded pools of threads."""

import asyncio
import threading

import pytest

from app.busy import Busy, Slots
from app.pools import Pool


def test_a_pool_runs_calls_beside_the_loop_and_refuses_more_than_it_can_hold() -> None:
    """One runs, one waits, the third is refused; afterwards there is room again."""

    async def run() -> None:
        pool, gate = Pool("test", threads=1, waiting=1), threading.Event()
        first = asyncio.create_task(pool.run(gate.wait, 10))
        second = asyncio.create_task(pool.run(lambda: "second"))
        await asyncio.sleep(0)
        assert pool.depth == 1
        with pytest.raises(Busy, match="1 test calls"):
            await pool.run(lambda: "third")
        gate.set()
        assert await first
        assert await second == "second"
        assert await pool.run(lambda: "fourth") == "fourth"
        assert pool.depth == 0
        pool.close()

    asyncio.run(run())
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("test")]


def test_an_error_of_a_call_is_the_callers() -> None:
    """It is raised where the result was awaited, and the pool goes on."""

    async def run() -> None:
        pool = Pool("test", 1, 1)
        with pytest.raises(ZeroDivisionError):
            await pool.run(lambda: 1 // 0)
        assert await pool.run(lambda: 1) == 1
        pool.close()

    asyncio.run(run())


def test_slots_are_given_back_after_errors_too() -> None:
    """A slot is taken for the length of a block."""
    slots = Slots("things", 1)

    def fail() -> None:
        with slots.one():
            with pytest.raises(Busy, match="1 things"), slots.one():
                pass
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with slots.one():
        assert slots.taken == 1
    assert slots.taken == 0
