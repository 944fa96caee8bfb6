"""From `AsyncClient` to `Client`: the same calls without an event loop.

Every call is written once, as a coroutine. Where its input and output block instead of waiting, it never suspends and
is done after its first step; so `Client` needs neither a copy of the calls nor a loop.
"""

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from time import sleep
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar, cast

import httpx

P = ParamSpec("P")
T = TypeVar("T")
C = TypeVar("C", contravariant=True)


class Calls(Protocol):
    """What a blocking client is made of."""

    calls: Any  # the client whose coroutines never suspend


def blocking(call: Callable[Concatenate[C, P], Coroutine[Any, Any, T]]) -> Callable[Concatenate[Calls, P], T]:
    """The method of `Client` for one of `AsyncClient`."""

    @wraps(call)
    def method(self: Calls, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return done(call(self.calls, *args, **kwargs))

    return method


def blocking_iterator(
    call: Callable[Concatenate[C, P], AsyncIterator[T]],
) -> Callable[Concatenate[Calls, P], Iterator[T]]:
    """The same for one that yields."""

    @wraps(call)
    def method(self: Calls, /, *args: P.args, **kwargs: P.kwargs) -> Iterator[T]:
        items = call(self.calls, *args, **kwargs)
        nothing: Any = object()
        while (item := done(_next(items, nothing))) is not nothing:
            yield item

    return method


async def pause(seconds: float) -> None:
    """Wait as `asyncio.sleep` does, but keep the thread."""
    sleep(seconds)


class Blocking(httpx.AsyncBaseTransport):
    """The transport of a client whose coroutines never suspend: an `httpx.Client` sends what it is given."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it; the answer is read from the connection as it is asked for."""
        answer = self._client.send(request, stream=True)
        return httpx.Response(
            answer.status_code, headers=answer.headers, stream=_Arriving(answer), extensions=answer.extensions
        )

    async def aclose(self) -> None:
        """Close the connections."""
        self._client.close()


class _Arriving(httpx.AsyncByteStream):
    """The bytes of an answer as they come, not decoded."""

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in cast(httpx.SyncByteStream, self._answer.stream):
            yield chunk

    async def aclose(self) -> None:
        self._answer.close()


async def _next(items: AsyncIterator[T], nothing: T) -> T:
    return await anext(items, nothing)


def done(call: Coroutine[Any, Any, T]) -> T:
    """What a coroutine that never suspends returns."""
    try:
        call.send(None)
    except StopIteration as end:
        result: T = end.value
        return result
    call.close()
    raise RuntimeError("this waits for an event loop, which Client has not: AsyncClient has")
