"""Weights of models without pickle: safetensors, which hold numbers and nothing that could run."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

import torch

ADVICE = (
    "its weights are a pickle (pytorch_model.bin), which may run code of whoever made it. If you trust them, convert "
    "it: SentenceTransformer(model).save(folder) in sentence-transformers writes safetensors"
)


@contextmanager
def safetensors_only() -> Iterator[None]:
    """Let nobody read a pickle until the block ends. transformers has a switch for that, but sentence-transformers has
    none for the weights of its own modules. Raises ValueError, with how to convert them."""
    load = torch.load
    torch.load = _refuse
    try:
        yield
    finally:
        torch.load = load


def _refuse(*_: Any, **__: Any) -> NoReturn:
    raise ValueError(ADVICE)
