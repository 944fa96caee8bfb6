"""Training sets from files: which columns are what, which kind of set they make, rows that cannot be used.

Three kinds. `pairs`: anchor, positive. `triplets`: anchor, positive, negative(s). `scored`: two sentences and a score.
Files are read as `funnel ingest` reads them; a folder is what Hugging Face `datasets` saved, or one that holds
`pairs` or `train` with a known suffix.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from app.records import FORMATS, rows
from app.rows import RecordError, kind_of_value
from app.train_settings import Source

Kind = Literal["pairs", "triplets", "scored"]
Columns = dict[str, list[Any]]  # in the order in which a loss takes them; "score" last
KNOWN: dict[str, tuple[str, ...]] = {
    "anchor": ("anchor", "query", "question", "sentence1", "title"),
    "positive": ("positive", "text", "answer", "sentence2", "passage", "context"),
    "negative": ("negative", "negatives", "hard_negative"),
    "score": ("score", "label", "similarity_score"),
}
STEMS = ("pairs", "train")


@dataclass(frozen=True)
class TrainingSet:
    """The rows of one set, column by column; scores lie in 0..1."""

    name: str
    kind: Kind
    columns: Columns
    weight: float | None = None
    dropped: int = 0  # rows left out because a side was empty

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def take(self, picked: Sequence[int]) -> "TrainingSet":
        """The same set with these rows alone, in this order."""
        columns = {name: [values[row] for row in picked] for name, values in self.columns.items()}
        return TrainingSet(self.name, self.kind, columns, self.weight, self.dropped)


@dataclass(frozen=True)
class Roles:
    """Which column of a file plays which role; `negatives` and `score` may be absent."""

    anchor: str
    positive: str
    negatives: tuple[str, ...] = ()
    score: str | None = None


@dataclass
class _Rows:
    """What has been gathered of a file, by the number of negatives that a row has."""

    groups: dict[int, list[tuple[Any, ...]]] = field(default_factory=dict)
    dropped: int = 0


def read_sets(
    source: Source, columns: Sequence[str] = (), score_range: tuple[float, float] = (0.0, 1.0)
) -> list[TrainingSet]:
    """The sets of a file: one, or two when only some of its rows have negatives.

    `columns` names anchor, positive and what follows when the file's own names are not known. Scores are brought
    from `score_range` to 0..1. Raises RecordError: no such file, unknown columns, a row that is none, a score outside.
    """
    place = find_file(source.path)
    gathered = _Rows()
    roles: Roles | None = None
    for where, row in _all_rows(place):
        roles = roles or find_roles(row, columns, source.path)
        _gather(gathered, row, roles, where)
    if roles is None or not gathered.groups:
        raise RecordError(f"{source.path}: there is no row to train on ({gathered.dropped} with an empty side)")
    if roles.score:
        _scale(gathered.groups[0], score_range, source.path)
    return _as_sets(set_name(place), gathered, roles, source.weight)


def find_file(path: str) -> Path:
    """The file behind a path: itself, or what a folder holds. Raises RecordError."""
    place = Path(path).expanduser()
    if not place.exists():
        raise RecordError(f"{path}: there is no such file or folder")
    if place.is_file() or is_saved_dataset(place):
        return place
    names = [f"{stem}{suffix}{end}" for stem in STEMS for suffix in FORMATS for end in ("", ".gz")]
    found = next((place / name for name in names if (place / name).is_file()), None)
    if found is None:
        raise RecordError(f"{path}: neither a folder of Hugging Face datasets nor one with {' or '.join(STEMS)}.*")
    return found


def is_saved_dataset(place: Path) -> bool:
    """Whether `datasets` saved this folder: a Dataset, or a DatasetDict with its splits."""
    return (place / "dataset_dict.json").is_file() or (place / "dataset_info.json").is_file()


def set_name(place: Path) -> str:
    """The name of a set: that of its file, or of its folder if the file is merely called pairs or train."""
    stem = place.name.split(".")[0]
    return place.resolve().parent.name if stem in (*STEMS, "test", "dev") else stem


def find_roles(row: dict[str, Any], columns: Sequence[str], source: str) -> Roles:
    """What the columns of a row are, by `columns` or by their names. Raises RecordError naming what was found."""
    if columns:
        return _named_roles(row, columns, source)
    anchor, positive, score = (_first(row, role) for role in ("anchor", "positive", "score"))
    if anchor is None or positive is None:
        missing = "anchor" if anchor is None else "positive"
        raise RecordError(
            f"{source}: no column is the {missing} ({', '.join(KNOWN[missing])}); found {', '.join(row) or 'none'}. "
            "Name them with --columns anchor,positive[,negative or score]"
        )
    if score is not None:
        return Roles(anchor, positive, score=score)
    numbered = [name for name in row if name.startswith("negative_")]
    return Roles(anchor, positive, tuple(name for name in (*KNOWN["negative"], *numbered) if name in row))


def _named_roles(row: dict[str, Any], columns: Sequence[str], source: str) -> Roles:
    if len(columns) < 2:
        raise RecordError(f"--columns takes 2 names or more, got {len(columns)}: {', '.join(columns)}")
    if missing := [name for name in columns if name not in row]:
        raise RecordError(f"{source}: there is no column {missing[0]!r}; found {', '.join(row)}")
    if len(columns) == 3 and _as_number(row[columns[2]]) is not None:
        return Roles(columns[0], columns[1], score=columns[2])
    return Roles(columns[0], columns[1], tuple(columns[2:]))


def _first(row: dict[str, Any], role: str) -> str | None:
    return next((name for name in KNOWN[role] if name in row), None)


def _all_rows(place: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every row with where it stands; the first broken one ends the reading."""
    if place.is_dir():
        yield from _saved_rows(place)
        return
    for line, row, error in rows(str(place)):
        if row is None:
            raise RecordError(f"{place} line {line}: {error}")
        yield f"{place} line {line}", row


