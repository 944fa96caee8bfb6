"""Everything that decides a training, as one frozen table; torch is not imported here."""

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

from app.embedder import ModelError

Shape = Literal["matryoshka", "2d", "layers", "none"]
Precision = Literal["auto", "float32", "bfloat16"]
SHAPES: dict[Shape, str] = {
    "matryoshka": "MatryoshkaLoss: every width ranks well",
    "2d": "Matryoshka2dLoss: every width of every layer",
    "layers": "AdaptiveLayerLoss: every layer, at full width",
    "none": "the base loss alone: the twin of a comparison",
}
WHERE_AND_HOW_LONG = frozenset({"resume", "device", "report_every"})  # may differ when a training is taken up again


class TrainError(ModelError):
    """The training cannot start as asked; the message says what was found and what would do."""


@dataclass(frozen=True)
class Source:
    """Where one data set comes from; `weight` is its share among all sets, None: its number of rows."""

    path: str
    weight: float | None = None


@dataclass(frozen=True)
class TrainSettings:
    """One training: base, data, loss, schedule. Widths descend; () stands for those of `default_widths`."""

    base: str
    data: tuple[Source, ...]
    out: Path
    eval: tuple[str, ...] = ()
    held_out: float = 0.05  # part of every set that is kept for evaluation, at most `held_out_rows`
    held_out_rows: int = 500
    columns: tuple[str, ...] = ()
    score_range: tuple[float, float] = (0.0, 1.0)
    losses: tuple[str, ...] = ()
    shape: Shape = "matryoshka"
    widths: tuple[int, ...] = ()
    width_weights: tuple[float, ...] = ()
    widths_per_step: int = -1  # -1: all of them
    layers: int | None = None  # keep this many of the base's layers
    mine_negatives: int = 0  # a pair
    head_only: bool = False
    cache: Path = Path(".cache/train")  # features of a frozen body
    batch: int = 32  # rows in a step
    mini_batch: int = 0  # rows embedded at once by the cached losses; 0: no cached loss unless asked for by name
    epochs: float = 1.0
    max_steps: int = -1  # -1: as many as the epochs have
    learning_rate: float | None = None  # None: 2e-5, or 1e-3 for a head alone
    warmup: float = 0.1  # part of all steps
    max_tokens: int | None = None
    seed: int = 0
    precision: Precision = "auto"
    device: str | None = None
    eval_every: int = 0  # steps; 0: at every tenth of the training
    save_every: int = 0  # steps; 0: at every evaluation
    report_every: int = 10
    resume: bool = False

    def rate(self) -> float:
        """The learning rate, chosen by what is trained when none was given."""
        return self.learning_rate if self.learning_rate is not None else (1e-3 if self.head_only else 2e-5)

    def told(self) -> dict[str, Any]:
        """The settings as JSON keeps them."""
        return {name: _plain(value) for name, value in asdict(self).items() if name != "resume"}


def parse_source(text: str) -> Source:
    """`FILE` or `FILE:weight`; a colon that no number follows belongs to the name. TrainError for a weight <= 0."""
    path, colon, last = text.rpartition(":")
    try:
        weight = float(last) if colon else None
    except ValueError:
        weight = None
    if weight is None or not path:
        return Source(text)
    if not 0 < weight < float("inf"):
        raise TrainError(f"{text}: a weight is a number above 0, got {last}")
    return Source(path, weight)


def default_widths(width: int) -> tuple[int, ...]:
    """The full width and the powers of two below it down to 32, or, of narrower vectors, its halves down to 8."""
    least = 32 if width > 32 else 8
    return (width, *(one for one in (2**power for power in range(14, 2, -1)) if least <= one < width))


def choose_training_widths(width: int, asked: tuple[int, ...]) -> tuple[int, ...]:
    """The widths to train, descending, always with the full one. Raises TrainError for what the model has not."""
    if not asked:
        return default_widths(width)
    if wrong := [one for one in asked if not 0 < one <= width]:
        raise TrainError(f"--matryoshka-dims {wrong[0]}: expected 1 to {width}, the width of the base, got {wrong[0]}")
    return tuple(sorted({*asked, width}, reverse=True))


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Settings in which a resumed training is another one, as `name: before -> now`."""
    names = [field.name for field in fields(TrainSettings) if field.name not in WHERE_AND_HOW_LONG]
    return [f"{name}: {before.get(name)} -> {now.get(name)}" for name in names if before.get(name) != now.get(name)]


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return [_plain(one) for one in value] if isinstance(value, tuple | list) else value
