"""Evaluation at every width during a training: evaluators of sentence-transformers, and texts embedded once for all.

Scored pairs: Spearman's correlation of cosine and score. Pairs and triplets: nDCG@10 of anchors that search all
positives and negatives of the set.
"""

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.evaluation import BaseEvaluator, SequentialEvaluator
from sentence_transformers.sentence_transformer.evaluation import (
    EmbeddingSimilarityEvaluator,
    InformationRetrievalEvaluator,
)
from sentence_transformers.util import cos_sim

from app.train_rows import TrainingSet
from app.train_settings import TrainSettings

Scores = dict[str, dict[int, float]]  # "set measure" -> width -> value


def split(one: TrainingSet, settings: TrainSettings) -> tuple[TrainingSet, TrainingSet | None]:
    """What is trained on, and the held-out rows; None when the part is less than 2 rows. The seed decides."""
    count = min(int(len(one) * settings.held_out), settings.held_out_rows)
    if count < 2:
        return one, None
    order = np.random.default_rng(settings.seed).permutation(len(one))
    return one.take(np.sort(order[count:]).tolist()), one.take(np.sort(order[:count]).tolist())


class WidthsEvaluator(SequentialEvaluator):
    """Runs one evaluator for every set and width; its main score is the mean of all."""

    def __init__(self, sets: Sequence[TrainingSet], widths: Sequence[int], batch: int) -> None:
        self.parts = [(one, width, _evaluator(one, width, batch)) for one in sets for width in widths]
        super().__init__([part[2] for part in self.parts], lambda scores: float(np.mean(scores)))
        self.history: list[Scores] = []

    def __call__(
        self, model: Any, output_path: str | None = None, epoch: int = -1, steps: int = -1
    ) -> dict[str, float]:
        results = super().__call__(cast(Any, EncodedOnce(model)), output_path, epoch, steps)
        self.history.append(self._by_width(results))
        return results

    def _by_width(self, results: dict[str, float]) -> Scores:
        scores: Scores = {}
        for one, width, evaluator in self.parts:
            measure = "Spearman" if one.kind == "scored" else "nDCG@10"
            scores.setdefault(f"{one.name} {measure}", {})[width] = float(results[str(evaluator.primary_metric)])
        return scores


class EncodedOnce:
    """A model that embeds a list of texts once, however many widths of it are asked for; all else is the model's."""

    def __init__(self, model: SentenceTransformer) -> None:
        self._model = model
        self._kept: dict[tuple[str, tuple[str, ...]], Any] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def encode(self, texts: Sequence[str], **options: Any) -> Any:
        return self._once("encode", self._model.encode, texts, **options)

    def encode_query(self, texts: Sequence[str], **options: Any) -> Any:
        return self._once("query", self._model.encode_query, texts, **options)

    def encode_document(self, texts: Sequence[str], **options: Any) -> Any:
        return self._once("document", self._model.encode_document, texts, **options)

    def _once(
        self, way: str, encode: Callable[..., Any], texts: Sequence[str], truncate_dim: int | None, **options: Any
    ) -> Any:
        key = way, tuple(texts)
        if key not in self._kept:
            self._kept[key] = encode(list(texts), truncate_dim=None, **options)
        return self._kept[key][:, :truncate_dim]


def _evaluator(one: TrainingSet, width: int, batch: int) -> BaseEvaluator:
    """The evaluator of sentence-transformers for a kind of set, at one width."""
    name = f"{one.name}-{width}"
    if one.kind == "scored":
        scored = one.columns["sentence1"], one.columns["sentence2"], one.columns["score"]
        return EmbeddingSimilarityEvaluator(
            *scored, batch, "cosine", ["cosine"], name=name, write_csv=False, truncate_dim=width
        )
    texts = dict.fromkeys(text for column, rows in one.columns.items() if column != "anchor" for text in rows)
    ids = {text: str(row) for row, text in enumerate(texts)}
    queries = {text: str(row) for row, text in enumerate(dict.fromkeys(one.columns["anchor"]))}
    relevant: dict[str, set[str]] = {}
    for anchor, positive in zip(one.columns["anchor"], one.columns["positive"], strict=True):
        relevant.setdefault(queries[anchor], set()).add(ids[positive])
    return InformationRetrievalEvaluator(
        {row: text for text, row in queries.items()},
        {row: text for text, row in ids.items()},
        relevant,
        batch_size=batch,
        name=name,
        write_csv=False,
        truncate_dim=width,
        score_functions={"cosine": cos_sim},
        main_score_function="cosine",
    )
