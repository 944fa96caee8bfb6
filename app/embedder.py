"""Text to vectors: what the rest of the service sees of a model.

Importing this module is cheap: torch and sentence-transformers are imported when a model is loaded, so a service
that only keeps vectors of others (FUNNEL_MODEL=none) never pays for them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from index.errors import FunnelError
from index.space import Space

if TYPE_CHECKING:
    from app.settings import Settings


Task = Literal["query", "document"]


class ModelError(FunnelError):
    """The model cannot be loaded, or cannot serve the widths asked for; the message says what to do."""


@dataclass(frozen=True)
class Embedded:
    """The vectors of a list of texts, and which texts the model did not read to their end."""

    vectors: np.ndarray  # (n, dim) float32, unit rows
    truncated: np.ndarray  # (n,) bool


class Embedder(Protocol):
    """A model in service. The two methods may be called at the same time from two threads."""

    space: Space
    model_name: str
    revision: str | None
    matryoshka_dims: tuple[int, ...]  # trained widths, descending; () when unknown
    max_tokens: int | None
    notice: str | None  # what a user should know, such as why every search is exact

    def embed_documents(self, texts: Sequence[str]) -> Embedded:
        """Vectors of document texts; InvalidVector if the model gives NaN, Inf or zeros."""

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        """(n, dim) float32 unit rows of query texts; InvalidVector if the model gives NaN, Inf or zeros."""

    def count_tokens(self, texts: Sequence[str], task: Task) -> int:
        """Tokens that the model reads of these texts, with its prompt and marks; 0 if it has none. From any thread."""


def load_embedder(settings: "Settings", rotated: Sequence[int] = ()) -> Embedder | None:
    """The embedder that the settings name; None for FUNNEL_MODEL=none. Raises ModelError.

    `rotated` are widths that a rotation was learned for: they may be the prefix although the model was not trained.
    """
    if settings.model == "none":
        return None
    if settings.model == "bundled" and on_cpu(settings.device):
        from app.bundled_model import BundledEmbedder

        return BundledEmbedder(settings, rotated)
    from app.model import load_model

    return load_model(settings, rotated)


def on_cpu(device: str | None) -> bool:
    """Whether a model runs on the processor, where one that is unset is chosen as sentence-transformers does."""
    if device is not None:
        return device == "cpu"
    import torch

    return not any(kind.is_available() for kind in (torch.cuda, torch.backends.mps, torch.xpu))
