"""A head alone: the body frozen, its features computed once and kept on disk, a matrix trained behind it.

The matrix starts as the identity (orthogonal: it changes nothing) and is trained by the same trainer and the same
losses as a whole model; a step is a few small products instead of a pass through the body.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import InputModule
from sentence_transformers.sentence_transformer.modules import Dense, Normalize
from torch import Tensor, nn

from app.compose import linear
from app.features import chunk_file, kept
from app.lane import prompts_of
from app.train_model import width_of
from app.train_rows import TrainingSet
from app.train_sets import prompt_of

CHUNK = 1024  # texts in a file of the cache
Progress = Callable[[int, int], None]  # done, of all


class FeatureTable(InputModule):
    """Stands for a frozen body: looks its output up by text. It has nothing to train and nothing to save."""

    config_keys: list[str] = []  # noqa: RUF012 - what the base class declares

    def __init__(self, rows: dict[str, int], features: np.ndarray) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.rows, self.features = rows, features  # prompt + text -> row; (n, width) float32

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **kwargs: Any) -> dict[str, Tensor]:
        """The rows of these texts as the embedding that the next module gets.

        Without a prompt where every text has one, only the model card is asking how long the texts are: nothing.
        """
        if prompt is None and any(text not in self.rows for text in inputs):
            return {}
        rows = [self.rows[(prompt or "") + text] for text in inputs]
        return {"sentence_embedding": torch.from_numpy(self.features[rows])}

    def forward(self, features: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """Nothing is left to do; the copy keeps the batch as it was for the next width."""
        return dict(features)

    def get_embedding_dimension(self) -> int:
        """The width of the body's output."""
        return int(self.features.shape[1])

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Nothing: the features stay in the cache."""


def over_features(
    base: SentenceTransformer, sets: Iterable[TrainingSet], cache: Path, progress: Progress
) -> SentenceTransformer:
    """A small model for the trainer: the features of all texts of the sets, a matrix, unit length."""
    texts = texts_of(sets, base)
    features = encode_cached(base, texts, cache, progress)
    width = width_of(base)
    modules: list[nn.Module] = [
        FeatureTable({text: row for row, text in enumerate(texts)}, features),
        identity(width),
        Normalize(),
    ]
    return SentenceTransformer(
        modules=modules, prompts=own_prompts(base), device=str(base.device), similarity_fn_name="cosine"
    )


def with_head(base: SentenceTransformer, trained: SentenceTransformer) -> SentenceTransformer:
    """The whole model: the base, the trained matrix behind it, unit length."""
    trained_card = trained.model_card_data
    whole = SentenceTransformer(
        modules=[*base, trained[1], Normalize()],
        prompts=own_prompts(base),
        device=str(base.device),
        similarity_fn_name="cosine",
        model_card_data=trained_card,
    )
    trained_card.register_model(whole)
    return whole


def own_prompts(model: SentenceTransformer) -> dict[str, str]:
    """The prompts that a model has, by their names."""
    return {name: text for name, text in model.prompts.items() if text is not None}


def identity(width: int) -> Dense:
    """A matrix without bias or activation that changes nothing yet."""
    return linear(torch.eye(width))


def texts_of(sets: Iterable[TrainingSet], model: SentenceTransformer) -> list[str]:
    """Every text of the sets once, behind the prompt of its column, in order of first appearance."""
    prompts = prompts_of(model)
    found: dict[str, None] = {}
    for one in sets:
        for name, column in one.columns.items():
            if name != "score":
                prompt = prompt_of(name, prompts)
                found.update(dict.fromkeys(prompt + text for text in column))
    return list(found)


def encode_cached(model: SentenceTransformer, texts: Sequence[str], cache: Path, progress: Progress) -> np.ndarray:
    """The model's (n, width) float32 output; a chunk that was computed before, by any run, is read from `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    identity_of_model = weights_hash(model)
    blocks = []
    for start in range(0, len(texts), CHUNK):
        chunk = list(texts[start : start + CHUNK])
        blocks.append(kept(chunk_file(cache, identity_of_model, chunk), partial(_encode, model, chunk)))
        progress(start + len(chunk), len(texts))
    return np.concatenate(blocks)


def weights_hash(model: SentenceTransformer) -> str:
    """64 hexadecimal digits over everything that decides a vector: weights, modules, token limit."""
    digest = hashlib.sha256(f"{[type(one).__name__ for one in model]} {model.max_seq_length}".encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _encode(model: SentenceTransformer, texts: list[str]) -> np.ndarray:
    return np.asarray(model.encode(texts, prompt="", show_progress_bar=False), dtype=np.float32)
