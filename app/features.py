"""What a head is trained on: the word weights, and the vectors before the head, computed once and kept on disk."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor
from torch.nn.functional import normalize
from transformers import PreTrainedTokenizerBase

from app.compose import compose
from app.lane import quiet_loading
from app.lexical import LexicalConcat
from app.words import join

Progress = Callable[[int, int], None]  # done, of all
CHUNK = 2048  # texts in a file
BATCH = 64  # texts tokenized together


def idf_table(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int) -> Tensor:
    """log((n + 1) / (texts with the token + 1)) for every token id, (vocabulary,) float32; special tokens get 0."""
    counts = np.zeros(len(tokenizer), dtype=np.int64)
    for start in range(0, len(texts), CHUNK):
        batch = tokenizer(list(texts[start : start + CHUNK]), truncation=True, max_length=max_tokens)["input_ids"]
        for ids in batch:
            counts[np.unique(ids)] += 1
    table = np.log((len(texts) + 1) / (counts + 1))
    table[tokenizer.all_special_ids] = 0.0
    return torch.from_numpy(table.astype(np.float32))


def kinship_projection(words: Tensor, idf: Tensor, kinds: int) -> Tensor:
    """(d, kinds): the principal directions of the normalised (vocabulary, d) embeddings of words with a weight."""
    rows = normalize(words.detach().float())[idf > 0].double()
    return torch.linalg.eigh(rows.T @ rows)[1].flip(1)[:, :kinds].float().contiguous()


def headless(idf: Tensor, projection: Tensor, config: Mapping[str, Any]) -> SentenceTransformer:
    """The composed model with the identity for a head: its output is what the head will see."""
    with quiet_loading():
        return compose(idf, projection, torch.eye(2 * len(projection)), {**config, "matryoshka_dims": []})


class FeatureCache:
    """Vectors before the head. What the body gives is kept on disk, a .npy file for every chunk of texts, so a run
    that was stopped resumes, and other word weights or shares cost no second pass through the body."""

    def __init__(self, model: SentenceTransformer, folder: Path) -> None:
        self.model, self.folder = model, folder
        self._body = SentenceTransformer(modules=[model[0], model[1]], device="cpu")
        folder.mkdir(parents=True, exist_ok=True)

    def encode(self, texts: Sequence[str], progress: Progress) -> np.ndarray:
        """(n, 768) float32 unit rows."""
        share = cast(LexicalConcat, self.model[2]).share
        blocks = []
        for start in range(0, len(texts), CHUNK):
            chunk = list(texts[start : start + CHUNK])
            blocks.append(join(torch.from_numpy(self.meaning(chunk)), self.words(chunk), share).numpy())
            progress(start + len(chunk), len(texts))
        return np.concatenate(blocks)

    def meaning(self, texts: list[str]) -> np.ndarray:
        """The body's (n, 384) float32 output for a chunk, from disk if it was computed before."""
        return kept(self.path(texts), lambda: self._body.encode(texts, show_progress_bar=False))

    def words(self, texts: list[str]) -> Tensor:
        """The (n, 384) float32 lexical halves of a chunk; a few texts at a time, which are padded alike."""
        lexical = cast(LexicalConcat, self.model[2])
        halves = []
        for start in range(0, len(texts), BATCH):
            ids = self.model.preprocess(texts[start : start + BATCH])
            with torch.inference_mode():
                halves.append(lexical.words(ids["input_ids"], ids["attention_mask"]))
        return torch.cat(halves)

    def path(self, texts: Sequence[str]) -> Path:
        """The file for these texts in this order; another token limit gives another name."""
        return chunk_file(self.folder, str(self.model.max_seq_length), texts)


def kept(file: Path, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """The array of a file, computed and written whole when there is none."""
    if not file.is_file():
        part = file.with_suffix(".part.npy")
        np.save(part, compute())
        part.replace(file)
    return np.asarray(np.load(file, allow_pickle=False))


def chunk_file(folder: Path, key: str, texts: Sequence[str]) -> Path:
    """Where what `key` makes of these texts, in this order, is kept."""
    digest = hashlib.sha256(key.encode())
    for text in texts:
        digest.update(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest())
    return folder / f"{digest.hexdigest()[:32]}.npy"
