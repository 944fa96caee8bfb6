#!/usr/bin/env python3
"""The twin experiment: one base, one data set, trained with Matryoshka losses and without; Spearman at every width.

Each model is trained on STSb's train pairs as `funnel train` does it (CoSENTLoss) and measured on its test pairs.
Intervals are 95 %, by bootstrap over the test pairs, all seeds together; `2d` models are measured with fewer layers
too, each saved and loaded again. Trained models and vectors stay in --work: an interrupted run goes on.

    ./scripts/evaluate_twins.py --data ../shared/data/stsb minilm-6 minilm-3      both, into docs/results/twins.json
    ./scripts/evaluate_twins.py --data ../shared/data/stsb minilm-head --seeds 0,1,2
    ./scripts/evaluate_twins.py --page                                            docs/twins.md from the stored results
"""

import argparse
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from harness import console, origin
from scipy.stats import rankdata
from sentence_transformers import SentenceTransformer
from twins_page import write_page

from app.bundle import body_folder
from app.compose import load_folder
from app.similarity import ScoredPairs, cosines, read_scored_pairs
from app.train import train
from app.train_model import keep_layers, layers_of, open_base, width_of
from app.train_settings import Shape, Source, TrainSettings, default_widths

RESULTS = Path("docs/results/twins.json")
SAMPLES, LEVEL = 1_000, 0.95
NARROWEST = 16


@dataclass(frozen=True)
class Experiment:
    """One base and how its twins are trained."""

    base: str
    shapes: tuple[Shape, ...] = ("none", "matryoshka")
    layers: int | None = None
    head_only: bool = False
    epochs: float = 1.0
    learning_rate: float = 5e-5
    batch: int = 32
    max_tokens: int = 32  # of a sentence; 99 % of STSb's are shorter
    seeds: tuple[int, ...] = (0,)


BODY = "all-MiniLM-L6-v2"
EXPERIMENTS = {
    "minilm-6": Experiment(BODY),
    "minilm-3": Experiment(BODY, ("none", "matryoshka", "2d"), layers=3),
    "minilm-head": Experiment(BODY, head_only=True, epochs=10, learning_rate=1e-3, seeds=(0, 1, 2)),
    "bundled-head": Experiment("bundled", head_only=True, epochs=10, learning_rate=1e-3, seeds=(0, 1, 2)),
}


def main() -> None:
    """Run the named experiments and write results and page."""
    options = parse()
    torch.set_num_threads(options.threads)
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in options.experiments:
        chosen = EXPERIMENTS[name]
        if options.seeds:
            chosen = replace(chosen, seeds=tuple(int(seed) for seed in options.seeds.split(",")))
        if options.shapes:
            chosen = replace(chosen, shapes=tuple(options.shapes.split(",")))
        result = run(name, chosen, options.data, options.work)
        results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}  # another run may have ended meanwhile
        results[name] = {**origin(), **result}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    write_page(results)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=", ".join(EXPERIMENTS))
    parser.add_argument("--data", type=Path, help="folder with train.tsv and test.tsv")
    parser.add_argument("--work", type=Path, default=Path(".cache/twins"), help="trained models (default: %(default)s)")
    parser.add_argument("--seeds", help="with commas, instead of those of the experiment")
    parser.add_argument("--shapes", help="none and matryoshka, perhaps 2d, with commas, instead of those of it")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--page", action="store_true", help="only write the page again")
    options = parser.parse_args()
    if unknown := [name for name in options.experiments if name not in EXPERIMENTS]:
        parser.error(f"there is no experiment {unknown[0]}; there are {', '.join(EXPERIMENTS)}")
    if options.experiments and options.data is None:
        parser.error("--data is needed: the folder with train.tsv and test.tsv")
    if not options.experiments and not options.page:
        parser.error("name an experiment, or --page")
    return options


def run(name: str, experiment: Experiment, data: Path, work: Path) -> dict[str, Any]:
    """Train, measure, and put intervals to one experiment."""
    pairs = read_scored_pairs(data / "test.tsv")
    base = open_base(place_of(experiment.base), "cpu", experiment.layers, experiment.max_tokens)
    widths = [*default_widths(width_of(base)), NARROWEST]
    models: dict[str, Any] = {"base": curve([correlations(base, pairs, widths)], widths)}
    samples = {}
    depth: dict[str, Any] = {}
    for shape in experiment.shapes:
        folders = [trained(name, experiment, shape, seed, data, work) for seed in experiment.seeds]
        samples[shape] = [correlations(load(folder, experiment), pairs, widths) for folder in folders]
        models[shape] = curve(samples[shape], widths)
        if shape == "2d":
            depth = {shape: by_layers(folders[0], experiment, pairs, widths)}
            if "matryoshka" in experiment.shapes:
                twin = trained(name, experiment, "matryoshka", experiment.seeds[0], data, work)
                depth["matryoshka"] = by_layers(twin, experiment, pairs, widths)
    return {
        "experiment": {**vars(experiment), "pairs": len(pairs.first)},
        "widths": widths,
        "models": models,
        "difference": difference(samples["matryoshka"], samples["none"], widths),
        "layers": depth,
    }


def place_of(base: str) -> str:
    """The folder of a base that comes with a package."""
    return str(body_folder()) if base == BODY else base


