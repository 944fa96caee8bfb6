"""A run of the recall measurement, followed from the client until it ends."""

from collections.abc import Awaitable, Callable
from typing import Any

from app.client_errors import RunEnded

PAUSE = 0.2  # seconds between two looks
UNDER_WAY = ("waiting", "running")

Json = dict[str, Any]


async def followed(
    begun: Json,
    status: Callable[[], Awaitable[Json]],
    cancel: Callable[[], Awaitable[Json]],
    progress: Callable[[str, int, int], None] | None,
    pause: Callable[[float], Awaitable[None]],
) -> Json:
    """The result of a run that has begun; `progress` gets (phase, done, total).

    What is raised meanwhile, Ctrl-C included, cancels the run. RunEnded when there is no result, or another run.
    """
    state = begun
    try:
        while state["state"] in UNDER_WAY and state["id"] == begun["id"]:
            if progress:
                progress(state["phase"], state["done"], state["total"])
            await pause(PAUSE)
            state = await status()
    except BaseException:
        await cancel()
        raise
    if state["id"] != begun["id"]:
        raise RunEnded(f"run {begun['id']} was followed by run {state['id']}")
    if state["result"] is None:
        raise RunEnded(f"the run was {state['state']}" + (f": {state['error']}" if state["error"] else ""))
    result: Json = state["result"]
    return result
