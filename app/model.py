"""The embedder behind every model: bundled, a folder, or a hub id, through sentence-transformers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from sentence_transformers import SentenceTransformer

from app.bundle import BUNDLED, composed_id, read_config
from app.compose import load_composed, load_folder
from app.embedder import Embedded, ModelError, Task
from app.identity import find_origin, fingerprint_of, stated_widths, weights_id
from app.known_models import KnownModel, known_model
from app.lane import Lane, max_tokens_of, prompts_of, quiet_loading, twin
from app.packed_body import packed_body
from app.settings import Settings
from app.widths import Widths, choose_widths
from index.matryoshka import normalise
from index.space import FingerprintValue, Space

# What loading a folder that is damaged, or is no model, has been seen to raise.
BROKEN = (OSError, ValueError, ImportError, RuntimeError, LookupError, TypeError, AttributeError, SafetensorError)


class SentenceEmbedder:
    """A sentence-transformers model in service; see `app.embedder.Embedder` for what it promises."""

    def __init__(
        self,
        model: SentenceTransformer,
        name: str,
        widths: Widths,
        fingerprint: Mapping[str, FingerprintValue],
        revision: str | None = None,
        layer_norm_first: bool = False,
    ) -> None:
        self.model_name, self.revision, self.notice = name, revision, widths.notice
        self.matryoshka_dims = widths.trained
        self.max_tokens = max_tokens_of(model)
        self.space = Space(widths.dim, widths.prefix_dim, fingerprint, widths.exact_only)
        self._layer_norm = layer_norm_first
        body = packed_body(model)
        self._queries, self._documents = Lane(twin(model), body), Lane(model, body)

    def embed_documents(self, texts: Sequence[str]) -> Embedded:
        vectors, truncated = self._documents.encode(texts, "document")
        return Embedded(self._finish(vectors), truncated)

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        vectors, _ = self._queries.encode(texts, "query")
        return self._finish(vectors)

    def count_tokens(self, texts: Sequence[str], task: Task) -> int:
        return self._documents.count_tokens(texts, task)

    def _finish(self, vectors: np.ndarray) -> np.ndarray:
        """Layer norm if the model wants it, then truncate, then normalise: (n, width) -> (n, dim)."""
        if not len(vectors):
            return np.zeros((0, self.space.dim), dtype=np.float32)
        if self._layer_norm:
            vectors = layer_norm(vectors)
        return normalise(vectors[:, : self.space.dim])


def layer_norm(vectors: np.ndarray, epsilon: float = 1e-5) -> np.ndarray:
    """Rows with mean 0 and variance 1, as torch's layer norm without weights."""
    centred = vectors - vectors.mean(axis=1, keepdims=True)
    return np.asarray(centred / np.sqrt(centred.var(axis=1, keepdims=True) + epsilon))


def load_model(settings: Settings, rotated: Sequence[int] = ()) -> SentenceEmbedder:
    """The embedder for FUNNEL_MODEL; raises ModelError with what to do. `rotated` as in `choose_widths`."""
    return _load_bundled(settings, rotated) if settings.model == "bundled" else _load_named(settings, rotated)


def _load_bundled(settings: Settings, rotated: Sequence[int]) -> SentenceEmbedder:
    config = read_config()
    with quiet_loading():
        model = load_composed(device=settings.device)
    widths = _widths(settings, model, config["matryoshka_dims"], rotated)
    fingerprint = _fingerprint(model, "bundled", composed_id(BUNDLED), KnownModel())
    return SentenceEmbedder(model, "bundled", widths, fingerprint)


def _load_named(settings: Settings, rotated: Sequence[int]) -> SentenceEmbedder:
    known = known_model(settings.model)
    with _told(settings.model):
        model = _open(settings)
        origin = find_origin(settings.model, settings.model_revision)
        trained = known.dims or stated_widths(origin.folder)
    own = prompts_of(model)
    model.prompts["query"] = own["query"] or known.query_prompt
    model.prompts["document"] = own["document"] or known.document_prompt
    widths = _widths(settings, model, trained, rotated)
    fingerprint = _fingerprint(model, origin.name, weights_id(origin), known)
    return SentenceEmbedder(model, settings.model, widths, fingerprint, origin.commit, known.layer_norm)


def _widths(settings: Settings, model: SentenceTransformer, trained: Sequence[int], rotated: Sequence[int]) -> Widths:
    width = model.get_embedding_dimension()
    if width is None:
        raise ModelError(f"{settings.model} does not say how wide its vectors are")
    asked = (settings.dim, settings.prefix_dim, settings.allow_untrained_prefix)
    return choose_widths(settings.model, width, trained, *asked, rotated)


def _fingerprint(model: SentenceTransformer, name: str, weights: str, known: KnownModel) -> dict[str, FingerprintValue]:
    prompts = prompts_of(model)
    return fingerprint_of(name, weights, prompts["query"], prompts["document"], max_tokens_of(model), known.layer_norm)


def _open(settings: Settings) -> SentenceTransformer:
    """Load through sentence-transformers."""
    place = Path(settings.model).expanduser()
    name = str(place) if place.is_dir() else settings.model
    with quiet_loading():
        return load_folder(
            name,
            device=settings.device,
            revision=settings.model_revision,
            trust_remote_code=settings.trust_remote_code,
        )


@contextmanager
def _told(model: str) -> Iterator[None]:
    """Every way in which the files of a model are broken becomes a ModelError."""
    try:
        yield
    except BROKEN as error:
        raise ModelError(_advice(model, error)) from error


def _advice(model: str, error: Exception) -> str:
    """Why loading failed and what can be done about it."""
    reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(". ")
    return (
        f"FUNNEL_MODEL={model} cannot be loaded: {reason}. "
        "Give a folder that sentence-transformers saved, or a hub id that is in the cache (HF_HOME) or can be "
        "downloaded (HF_HUB_OFFLINE forbids that). A model that brings Python code of its own needs "
        "FUNNEL_TRUST_REMOTE_CODE=1. FUNNEL_MODEL=bundled needs no network, FUNNEL_MODEL=none no model at all."
    )
