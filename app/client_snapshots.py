"""Snapshots, for the client."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

from app.client_http import Connection, checked
from app.partial import whole

Progress = Callable[[int, int], None]


class SnapshotCalls(Connection):
    """A part of `AsyncClient`."""

    async def make_snapshot(self, name: str | None = None, progress: Progress | None = None) -> dict[str, Any]:
        """Write everything into one file on the service's disk; its record. `progress` gets (bytes done, bytes).

        Of one that is interrupted meanwhile, by Ctrl-C too, nothing stays.
        """
        return await self._followed("POST", "/snapshots", {"name": name}, progress, unit="bytes")

    async def snapshots(self) -> list[dict[str, Any]]:
        """A record of every snapshot, the oldest first."""
        found: list[dict[str, Any]] = (await self._json("GET", "/snapshots"))["snapshots"]
        return found

    async def download_snapshot(self, name: str, path: Path, progress: Progress | None = None) -> None:
        """Write a snapshot to a file, which has its name only when it is whole. `progress` gets (bytes done, bytes)."""
        with whole(path) as partial:
            await self._patiently(lambda: self._download(name, partial, progress))

    async def delete_snapshot(self, name: str) -> None:
        """Delete a snapshot; ProblemError with status 404 when there is none."""
        await self._json("DELETE", _address(name))

    async def _download(self, name: str, partial: Path, progress: Progress | None) -> None:
        async with self._http.stream("GET", _address(name)) as response:
            total = int((await checked(response)).headers.get("content-length", 0))  # proxies may leave it out
            with partial.open("wb") as file:
                async for chunk in response.aiter_raw():
                    file.write(chunk)
                    if progress:
                        progress(file.tell(), total)


def _address(name: str) -> str:
    return f"/snapshots/{quote(name, safe='')}"