def _saved_rows(place: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    from datasets import load_from_disk

    saved = load_from_disk(str(place))
    if hasattr(saved, "keys") and "train" not in saved:
        raise RecordError(f"{place}: expected a split train, found {', '.join(saved)}")
    for line, row in enumerate(saved["train"] if hasattr(saved, "keys") else saved, 1):
        yield f"{place} row {line}", row


def _gather(gathered: _Rows, row: dict[str, Any], roles: Roles, where: str) -> None:
    sides = _text(row, roles.anchor, where), _text(row, roles.positive, where)
    if not all(sides):
        gathered.dropped += 1
    elif roles.score:
        gathered.groups.setdefault(0, []).append((*sides, _score(row, roles.score, where)))
    else:
        negatives = _negatives(row, roles, where)
        gathered.groups.setdefault(len(negatives), []).append((*sides, *negatives))


def _text(row: dict[str, Any], name: str, where: str) -> str:
    value = row.get(name)
    if value is None or isinstance(value, str):
        return (value or "").strip()
    raise RecordError(f"{where}: column {name!r} must be a text, got {kind_of_value(value)}")


def _negatives(row: dict[str, Any], roles: Roles, where: str) -> list[str]:
    found: list[str] = []
    for name in roles.negatives:
        value = row.get(name)
        texts = value if isinstance(value, list) else [value]
        found += [_text({name: text}, name, where) for text in texts]
    return [text for text in found if text]


def _score(row: dict[str, Any], name: str, where: str) -> float:
    number = _as_number(row.get(name))
    if number is None:
        raise RecordError(f"{where}: column {name!r} must be a number, got {row.get(name)!r}")
    return number


def _as_number(value: Any) -> float | None:
    try:
        return None if value is None or isinstance(value, bool | list) else float(value)
    except (TypeError, ValueError):
        return None


def _scale(group: list[tuple[Any, ...]], expected: tuple[float, float], source: str) -> None:
    """Scores from `expected` to 0..1, in place."""
    low, high = expected
    least, most = min(row[-1] for row in group), max(row[-1] for row in group)
    if not low <= least <= most <= high:
        raise RecordError(
            f"{source}: scores run from {least:g} to {most:g}, expected {low:g} to {high:g}; "
            f"give --score-range LOW,HIGH, such as --score-range {min(0, least):g},{most:g}"
        )
    group[:] = [(*row[:-1], (row[-1] - low) / (high - low)) for row in group]


def _as_sets(name: str, gathered: _Rows, roles: Roles, weight: float | None) -> list[TrainingSet]:
    total = sum(map(len, gathered.groups.values()))
    sets: list[TrainingSet] = []
    for count, group in sorted(gathered.groups.items(), key=lambda item: -len(item[1])):
        last = ["score"] if roles.score else ["negative"] if count == 1 else [f"negative_{n + 1}" for n in range(count)]
        names = ["sentence1", "sentence2"] if roles.score else ["anchor", "positive"]
        kind: Kind = "scored" if roles.score else "triplets" if count else "pairs"
        columns = dict(zip([*names, *last], map(list, zip(*group, strict=True)), strict=False))
        share = weight * len(group) / total if weight is not None else None
        own = name if not sets else f"{name}-{count}-negatives" if count else f"{name}-pairs"
        sets.append(TrainingSet(own, kind, columns, share, 0 if sets else gathered.dropped))
    return sets
