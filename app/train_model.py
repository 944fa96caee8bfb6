"""The base of a training: opened, cut in depth, told its widths, and saved so that it can be served at once."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from sentence_transformers import SentenceTransformer
from torch import nn

from app.compose import load_composed, load_folder
from app.lane import quiet_loading
from app.model import BROKEN
from app.train_settings import TrainError

LAYERS = ("encoder.layer", "transformer.layer", "layers", "encoder.layers", "h")  # where architectures keep them


def open_base(
    base: str, device: str | None = None, layers: int | None = None, max_tokens: int | None = None
) -> SentenceTransformer:
    """`bundled`, a folder or a hub id; what has no pooling of its own gets mean pooling. Raises TrainError."""
    place = Path(base).expanduser()
    if base.startswith(("./", "../", "/", "~")) and not place.is_dir():
        raise TrainError(f"{base} cannot be loaded: there is no such folder")
    try:
        with quiet_loading():
            name = str(place) if place.is_dir() else base
            model = load_composed(device=device) if base == "bundled" else load_folder(name, device=device)
    except BROKEN as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip(". ")
        raise TrainError(
            f"{base} cannot be loaded: {reason}. Give `bundled`, a folder that sentence-transformers or transformers "
            "saved, or a hub id that is in the cache (HF_HOME) or can be downloaded"
        ) from error
    if layers is not None:
        keep_layers(model, layers)
    if max_tokens is not None:
        model.max_seq_length = max_tokens
    return model


def width_of(model: SentenceTransformer) -> int:
    """How many numbers a vector of the model has. Raises TrainError if the model does not know."""
    width = model.get_embedding_dimension()
    if width is None:
        raise TrainError("the base does not say how wide its vectors are")
    return width


def body_of(model: SentenceTransformer) -> nn.Module | None:
    """The network of transformers inside a model; None where there is none, as in a table of word vectors."""
    return cast(nn.Module | None, getattr(model[0], "auto_model", None))


def layers_of(model: SentenceTransformer) -> nn.ModuleList:
    """The layers of a model's Transformer, first to last. Raises TrainError for a model without any."""
    body = body_of(model)
    for path in LAYERS if body is not None else ():
        try:
            found = cast(nn.Module, body).get_submodule(path)
        except AttributeError:
            continue
        if isinstance(found, nn.ModuleList):
            return found
    raise TrainError(f"{type(model[0]).__name__} has no layers that could be counted")


def keep_layers(model: SentenceTransformer, count: int) -> SentenceTransformer:
    """Cut the model, in place, to its first `count` layers; a saved folder then has that many. Raises TrainError.

    What is cut stays good only if the model was trained for it (`2d` or `layers`).
    """
    layers = layers_of(model)
    if not 1 <= count <= len(layers):
        raise TrainError(f"--layers {count}: the base has {len(layers)} layers, expected 1 to {len(layers)}")
    del layers[count:]
    cast(Any, body_of(model)).config.num_hidden_layers = count
    return model


def state_widths(model: SentenceTransformer, widths: Sequence[int]) -> None:
    """Write the trained widths where the service looks for them, `matryoshka_dimensions` of the body's config.

    () takes away what the base said: a model that was trained further at full width alone is no longer known to
    rank well when it is cut.
    """
    config = getattr(body_of(model), "config", None)
    if config is None:
        return  # a body without a config: the model card says it
    if widths:
        config.matryoshka_dimensions = list(widths)
    elif hasattr(config, "matryoshka_dimensions"):
        del config.matryoshka_dimensions
