"""What the tokens of a text are worth beside its meaning: the arithmetic of the lexical half, without a model.

A token stands for two things. In the first `kinds` numbers of its vector for what it is like: the body's own embedding
of it, projected; similar words are similar, and few numbers carry most of it. In the others for itself alone: a fixed
vector of signs (random projection, Achlioptas 2003, "Database-friendly random projections"), so that the inner product
of two texts is that of their bags of tokens, with an error of about 1 / sqrt(d - kinds). A token that occurs tf times
weighs idf^power (k + 1) tf / (tf + k), the saturation of BM25 (Robertson and Zaragoza 2009, section 3.4).
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize


def token_vectors(words: Tensor, projection: Tensor, kinship: float) -> Tensor:
    """(vocabulary, d) float32 of the body's word embeddings (vocabulary, d) and the projection (d, kinds)."""
    vocabulary, width = words.shape
    alike = kinship * normalize(words.float()) @ projection.to(words.device)
    alone = torch.from_numpy(signs(vocabulary, width - projection.shape[1])).to(words.device)
    return torch.cat([alike, normalize(alone)], dim=1)


def weights(idf: Tensor, times: Tensor, power: float, saturation: float) -> Tensor:
    """The part of the saturated weight that each of the tf places of a token carries; `times` is tf at each place."""
    return idf.pow(power) * (saturation + 1) / (times + saturation)


def join(meaning: Tensor, words: Tensor, share: float) -> Tensor:
    """Both halves side by side, (n, d) and (n, d) -> (n, 2d); unit rows where neither half is zero."""
    halves = (normalize(meaning) * (1.0 - share) ** 0.5, normalize(words) * share**0.5)
    return torch.cat(halves, dim=-1)


def signs(tokens: int, dim: int) -> np.ndarray:
    """(tokens, dim) float32 of -1 and 1: the bits of SplitMix64 (Steele, Lea and Flood 2014) counted from 0."""
    blocks = -(-dim // 64)
    with np.errstate(over="ignore"):
        state = np.arange(1, tokens * blocks + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    octets = state.astype("<u8").view(np.uint8).reshape(tokens, blocks * 8)
    bits = np.unpackbits(octets, axis=1, bitorder="little")[:, :dim]
    return 2 * bits.astype(np.float32) - 1
