"""What is known of a system so far: its build, and every setting with recall, times and throughput."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from benchmark_ratios import Point, worth_repeating
from benchmark_systems import Entry

LEAST_RECALL = 0.8  # settings with less are looked at once


@dataclass
class Measured:
    """What is known of a setting; `throughputs` are searches a second of two threads, one number a round."""

    setting: dict[str, Any]
    recalls: list[np.ndarray] = field(default_factory=list)
    surveyed: list[np.ndarray] = field(default_factory=list)
    rounds: list[np.ndarray] = field(default_factory=list)  # nanoseconds of every search
    waited: list[float] = field(default_factory=list)  # share of the time in want of a core
    throughputs: list[float] = field(default_factory=list)
    stages: list[dict[str, float]] = field(default_factory=list)  # mean milliseconds, where the system tells

    def point(self) -> Point:
        """For the frontier."""
        taken = self.rounds or self.surveyed
        return Point(self.setting, self.recall, tuple(float(np.median(one)) / 1e9 for one in taken))

    @property
    def recall(self) -> float:
        return float(np.concatenate(self.recalls).mean())

    def to_json(self) -> dict[str, Any]:
        """Figures: milliseconds, and by round for who compares."""
        every = np.concatenate(self.rounds or self.surveyed) / 1e6
        recalls = np.concatenate(self.recalls)
        return {
            "setting": self.setting,
            "recall": round(self.recall, 5),
            "recall_error": round(float(recalls.std() / len(recalls) ** 0.5), 5),
            "queries": len(recalls),
            "p50_ms": rounded(np.percentile(every, 50)),
            "p99_ms": rounded(np.percentile(every, 99)),
            "mean_ms": rounded(every.mean()),
            "medians_ms": [rounded(np.median(one) / 1e6) for one in self.rounds or self.surveyed],
            "throughput": [rounded(one) for one in self.throughputs],
            "waited_share": round(max(self.waited), 3),
            "stages_ms": {name: rounded(np.mean([one[name] for one in self.stages])) for name in self.stages[0]},
            "repeated": bool(self.rounds),
        }


class Subject:
    """A system, its folder, and what was measured of it so far."""

    def __init__(self, entry: Entry, folder: Path) -> None:
        self.entry, self.folder = entry, folder
        self.about: dict[str, Any] = {"name": entry.name, "mode": entry.mode, "kind": entry.kind}
        self.about |= {"options": entry.options}
        self.settings: dict[int, list[Measured]] = {}

    @property
    def failed(self) -> bool:
        return "failed" in self.about

    def repeated(self, k: int) -> list[Measured]:
        """The settings that the rounds ask."""
        kept = worth_repeating([one.point() for one in self.settings.get(k, [])], LEAST_RECALL)
        return [one for one in self.settings.get(k, []) if any(one.setting is point.setting for point in kept)]

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        asked = {k: [one for one in settings if one.recalls] for k, settings in self.settings.items()}
        found = {str(k): [one.to_json() for one in settings] for k, settings in asked.items()}
        return {**self.about, "settings": found}


def rounded(value: Any) -> float:
    """Four significant digits."""
    return float(f"{float(value):.4g}")
