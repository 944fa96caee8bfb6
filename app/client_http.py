"""The connection of a client: requests that are tried again with growing pauses, and answers with progress lines."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import httpx

from app.client_app import AppTransport
from app.client_errors import ClientError, Unreachable, problem_of
from app.client_keys import key_headers
from app.client_progress import summary
from app.client_retry import Again, repeatable

if TYPE_CHECKING:
    from starlette.applications import Starlette

Answer = TypeVar("Answer")
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0  # seconds


class Connection:
    """One connection pool to one service, or one application in this process."""

    pause: Callable[[float], Awaitable[None]] = staticmethod(asyncio.sleep)

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        app: "Starlette | None" = None,
        transport: httpx.AsyncBaseTransport | None = None,
        timeout: float = 120.0,
        attempts: int = 6,
        api_key: str | None = None,
    ) -> None:
        """`app` is one that `create_app` made, open as long as the client; `timeout` in seconds between two bytes;
        `attempts` per request, pauses grow from 0.25 seconds; `api_key` is FUNNEL_CLIENT_KEY of the environment unless
        it is given."""
        limits = httpx.Timeout(timeout, connect=5.0)
        headers = key_headers(api_key)
        if app is not None:
            transport = AppTransport(app)
        self._http = httpx.AsyncClient(base_url=base_url, transport=transport, timeout=limits, headers=headers)
        self._attempts = attempts

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections, and the application if it was given one."""
        await self._http.aclose()

    async def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        async def sent() -> dict[str, Any]:
            answer: dict[str, Any] = (await checked(await self._http.request(method, path, **request))).json()
            return answer

        return await self._patiently(sent)

    async def _followed(
        self,
        method: str,
        path: str,
        body: Any = None,
        progress: Callable[[int, int], None] | None = None,
        unit: str = "rows",
    ) -> dict[str, Any]:
        """The answer of long work; `progress` gets (done, total) of its lines. It is tried again as others are."""
        return await self._patiently(partial(self._follow, method, path, body, progress, unit))

    async def _follow(
        self, method: str, path: str, body: Any, progress: Callable[[int, int], None] | None, unit: str
    ) -> dict[str, Any]:
        headers = {"accept": "application/x-ndjson", "content-type": "application/json"}  # also without a body
        async with self._http.stream(method, path, json=body, headers=headers) as response:
            return await summary((await checked(response)).aiter_lines(), progress, unit)

    async def _patiently(self, send: Callable[[], Awaitable[Answer]], again: Again = repeatable) -> Answer:
        """Try until it works, with growing pauses, as long as `again` says so of the error."""
        for attempt in range(self._attempts - 1):
            try:
                return await self._once(send)
            except ClientError as error:
                if not again(error):
                    raise
                wait = error.retry_after
            await self.pause(min(wait or FIRST_PAUSE * 2**attempt, LONGEST_PAUSE))
        return await self._once(send)

    async def _once(self, send: Callable[[], Awaitable[Answer]]) -> Answer:
        try:
            return await send()
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(f"no answer from {self._http.base_url}: {reason}") from error
        except json.JSONDecodeError as error:
            raise Unreachable(f"what answers at {self._http.base_url} is not this service: {error}") from error


async def checked(response: httpx.Response) -> httpx.Response:
    """The response; ProblemError when it is an error, or leads elsewhere."""
    if not response.is_success:
        await response.aread()
        raise problem_of(response)
    return response
