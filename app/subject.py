"""What is evaluated: a model's name, its space, and its two ways to embed; made of an embedder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from app.embedder import Embedder, ModelError, load_embedder
from app.settings import load_settings, store_options
from index.errors import InvalidInput
from index.options import StoreOptions
from index.space import Space

STANDARD = (768, 512, 256, 128, 64, 32, 16)  # the widths of the Matryoshka papers
MINILM = "all-MiniLM-L6-v2"
Embed = Callable[[Sequence[str]], np.ndarray]
# (key of the space, role of the texts, texts, embed) -> (n, dim) vectors, embedded now or remembered
Remember = Callable[[str, str, Sequence[str], Embed], np.ndarray]


@dataclass(frozen=True)
class Subject:
    """A model under test. `key` names its vectors, `trained` the widths it may be cut to, () when unknown."""

    name: str
    key: str
    space: Space
    trained: tuple[int, ...]
    documents: Embed
    queries: Embed
    options: StoreOptions = field(default_factory=StoreOptions)

    def widths(self, asked: Sequence[int] | None) -> list[int]:
        """The widths to measure, descending, the full one first; those asked for that the model has, or all usual."""
        wanted = asked or (*STANDARD, self.space.prefix_dim)
        return [self.space.dim, *sorted({width for width in wanted if 0 < width < self.space.dim}, reverse=True)]


def subject_of(embedder: Embedder, name: str | None = None, options: StoreOptions | None = None) -> Subject:
    """An embedder as a subject."""
    return Subject(
        name or embedder.model_name,
        embedder.space.fingerprint_id,
        embedder.space,
        embedder.matryoshka_dims,
        lambda texts: embedder.embed_documents(texts).vectors,
        embedder.embed_queries,
        options or StoreOptions(),
    )


def load_subject(model: str | None) -> Subject:
    """The model of a name, None for that of the settings. A width that nobody trained may be measured all the same."""
    given = {} if model is None else {"model": model}
    settings = load_settings(allow_untrained_prefix=True, **given)
    embedder = load_embedder(settings)
    if embedder is None:
        raise ModelError("FUNNEL_MODEL=none has nothing to embed with; name a model with --model")
    return subject_of(embedder, options=store_options(settings))


def load_subjects(models: Sequence[str]) -> list[Subject]:
    """The named models, or that of the settings; InvalidInput when one is named twice."""
    if twice := [name for place, name in enumerate(models) if name in models[:place]]:
        raise InvalidInput(f"each model is evaluated once; {twice[0]!r} is named twice")
    subjects = [load_subject(model) for model in models or (None,)]
    names = shown_names([one.name for one in subjects])
    return [replace(one, name=name) for one, name in zip(subjects, names, strict=True)]


def shown_names(models: Sequence[str]) -> list[str]:
    """How tables and plots name the models: a folder by its last part, where no other one has the same."""
    short = [Path(name).resolve().name if Path(name).is_dir() else name for name in models]
    return [one if [*short, MINILM].count(one) == 1 else name for one, name in zip(short, models, strict=True)]


def load_minilm() -> Subject:
    """The bundled model's body as it is: 384 dimensions, not trained for fewer."""
    from app.bundle import body_folder  # late: brings torch

    plain = {"model_revision": None, "dim": None, "prefix_dim": "auto", "allow_untrained_prefix": True}
    embedder = load_embedder(load_settings(model=str(body_folder()), **plain))
    assert embedder is not None
    return subject_of(embedder, MINILM)
