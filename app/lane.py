"""One lane to a model: a tokenizer of its own, and a watch on which texts were cut."""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import Any, cast

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import InputModule
from transformers.utils import logging as transformers_logging

from app.embedder import Task

DOCUMENT_PROMPTS = (
    "document",
    "passage",
    "corpus",
)  # the names models give to the prompt of what is searched

# Texts are sorted by length and padded to the longest of their batch. On a CPU padding costs more than small batches
# do: for 64 mixed texts batches of 8 took 0.56 of the time of batches of 32. A packed body reads no padding.
CPU_BATCH, DEVICE_BATCH, PACKED_BATCH = 8, 32, 64


class Lane:
    """Encodes with one copy of a model, from one thread at a time.

    Tokenizers raise "Already borrowed" when two threads share one, so every lane has its own; weights are shared.
    """

    def __init__(self, model: SentenceTransformer, body: Callable[..., Any] | None = None) -> None:
        """`body` computes in place of the model's first module, whose layers are given up."""
        self.model, self._packed = model.eval(), body is not None
        self._cut: dict[str, bool] = {}
        self._tokenizing = RLock()  # the first module asks itself how long its prompt is
        first = cast(InputModule, model[0])
        self._preprocess = first.preprocess
        first.preprocess = self._watch  # type: ignore[method-assign,assignment]
        if body is not None:
            first.forward = body  # type: ignore[method-assign]
            first.auto_model.encoder = torch.nn.Identity()  # its weights are packed elsewhere

    def encode(self, texts: Sequence[str], task: Task) -> tuple[np.ndarray, np.ndarray]:
        """The model's (n, width) float32 output, and (n,) bool: was the text cut?"""
        self._cut.clear()
        prompt = prompts_of(self.model)[task]
        vectors = self._directly(texts, task, prompt) if self._packed else self._encode(texts, task, prompt)
        cut = np.array([self._cut.get(text, False) for text in texts], dtype=bool)
        self._cut.clear()
        return np.asarray(vectors, dtype=np.float32), cut

    def count_tokens(self, texts: Sequence[str], task: Task) -> int:
        """How many the model reads, its prompt and marks among them; 0 if it has none. From any thread."""
        with self._tokenizing:
            features = self._preprocess(list(texts), prompt=prompts_of(self.model)[task])
        if "attention_mask" in features:
            return int(features["attention_mask"].sum())
        return features["input_ids"].numel() if "input_ids" in features else 0

    def _encode(self, texts: Sequence[str], task: Task, prompt: str) -> np.ndarray:
        encode = self.model.encode_query if task == "query" else self.model.encode_document
        size = CPU_BATCH if self.model.device.type == "cpu" else DEVICE_BATCH
        return np.asarray(encode(list(texts), prompt=prompt, batch_size=size, show_progress_bar=False))

    @torch.inference_mode()
    def _directly(self, texts: Sequence[str], task: Task, prompt: str) -> np.ndarray:
        """What `_encode` does, without what it looks at for models and devices of other kinds: 0.9 ms for a query."""
        vectors = np.empty((len(texts), self.model.get_embedding_dimension() or 0), dtype=np.float32)
        order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))
        for start in range(0, len(order), PACKED_BATCH):
            chosen = order[start : start + PACKED_BATCH]
            features = self.model.preprocess([texts[i] for i in chosen], prompt=prompt, task=task)
            vectors[chosen] = self.model(features, task=task)["sentence_embedding"].numpy()
        return vectors

    def _watch(self, inputs: list[str], prompt: str | None = None, **kwargs: Any) -> Any:
        """The first module's own preprocessing; the tokenizer's leftovers tell what did not fit."""
        with self._tokenizing:
            features = self._preprocess(inputs, prompt=prompt, **kwargs)
        encodings = getattr(features, "encodings", None)
        if encodings:
            self._cut.update(zip(inputs, (bool(one.overflowing) for one in encodings), strict=True))
        elif (limit := max_tokens_of(self.model)) is not None:
            self._cut.update(zip(inputs, self._count(inputs, prompt or "", limit), strict=True))
        return features

    def _count(self, inputs: list[str], prompt: str, limit: int) -> list[bool]:
        """The slow way, for tokenizers that keep no leftovers: every text is tokenised a second time, uncut."""
        ids = self.model.tokenizer([prompt + text for text in inputs], truncation=False)["input_ids"]
        return [len(one) > limit for one in ids]


def twin(model: SentenceTransformer) -> SentenceTransformer:
    """A copy that shares every weight with `model` and nothing else."""
    shared = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    return copy.deepcopy(model, shared)


def prompts_of(model: SentenceTransformer) -> dict[Task, str]:
    """What the model puts before a query and before a document; "" for nothing."""
    prompts = {name: text for name, text in model.prompts.items() if text}
    document = next((prompts[name] for name in DOCUMENT_PROMPTS if name in prompts), "")
    return {"query": prompts.get("query", ""), "document": document}


def max_tokens_of(model: SentenceTransformer) -> int | None:
    """How many tokens the model reads; None when there is no limit."""
    limit = model.max_seq_length
    return int(limit) if limit is not None and limit < 1e9 else None  # tokenizers write "none" as 1e30


@contextmanager
def quiet_loading() -> Iterator[None]:
    """No progress bar of transformers while weights are read from disk; its state is put back after."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
