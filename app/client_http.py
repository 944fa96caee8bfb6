"""The connection of a client: requests that are tried again with growing pauses, and answers with progress lines."""

import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Self, TypeVar

import httpx

from app.client_errors import ClientError, Unreachable, problem_of
from app.client_keys import key_headers
from app.client_progress import summary
from app.client_retry import Again, repeatable

Answer = TypeVar("Answer")
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0  # seconds


class Connection:
    """One connection pool to one service; safe to use from several threads."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        *,
        transport: httpx.BaseTransport | None = None,
        timeout: float = 120.0,
        attempts: int = 6,
        api_key: str | None = None,
    ) -> None:
        """`timeout` in seconds between two bytes; `attempts` per request, pauses grow from 0.25 seconds; `api_key` is
        FUNNEL_CLIENT_KEY of the environment unless it is given."""
        limits = httpx.Timeout(timeout, connect=5.0)
        headers = key_headers(api_key)
        self._http = httpx.Client(base_url=base_url, transport=transport, timeout=limits, headers=headers)
        self._attempts = attempts

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        response = self._http.request
        return self._patiently(lambda: checked(response(method, path, **request)).json())

    def _followed(
        self,
        method: str,
        path: str,
        body: Any = None,
        progress: Callable[[int, int], None] | None = None,
        unit: str = "rows",
    ) -> dict[str, Any]:
        """The answer of long work; `progress` gets (done, total) of its lines. It is tried again as others are."""
        return self._patiently(partial(self._follow, method, path, body, progress, unit))

    def _follow(
        self, method: str, path: str, body: Any, progress: Callable[[int, int], None] | None, unit: str
    ) -> dict[str, Any]:
        headers = {"accept": "application/x-ndjson", "content-type": "application/json"}  # also without a body
        with self._http.stream(method, path, json=body, headers=headers) as response:
            return summary(checked(response).iter_lines(), progress, unit)

    def _patiently(self, send: Callable[[], Answer], again: Again = repeatable) -> Answer:
        """Try until it works, with growing pauses, as long as `again` says so of the error."""
        for attempt in range(self._attempts - 1):
            try:
                return self._once(send)
            except ClientError as error:
                if not again(error):
                    raise
                wait = error.retry_after
            time.sleep(min(wait or FIRST_PAUSE * 2**attempt, LONGEST_PAUSE))
        return self._once(send)

    def _once(self, send: Callable[[], Answer]) -> Answer:
        try:
            return send()
        except httpx.TransportError as error:
            reason = str(error) or type(error).__name__
            raise Unreachable(f"no answer from {self._http.base_url}: {reason}") from error
        except json.JSONDecodeError as error:
            raise Unreachable(f"what answers at {self._http.base_url} is not this service: {error}") from error


def checked(response: httpx.Response) -> httpx.Response:
    """The response; ProblemError when it is an error, or leads elsewhere."""
    if not response.is_success:
        response.read()
        raise problem_of(response)
    return response
