"""What a training leaves beside its weights: the model card with a table of widths, and everything as JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.train_evaluation import Scores

RECORD = "training.json"
BEFORE_DETAILS = "## Model Details"  # a heading of every card that sentence-transformers writes


@dataclass(frozen=True)
class Told:
    """What the card says of a training."""

    command: str
    base: str
    shape: str
    losses: Mapping[str, str]  # set -> name
    rows: Mapping[str, int]  # set -> rows in an epoch
    before: Scores
    after: Scores
    settings: Mapping[str, Any]
    log: Sequence[Mapping[str, Any]]  # the trainer's own, step by step


def write_card(folder: Path, told: Told) -> None:
    """Put our section into the card that is there, and write `training.json`."""
    card = folder / "README.md"
    text = card.read_text("utf-8") if card.is_file() else ""
    head, mark, rest = text.partition(BEFORE_DETAILS)
    card.write_text(f"{head.rstrip()}\n\n{section(told)}\n{mark}{rest}".lstrip(), "utf-8")
    record = {
        "command": told.command,
        "settings": told.settings,
        "losses": told.losses,
        "rows": told.rows,
        "before": told.before,
        "after": told.after,
        "log": told.log,
    }
    (folder / RECORD).write_text(json.dumps(record, indent=2) + "\n", "utf-8")


def section(told: Told) -> str:
    """The section of the card: scores by width before and after, data, command."""
    sets = ", ".join(f"{name} ({rows:,} rows, {told.losses[name]})" for name, rows in told.rows.items())
    lines = ["## Widths", "", *table(told.before, told.after)] if told.after else ["## Training"]
    return "\n".join([*lines, "", f"Trained from `{told.base}` on {sets}: {told.shape}.", "", *_command(told.command)])


def table(before: Scores, after: Scores) -> list[str]:
    """One row a set and moment, one column a width; the share of the full width's score beside each score."""
    widths = sorted({width for scores in after.values() for width in scores}, reverse=True)
    lines = ["| | | " + " | ".join(map(str, widths)) + " |", "|---|---|" + "---:|" * len(widths)]
    for name in after:
        for moment, scores in (("before", before), ("after", after)):
            if name in scores:
                cells = (_cell(scores[name], width, widths[0]) for width in widths)
                lines.append(f"| {name} | {moment} | " + " | ".join(cells) + " |")
    return lines


def _cell(scores: Mapping[int, float], width: int, full: int) -> str:
    share = f" ({scores[width] / scores[full]:.1%})" if width != full and scores[full] > 0 else ""
    return f"{scores[width]:.4f}{share}"


def _command(command: str) -> list[str]:
    return ["```sh", command, "```", ""] if command else []
