"""Background work gives way to searches, and is not starved by them."""

import asyncio
import threading
import time

from app.idle import Idle
from app.pools import Pool


def test_nobody_searches_and_the_work_goes_on_at_once() -> None:
    """An idle service costs background work nothing."""
    started = time.monotonic()
    for _ in range(100):
        Idle(lambda: False).wait(patience=5)
    assert time.monotonic() - started < 60  # of 500


def test_the_work_waits_until_the_searches_are_done() -> None:
    """It goes on when the last search has ended, long before its patience does."""
    searching = threading.Event()
    searching.set()
    threading.Timer(0.05, searching.clear).start()
    started = time.monotonic()
    Idle(searching.is_set).wait(patience=600)
    assert not searching.is_set()
    assert time.monotonic() - started < 60


def test_constant_load_does_not_stop_the_work() -> None:
    """After its patience it goes on, busy or not."""
    started = time.monotonic()
    Idle(lambda: True).wait(patience=0.05)
    assert 0.05 <= time.monotonic() - started < 60


def test_a_pool_is_busy_from_the_call_to_its_end() -> None:
    """A call counts while it runs and while it waits, and no longer."""

    async def scenario() -> list[bool]:
        pool, go = Pool("search", threads=1, waiting=4), threading.Event()
        seen = [pool.busy]
        calls = [asyncio.ensure_future(pool.run(go.wait, 5)) for _ in range(2)]
        await asyncio.sleep(0)
        seen.append(pool.busy)
        go.set()
        await asyncio.gather(*calls)
        seen.append(pool.busy)
        pool.close()
        return seen

    assert asyncio.run(scenario()) == [False, True, False]
