"""The bundled model in service on a CPU, from its files alone: neither transformers nor sentence-transformers.

Importing those takes longer than everything else a start does. Tests hold the vectors to those of the same model
composed by sentence-transformers (`app.compose`), which training and other devices use.
"""

import json
from collections.abc import Sequence

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Encoding, Tokenizer
from torch import Tensor
from torch.nn.functional import embedding_bag, linear

from app.bundle import BUNDLED, WEIGHTS, body_folder, composed_id, read_config
from app.embedder import Embedded, Task
from app.identity import fingerprint_of
from app.packed_bert import PackedBert, parts
from app.settings import Settings
from app.widths import choose_widths
from app.words import join, token_vectors, weights
from index.matryoshka import normalise
from index.space import Space

WORDS = "embeddings.word_embeddings.weight"


class BundledEmbedder:
    """See `app.embedder.Embedder` for what it promises. Holds no state between calls: both lanes share it."""

    def __init__(self, settings: Settings, rotated: Sequence[int] = ()) -> None:
        self.model_name = "bundled"
        self.revision: str | None = None
        self._config = read_config()
        self.max_tokens: int | None = int(self._config["max_tokens"])
        given = load_file(BUNDLED / WEIGHTS)
        self._idf, self._head = given["idf"].float(), given["head"].float()
        asked = (settings.dim, settings.prefix_dim, settings.allow_untrained_prefix)
        widths = choose_widths(settings.model, len(self._head), self._config["matryoshka_dims"], *asked, rotated)
        self.matryoshka_dims, self.notice = widths.trained, widths.notice
        fingerprint = fingerprint_of("bundled", composed_id(), "", "", self.max_tokens)
        self.space = Space(widths.dim, widths.prefix_dim, fingerprint, widths.exact_only)
        self._load_body(given["projection"].float())

    def embed_documents(self, texts: Sequence[str]) -> Embedded:
        read = self.read(texts)
        truncated = np.array([bool(one.overflowing) for one in read], dtype=bool)
        return Embedded(self.compute(read), truncated)

    def embed_queries(self, texts: Sequence[str]) -> np.ndarray:
        return self.compute(self.read(texts))

    def count_tokens(self, texts: Sequence[str], task: Task) -> int:
        return sum(len(one) for one in self.read(texts))

    def read(self, texts: Sequence[str]) -> list[Encoding]:
        """The tokens of each text."""
        return self._tokenizer.encode_batch_fast(list(texts))

    @torch.inference_mode()
    def compute(self, read: list[Encoding]) -> np.ndarray:
        """(n, dim) float32 unit rows; texts of about the same length are computed together."""
        vectors = np.empty((len(read), len(self._head)), dtype=np.float32)
        order = sorted(range(len(read)), key=lambda i: len(read[i]))
        start = 0
        for lengths in parts([len(read[i]) for i in order]):
            chosen = order[start : start + len(lengths)]
            start += len(lengths)
            vectors[chosen] = self._vectors([read[i].ids for i in chosen], lengths).numpy()
        return normalise(vectors[:, : self.space.dim])

    def _load_body(self, projection: Tensor) -> None:
        folder = body_folder()
        body, config = load_file(folder / "model.safetensors"), json.loads((folder / "config.json").read_text())
        self._body = PackedBert(body, config["num_attention_heads"], config["layer_norm_eps"])
        self._tokens = token_vectors(body[WORDS], projection, self._config["kinship"])
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(self._config["max_tokens"])

    def _vectors(self, texts: list[list[int]], lengths: list[int]) -> Tensor:
        """(texts, 768): meaning and words side by side, through the head."""
        ids = [torch.tensor(text) for text in texts]
        tokens = torch.split(self._body.tokens(torch.cat(ids), lengths), lengths)
        meaning = torch.stack([one.mean(dim=0) for one in tokens])
        return linear(join(meaning, self._words(ids, lengths), self._config["share"]), self._head)

    def _words(self, ids: list[Tensor], lengths: list[int]) -> Tensor:
        """(texts, 384) weighted sums of the vectors of their tokens."""
        times = torch.cat([(one[:, None] == one).sum(dim=1) for one in ids])
        joined = torch.cat(ids)
        weighed = weights(self._idf[joined], times, self._config["power"], self._config["saturation"])
        begins = torch.tensor([0, *lengths[:-1]]).cumsum(0)
        return embedding_bag(joined, self._tokens, begins, mode="sum", per_sample_weights=weighed)