def trained(name: str, experiment: Experiment, shape: Shape, seed: int, data: Path, work: Path) -> Path:
    """The folder of one trained model; trained now if it is not there."""
    out = work / f"{name}-{shape}-{seed}"
    if (out / "modules.json").exists():
        return out
    settings = TrainSettings(
        base=place_of(experiment.base),
        data=(Source(str(data / "train.tsv")),),
        out=out,
        held_out=0,
        score_range=(0.0, 5.0),
        shape=shape,
        widths=tuple(experiment_widths(experiment)),
        layers=experiment.layers,
        head_only=experiment.head_only,
        cache=work / "features",
        batch=experiment.batch,
        epochs=experiment.epochs,
        learning_rate=experiment.learning_rate,
        max_tokens=experiment.max_tokens,
        seed=seed,
        device="cpu",
        resume=(out / "checkpoints").is_dir() and any((out / "checkpoints").glob("checkpoint-*")),
    )
    start = time.monotonic()

    def show(what: str, done: int, total: int, loss: float) -> None:
        if done % 20 == 0 or done == total:
            console.print(f"  {out.name}: {what} {done} of {total}, {time.monotonic() - start:.0f} s, loss {loss:.3f}")

    train(settings, show)
    return out


def experiment_widths(experiment: Experiment) -> Iterator[int]:
    """What the Matryoshka losses train: the default widths and the narrowest one that is measured."""
    base = open_base(place_of(experiment.base), "cpu")
    yield from (*default_widths(width_of(base)), NARROWEST)


def load(folder: Path, experiment: Experiment) -> SentenceTransformer:
    """A trained model as it was saved."""
    model = load_folder(str(folder), device="cpu")
    model.max_seq_length = experiment.max_tokens
    return model


def by_layers(
    folder: Path, experiment: Experiment, pairs: ScoredPairs, widths: Sequence[int]
) -> dict[int, dict[int, float]]:
    """Layers kept -> width -> Spearman; every cut model is saved and loaded again before it is measured."""
    table = {}
    for count in range(len(layers_of(load(folder, experiment))), 0, -1):
        cut = folder.with_name(f"{folder.name}-cut-{count}")
        keep_layers(load(folder, experiment), count).save_pretrained(str(cut), create_model_card=False)
        again = load(cut, experiment)
        if len(layers_of(again)) != count:
            raise RuntimeError(f"{cut} was saved with {count} layers and loaded with {len(layers_of(again))}")
        values = correlations(again, pairs, widths)[:, 0]
        table[count] = {width: round(float(value), 4) for width, value in zip(widths, values, strict=True)}
    return table


def correlations(model: SentenceTransformer, pairs: ScoredPairs, widths: Sequence[int]) -> np.ndarray:
    """(widths, 1 + SAMPLES) Spearman: of all test pairs first, then of every bootstrap sample of them."""
    texts = list(dict.fromkeys([*pairs.first, *pairs.second]))
    rows = {text: row for row, text in enumerate(texts)}
    vectors = model.encode(texts, batch_size=32, show_progress_bar=False)
    first, second = (vectors[[rows[text] for text in side]] for side in (pairs.first, pairs.second))
    drawn = np.random.default_rng(0).integers(len(pairs.first), size=(SAMPLES, len(pairs.first)))
    picked = np.vstack([np.arange(len(pairs.first)), drawn])
    scores = rankdata(pairs.scores[picked], axis=1)
    return np.stack([_pearson(rankdata(one[picked], axis=1), scores) for one in cosines(first, second, widths)])


def curve(samples: Sequence[np.ndarray], widths: Sequence[int]) -> dict[str, Any]:
    """Width -> Spearman and share of the full width's, each with its interval; means over the seeds."""
    mean = np.mean(samples, axis=0)
    shares = np.mean([one / one[:1] for one in samples], axis=0)
    by_seed = [[round(float(value), 4) for value in one[:, 0]] for one in samples]
    rows = {width: {"spearman": _estimate(mean[at]), "share": _estimate(shares[at])} for at, width in enumerate(widths)}
    return {"widths": rows, "by_seed": by_seed}


def difference(ours: Sequence[np.ndarray], twin: Sequence[np.ndarray], widths: Sequence[int]) -> dict[int, Any]:
    """Width -> Matryoshka minus twin, of Spearman and of its share, on the same bootstrap samples."""
    raw = np.mean(ours, axis=0) - np.mean(twin, axis=0)
    shares = np.mean([one / one[:1] for one in ours], axis=0) - np.mean([one / one[:1] for one in twin], axis=0)
    return {width: {"spearman": _estimate(raw[at]), "share": _estimate(shares[at])} for at, width in enumerate(widths)}


def _estimate(values: np.ndarray) -> Mapping[str, float]:
    """The value of all pairs, and the percentile interval of the bootstrap samples."""
    low, high = np.quantile(values[1:], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return {"value": round(float(values[0]), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def _pearson(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Row by row; of ranks it is Spearman's."""
    one, other = (rows - rows.mean(axis=1, keepdims=True) for rows in (one, other))
    return (one * other).sum(axis=1) / np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))


if __name__ == "__main__":
    main()
