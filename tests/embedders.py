"""A small deterministic embedder: words are hashed to seeded vectors and a text is their normalised sum."""

import hashlib
import re
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from app.embedder import Embedded
from index.space import Space

DIM, PREFIX_DIM, MAX_TOKENS = 32, 8, 64
WEIGHTS = np.where(np.arange(DIM) < PREFIX_DIM, 1.0, 0.4)  # as after Matryoshka training: the front carries most


class HashEmbedder:
    """Two texts are as similar as the words they share; at most the first 64 words are read."""

    def __init__(self, revision: str = "1") -> None:
        self.model_name = "hash-words"
        self.revision: str | None = revision
        self.matryoshka_dims: tuple[int, ...] = (DIM, 16, PREFIX_DIM)
        self.max_tokens: int | None = MAX_TOKENS
        self.notice: str | None = None
        self.space = Space(DIM, PREFIX_DIM, {"model": self.model_name, "revision": revision})

    def embed_documents(self, texts: Sequence[str]) -> Embedded:
        """(n, 32) float32 unit rows, and which texts have more than 64 words."""
        truncated = np.array([len(words(text)) > MAX_TOKENS for text in texts], dtype=bool)
        return Embedded(self.embed_queries(texts), truncated)

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        """(n, 32) float32 unit rows."""
        rows = [unit(sum(word_vector(word) for word in words(text)[:MAX_TOKENS])) for text in texts]
        return np.array(rows, dtype=np.float32).reshape(len(texts), DIM)

    def count_tokens(self, texts: Sequence[str], task: str) -> int:
        """Words that are read."""
        return sum(len(words(text)[:MAX_TOKENS]) for text in texts)


def words(text: str) -> list[str]:
    """Lower-case words; a text without any is one word of its own."""
    return re.findall(r"\w+", text.lower()) or [text]


@lru_cache(maxsize=10_000)
def word_vector(word: str) -> np.ndarray:
    """(32,) float64, the same in every process."""
    seed = int.from_bytes(hashlib.blake2b(word.encode(errors="replace"), digest_size=8).digest(), "little")
    return unit(np.random.default_rng(seed).standard_normal(DIM) * WEIGHTS)


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector with length one."""
    return vector / np.linalg.norm(vector)
