"""Small files and a small base to train on."""

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

from app.train_settings import Source, TrainSettings
from tiny_models import WORDS, save_model

PAIRS = [{"anchor": f"{one} {two}", "positive": f"{two} {one}"} for one, two in pairwise(WORDS[:11])]
TRIPLETS = [pair | {"negative": f"{WORDS[-row]} tree"} for row, pair in enumerate(PAIRS, 1)]
SCORED = [
    {"sentence1": pair["anchor"], "sentence2": pair["positive"], "score": row % 6} for row, pair in enumerate(PAIRS)
]


def write(path: Path, rows: list[dict[str, Any]]) -> Source:
    """A JSONL file of these rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Source(str(path))


def settings(folder: Path, rows: list[dict[str, Any]], **other: Any) -> TrainSettings:
    """A training of three steps on ten rows, without evaluation, from a base of 16 numbers that is made once."""
    base = folder / "base"
    if not base.exists():
        save_model(base, 16, num_hidden_layers=other.pop("depth", 1))
    chosen: dict[str, Any] = {
        "base": str(base),
        "data": (write(folder / "rows.jsonl", rows),),
        "out": folder / "out",
        "held_out": 0.0,
        "score_range": (0.0, 5.0) if "score" in rows[0] else (0.0, 1.0),
        "batch": 5,
        "max_steps": 3,
        "device": "cpu",
        "cache": folder / "cache",
    }
    return TrainSettings(**chosen | other)


def silent(what: str, done: int, total: int, loss: float) -> None:
    """Nobody watches."""
