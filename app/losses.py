"""The losses of training: one table from names to the classes of sentence-transformers, and what is put around them.

The name is for the command line; every class, its formula and its paper are in sentence-transformers' documentation.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import losses
from sentence_transformers.sentence_transformer.modules import Transformer
from torch import nn

from app.train_rows import Kind, TrainingSet
from app.train_settings import TrainError, TrainSettings


@dataclass(frozen=True)
class Loss:
    """One row of the table: the class, the kinds of sets it takes, options that differ from the class's own."""

    make: Callable[..., nn.Module]
    kinds: tuple[Kind, ...]
    cached: bool = False  # embeds a large batch in small pieces (GradCache)
    in_batch: bool = False  # other rows of the batch are negatives: no text may occur twice in it
    one_negative: bool = False
    options: Mapping[str, Any] = field(default_factory=dict)


COSINE = {"distance_metric": losses.TripletDistanceMetric.COSINE, "triplet_margin": 0.25}
BOTH_WAYS = {"directions": ("query_to_doc", "doc_to_query"), "partition_mode": "per_direction"}
RANKED: tuple[Kind, ...] = ("pairs", "triplets")

LOSSES: dict[str, Loss] = {
    "mnrl": Loss(losses.MultipleNegativesRankingLoss, RANKED, in_batch=True),
    "cached-mnrl": Loss(losses.CachedMultipleNegativesRankingLoss, RANKED, cached=True, in_batch=True),
    "symmetric": Loss(losses.MultipleNegativesRankingLoss, RANKED, in_batch=True, options=BOTH_WAYS),
    "cached-symmetric": Loss(
        losses.CachedMultipleNegativesRankingLoss, RANKED, cached=True, in_batch=True, options=BOTH_WAYS
    ),
    "triplet": Loss(losses.TripletLoss, ("triplets",), one_negative=True, options=COSINE),
    "cosent": Loss(losses.CoSENTLoss, ("scored",)),
    "angle": Loss(losses.AnglELoss, ("scored",)),
    "cosine": Loss(losses.CosineSimilarityLoss, ("scored",)),
}
DEFAULTS: dict[Kind, str] = {"pairs": "mnrl", "triplets": "mnrl", "scored": "cosent"}


def choose_losses(sets: Sequence[TrainingSet], settings: TrainSettings) -> dict[str, str]:
    """Set -> name of its loss: the first of `settings.losses` that takes its kind, else the usual one.

    Raises TrainError for a name that is not in the table, a loss that fits no set, or one that the shape excludes.
    """
    if unknown := [name for name in settings.losses if name not in LOSSES]:
        raise TrainError(f"--loss {unknown[0]}: there is no such loss; known are {', '.join(LOSSES)}")
    chosen = {one.name: _choose(one.kind, settings) for one in sets}
    if idle := [name for name in settings.losses if name not in chosen.values()]:
        kinds = ", ".join(f"{one.name}: {one.kind}" for one in sets)
        raise TrainError(f"--loss {idle[0]} takes {' or '.join(LOSSES[idle[0]].kinds)}, and no set uses it ({kinds})")
    for one in sets:
        _check(one, chosen[one.name], settings)
    return chosen


def build_loss(model: SentenceTransformer, name: str, settings: TrainSettings, widths: Sequence[int]) -> nn.Module:
    """The loss `name` with what `settings.shape` puts around it, at `widths` (descending, the full one first)."""
    row = LOSSES[name]
    cached = {"mini_batch_size": settings.mini_batch or min(32, settings.batch)} if row.cached else {}
    base = row.make(model, **row.options, **cached)
    wide: dict[str, Any] = {"matryoshka_dims": list(widths), "matryoshka_weights": list(settings.width_weights) or None}
    if settings.shape == "matryoshka":
        return losses.MatryoshkaLoss(model, base, **wide, n_dims_per_step=settings.widths_per_step)
    if settings.shape == "2d":
        return losses.Matryoshka2dLoss(model, base, **wide, n_dims_per_step=settings.widths_per_step)
    return losses.AdaptiveLayerLoss(model, base) if settings.shape == "layers" else base


def check_model(model: SentenceTransformer, settings: TrainSettings, widths: Sequence[int]) -> None:
    """Raises TrainError when the model has no layers to cut, or the weights do not go with the widths."""
    if settings.shape in ("2d", "layers") and not isinstance(model[0], Transformer):
        raise TrainError(f"{settings.base} begins with {type(model[0]).__name__}: only a Transformer is cut in depth")
    if settings.width_weights and len(settings.width_weights) != len(widths):
        told = ", ".join(map(str, widths))
        raise TrainError(
            f"--matryoshka-weights: {len(widths)} widths ({told}) but {len(settings.width_weights)} weights"
        )
    if settings.widths_per_step == 0 or settings.widths_per_step > len(widths):
        raise TrainError(f"--n-dims-per-step: expected -1 or 1 to {len(widths)}, got {settings.widths_per_step}")


def uses_other_rows(names: Sequence[str]) -> bool:
    """Whether any of these losses takes other rows of a batch for negatives."""
    return any(LOSSES[name].in_batch for name in names)


def _choose(kind: Kind, settings: TrainSettings) -> str:
    fitting = [name for name in settings.losses if kind in LOSSES[name].kinds]
    usual = DEFAULTS[kind]
    if usual == "mnrl" and settings.mini_batch:
        usual = "cached-mnrl"
    return fitting[0] if fitting else usual


def _check(one: TrainingSet, name: str, settings: TrainSettings) -> None:
    row, negatives = LOSSES[name], sum(column.startswith("negative") for column in one.columns)
    if row.one_negative and negatives != 1:
        raise TrainError(f"--loss {name} takes 1 negative a row, {one.name} has {negatives}")
    if row.cached and settings.shape in ("2d", "layers"):
        raise TrainError(f"--loss {name} keeps one batch of gradients and cannot be used for several layers; use mnrl")
