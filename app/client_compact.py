"""Compaction, for the client."""

from collections.abc import Callable
from typing import Any

from app.client_http import Connection


class Compaction(Connection):
    """A part of `AsyncClient`."""

    async def compact(
        self, purge_snapshots: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> dict[str, Any]:
        """Erase what was deleted; `progress` gets (steps done, steps). With `purge_snapshots` the snapshots that hold
        erased rows are deleted too.

        What is raised meanwhile, Ctrl-C included, leaves the index as it was.
        """
        path = f"/compact?purge_snapshots={str(purge_snapshots).lower()}"
        return await self._followed("POST", path, progress=progress, unit="steps")
