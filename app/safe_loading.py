"""Weights of models without pickle: safetensors, which hold numbers and nothing that could run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch

WEIGHTS = {"use_safetensors": True}  # for transformers, whose message then says which file is missing
ADVICE = (
    "its weights are a pickle (pytorch_model.bin), which may run code of whoever made it. If you trust them, convert "
    "it: SentenceTransformer(model).save(folder) in sentence-transformers writes safetensors"
)


@contextmanager
def safetensors_only() -> Iterator[None]:
    """Let nobody read a pickle until the block ends: sentence-transformers would, for the weights of its own modules,
    and has no switch for it. Raises ValueError."""
    load = torch.load
    torch.load = _refuse
    try:
        yield
    finally:
        torch.load = load


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise ValueError(ADVICE)
