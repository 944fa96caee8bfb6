"""The bounded place between reading and embedding."""

import asyncio
from collections.abc import Awaitable, Callable

from app.inbox import MAX_BYTES, Inbox, Item
from index.document import Document


def items(first: int, last: int, size: int = 1) -> list[Item]:
    """Documents first..last-1 with texts of `size` characters."""
    return [Item(n, Document(f"d{n}", "x" * size)) for n in range(first, last)]


def places(batch: list[Item]) -> list[int]:
    """Where the documents of a batch came from."""
    return [item.place for item in batch]


def run(test: Callable[[], Awaitable[None]]) -> None:
    """Run a coroutine that must not hang."""

    async def bounded() -> None:
        await asyncio.wait_for(test(), 10)

    asyncio.run(bounded())


def test_batches_keep_the_order_and_the_largest_size() -> None:
    """What is put together is taken in pieces of at most `most`, and the end is an empty batch."""

    async def test() -> None:
        inbox = Inbox(least=2, most=4)
        await inbox.put(items(0, 7))
        await inbox.close()
        assert [places(await inbox.take()) for _ in range(3)] == [[0, 1, 2, 3], [4, 5, 6], []]

    run(test)


def test_a_small_batch_waits_a_moment_for_more() -> None:
    """Documents that come soon after the first join it; when none come the batch goes alone."""

    async def test() -> None:
        inbox = Inbox(least=3, most=9)
        await inbox.put(items(0, 1))
        taking = asyncio.create_task(inbox.take())
        await asyncio.sleep(0)
        await inbox.put(items(1, 3))
        assert places(await taking) == [0, 1, 2]
        await inbox.put(items(3, 4))
        assert places(await inbox.take()) == [3]

    run(test)


def test_the_one_who_puts_waits_while_it_is_full() -> None:
    """By number of documents and by their bytes."""

    async def test() -> None:
        for inbox, load in ((Inbox(1, 2), items(0, 5)), (Inbox(1, 100), items(0, 3, MAX_BYTES // 2))):
            putting = asyncio.create_task(inbox.put(load))
            await asyncio.sleep(0.01)
            assert not putting.done()
            while not putting.done():
                assert await inbox.take()
                await asyncio.sleep(0)

    run(test)
