"""From the sets of a training to what the trainer takes: proportions, mined negatives, prompts."""

from collections.abc import Mapping, Sequence

import numpy as np
from datasets import Dataset, DatasetDict
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import mine_hard_negatives

from app.embedder import Task
from app.lane import prompts_of
from app.rows import RecordError
from app.train_evaluation import split
from app.train_rows import TrainingSet, read_sets
from app.train_settings import Source, TrainError, TrainSettings


def gather(settings: TrainSettings) -> tuple[list[TrainingSet], list[TrainingSet]]:
    """What is trained on and what is evaluated on: held-out rows, or the files of `eval` instead of them.

    Raises RecordError for files that cannot be read, TrainError for a mix of given and missing weights.
    """
    sets = _unique([one for source in settings.data for one in _read(source, settings)])
    if len({one.weight is None for one in sets}) > 1:
        raise TrainError("weights: give one with every --data FILE:weight, or with none")
    if settings.eval:
        return sets, _unique([one for path in settings.eval for one in _read(Source(path), settings)])
    parts = [split(one, settings) for one in sets]
    return [kept for kept, _ in parts], [held for _, held in parts if held is not None]


def rows_of_epoch(sets: Sequence[TrainingSet], seed: int) -> list[list[int]]:
    """Which rows of every set make an epoch, so that the sets' shares are their weights.

    No row is left out: the set that is largest for its weight is taken once, the others are repeated as often as
    it needs, the last time in part and at random. Without weights every row comes once.
    """
    if any(one.weight is None for one in sets):
        return [list(range(len(one))) for one in sets]
    rng = np.random.default_rng(seed)
    unit = max(len(one) / (one.weight or 1.0) for one in sets)
    return [_repeated(len(one), round(unit * (one.weight or 1.0)), rng) for one in sets]


def as_datasets(sets: Sequence[TrainingSet], seed: int) -> DatasetDict:
    """The sets as `datasets` knows them, with the rows of an epoch."""
    picked = rows_of_epoch(sets, seed)
    return DatasetDict({one.name: to_dataset(one).select(rows) for one, rows in zip(sets, picked, strict=True)})


def to_dataset(one: TrainingSet) -> Dataset:
    """One set, its columns in the order in which a loss takes them."""
    return Dataset.from_dict(one.columns)


def with_negatives(one: TrainingSet, model: SentenceTransformer, count: int, batch: int) -> TrainingSet:
    """A set of pairs with `count` hard negatives a pair: the most similar texts of the set that answer other anchors.

    A text more similar than 95 % of the positive's own similarity is taken for another answer and left out
    (NV-Retriever, arXiv 2407.15831). Raises TrainError when the set is too small for it.
    """
    if one.kind != "pairs":
        return one
    prompts = prompts_of(model)
    mined = mine_hard_negatives(
        to_dataset(one),
        model,
        num_negatives=count,
        relative_margin=0.05,
        range_max=max(10 * count, 50),
        output_format="n-tuple",
        batch_size=batch,
        query_prompt=prompts["query"] or None,
        corpus_prompt=prompts["document"] or None,
        verbose=False,
    )
    if not len(mined):
        raise TrainError(f"--mine-negatives {count}: none of the {len(one)} pairs of {one.name} has that many")
    columns = {name: list(mined[name]) for name in mined.column_names}
    return TrainingSet(one.name, "triplets", columns, one.weight, one.dropped + len(one) - len(mined))


def prompts_by_set(sets: Sequence[TrainingSet], model: SentenceTransformer) -> dict[str, dict[str, str]] | None:
    """What the trainer puts before the texts of each column: the base's own prompts; none before scored sentences."""
    prompts = prompts_of(model)
    if not any(prompts.values()):
        return None
    return {one.name: {name: prompt_of(name, prompts) for name in one.columns} for one in sets}


def prompt_of(column: str, prompts: Mapping[Task, str]) -> str:
    """The prompt of a column: a query's before anchors, a document's before what they search."""
    if column == "anchor":
        return prompts["query"]
    return prompts["document"] if column.startswith(("positive", "negative")) else ""


def _read(source: Source, settings: TrainSettings) -> list[TrainingSet]:
    return read_sets(source, settings.columns, settings.score_range)


def _unique(sets: Sequence[TrainingSet]) -> list[TrainingSet]:
    """The sets with names of their own: the second `pairs` becomes `pairs-2`."""
    named: dict[str, TrainingSet] = {}
    for one in sets:
        name, number = one.name, 2
        while name in named:
            name, number = f"{one.name}-{number}", number + 1
        named[name] = TrainingSet(name, one.kind, one.columns, one.weight, one.dropped)
    if not named:
        raise RecordError("there is nothing to train on: give --data FILE")
    return list(named.values())


def _repeated(size: int, wanted: int, rng: np.random.Generator) -> list[int]:
    whole, rest = divmod(wanted, size)
    return [*(list(range(size)) * whole), *rng.permutation(size)[:rest].tolist()]
