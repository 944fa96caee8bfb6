"""The server's memory, open files and threads while it works, read from /proc once a second."""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from harness import Server

PERIOD = 1.0  # seconds
WARM = 0.25  # share of the time that is warm-up
MIB = 1 << 20
KEPT = 120  # points of each curve that are stored


@dataclass(frozen=True)
class Sample:
    """One look: seconds since the first, bytes, numbers."""

    second: float
    anonymous: int
    files: int
    threads: int


class Watch:
    """Samples while inside the `async with`."""

    def __init__(self, server: Server) -> None:
        self._server, self._proc = server, Path(f"/proc/{server.process.pid}")
        self.samples: list[Sample] = []
        self._rests: list[Sample] = []

    async def __aenter__(self) -> Self:
        self._began = time.monotonic()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: Any, trace: TracebackType | None) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task
        self.samples.append(self._look())

    async def rest(self) -> None:
        """Look when no request is under way and no client connected."""
        await asyncio.sleep(2 * PERIOD)
        self._rests.append(self._look())

    async def _run(self) -> None:
        while True:
            self.samples.append(self._look())
            await asyncio.sleep(PERIOD)

    def _look(self) -> Sample:
        threads = len(list((self._proc / "task").iterdir()))
        files = len(list((self._proc / "fd").iterdir()))
        return Sample(time.monotonic() - self._began, self._server.memory()["anonymous"], files, threads)

    def summary(self) -> dict[str, Any]:
        """Each number at the start, after the warm-up and at the end, its slope, and its curve."""
        warm = [sample for sample in self.samples if sample.second >= WARM * self.samples[-1].second]
        return {
            "seconds": round(self.samples[-1].second, 1),
            "anonymous_mib": self._about(warm, "anonymous", MIB),
            "files": self._about(warm, "files", 1),
            "threads": self._about(warm, "threads", 1),
            "at_rest": {
                "anonymous_mib": [round(rest.anonymous / MIB, 1) for rest in self._rests],
                "files": [rest.files for rest in self._rests],
                "threads": [rest.threads for rest in self._rests],
            },
        }

    def _about(self, warm: list[Sample], name: str, unit: int) -> dict[str, Any]:
        seconds = np.array([sample.second for sample in warm])
        values = np.array([getattr(sample, name) for sample in warm]) / unit
        third = max(1, len(values) // 3)
        before, after = float(np.median(values[:third])), float(np.median(values[-third:]))
        step = max(1, len(self.samples) // KEPT)
        slope = np.polyfit(seconds, values, 1)[0] * 3_600 if len(values) > 2 else 0.0
        return {
            "first": round(getattr(self.samples[0], name) / unit, 1),
            "after_warm_up": round(before, 1),
            "at_the_end": round(after, 1),
            "most": round(float(values.max()), 1),
            "slope_per_hour": round(float(slope), 2),
            "curve": [round(getattr(sample, name) / unit, 1) for sample in self.samples[::step]],
        }
