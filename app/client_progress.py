"""The lines of an answer that tells its progress, for the client."""

import json
from collections.abc import AsyncIterable, Callable
from typing import Any

from app.client_errors import ProblemError, Unreachable

TOLD_OF_THE_WORK = ("type", "status", "processed", "took_ms")  # beside the answer itself


async def summary(lines: AsyncIterable[str], progress: Callable[[int, int], None] | None, unit: str) -> dict[str, Any]:
    """The answer at the end; `progress` gets (done, total), the total being the member `unit` of a line.

    Raises ProblemError when the work failed, Unreachable when there is no summary.
    """
    async for line in lines:
        event: dict[str, Any] = json.loads(line)
        if event["type"] == "summary":
            if event["status"] != 200:
                raise ProblemError({**event, **event["problem"]})
            return {name: value for name, value in event.items() if name not in TOLD_OF_THE_WORK}
        if progress and event[unit]:
            progress(event["processed"], event[unit])
    raise Unreachable("the service broke off in the middle of its work")
