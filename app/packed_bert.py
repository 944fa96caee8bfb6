"""BERT's forward pass for serving on a CPU: no padding, and weights laid out once for the processor.

The tokens of a batch are joined end to end, so that no product is taken of padding; attention sees one text at a time,
or several of the same length. Linear layers are oneDNN's with prepacked weights, which torch reaches by itself only
through a compiler; what they compute is looked at before they are used. One thread of an EPYC took half the time of
transformers for a query and for 16, and four fifths for documents (scripts/benchmark_embedding.py).
"""

import logging
import platform
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

import torch
from torch import Tensor
from torch.nn.functional import gelu, layer_norm, linear, scaled_dot_product_attention

TOKENS = 2_048  # computed together at most, unless one text has more: their activations stay in the cache
TOLERANCE = 1e-4  # between products of the size of 1
UNUSABLE = (RuntimeError, TypeError, AttributeError)  # what a torch whose kernels are others raises
Layer = Callable[[Tensor], Tensor]
log = logging.getLogger(__name__)


class PackedBert:
    """The layers of a BERT. Holds no state between calls: several threads may share one."""

    def __init__(self, state: Mapping[str, Tensor], heads: int, epsilon: float) -> None:
        """`state` names float32 weights as transformers does: "embeddings.word_embeddings.weight" and so on."""
        parts = _Parts(state, epsilon)
        self._words = state["embeddings.word_embeddings.weight"]
        # One text has one kind of tokens, the first of two.
        kind = state["embeddings.token_type_embeddings.weight"][0]
        self._places, self._norm = state["embeddings.position_embeddings.weight"] + kind, parts.norm("embeddings.")
        depth = len({name.split(".")[2] for name in state if name.startswith("encoder.layer.")})
        self._layers = [_Layer(parts, f"encoder.layer.{number}.", heads) for number in range(depth)]

    def tokens(self, ids: Tensor, lengths: Sequence[int]) -> Tensor:
        """(tokens, width) float32 of the ids (tokens,) of texts of these lengths end to end."""
        places = torch.cat([self._places[:length] for length in lengths])
        tokens = self._norm(self._words[ids] + places)
        for layer in self._layers:
            tokens = layer(tokens, lengths)
        return tokens


class _Parts:
    """Weights by their names, as functions."""

    def __init__(self, state: Mapping[str, Tensor], epsilon: float) -> None:
        self._state, self._epsilon, self._packed = state, epsilon, kernels_agree()

    def linear(self, *names: str) -> Layer:
        """x -> x @ weight.T + bias of layers side by side."""
        weight, bias = (torch.cat([self._state[f"{name}.{part}"] for name in names]) for part in ("weight", "bias"))
        return packed(weight, bias) if self._packed else lambda x: linear(x, weight, bias)

    def gelu(self, name: str) -> Layer:
        """The same of one layer, and gelu of it."""
        weight, bias = self._state[f"{name}.weight"], self._state[f"{name}.bias"]
        return packed(weight, bias, "gelu") if self._packed else lambda x: gelu(linear(x, weight, bias))

    def norm(self, before: str) -> Layer:
        """x -> its layer norm."""
        weight, bias = (self._state[f"{before}LayerNorm.{part}"] for part in ("weight", "bias"))
        return lambda x: layer_norm(x, weight.shape, weight, bias, self._epsilon)


class _Layer:
    def __init__(self, parts: _Parts, name: str, heads: int) -> None:
        inner, outer = f"{name}attention.self.", f"{name}attention.output."
        self._heads = heads
        self._split = parts.linear(f"{inner}query", f"{inner}key", f"{inner}value")
        self._join, self._join_norm = parts.linear(f"{outer}dense"), parts.norm(outer)
        self._wide, self._narrow = parts.gelu(f"{name}intermediate.dense"), parts.linear(f"{name}output.dense")
        self._norm = parts.norm(f"{name}output.")

    def __call__(self, tokens: Tensor, lengths: Sequence[int]) -> Tensor:
        tokens = self._join_norm(self._join(self._attend(self._split(tokens), lengths)) + tokens)
        return self._norm(self._narrow(self._wide(tokens)) + tokens)

    def _attend(self, split: Tensor, lengths: Sequence[int]) -> Tensor:
        """Each token sees those of its text: (tokens, 3 * width) -> (tokens, width)."""
        alike = [(length, len(list(group))) for length, group in groupby(lengths)]  # neighbours of one length
        rows = torch.split(split, [length * texts for length, texts in alike])
        return torch.cat([self._attend_alike(part, *one) for part, one in zip(rows, alike, strict=True)])

    def _attend_alike(self, split: Tensor, length: int, texts: int) -> Tensor:
        query, key, value = split.view(texts, length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(query, key, value)  # (texts, heads, length, width / heads)
        return seen.transpose(1, 2).reshape(texts * length, -1)


def parts(lengths: Sequence[int]) -> Iterator[list[int]]:
    """The lengths in order, cut where TOKENS would be exceeded."""
    part: list[int] = []
    for length in lengths:
        if part and sum(part) + length > TOKENS:
            yield part
            part = []
        part.append(length)
    if part:
        yield part


def packed(weight: Tensor, bias: Tensor, then: str = "none") -> Layer:
    """x -> x @ weight.T + bias by oneDNN, which lays the weights out for its kernels; with "gelu" of that at once."""
    kernels = torch.ops.mkldnn
    laid_out = kernels._reorder_linear_weight(weight, None)
    return lambda x: kernels._linear_pointwise(x, laid_out, bias, then, [], "none")  # the exact gelu, no approximation


def kernels_agree() -> bool:
    """Whether packed products are those of torch here; False on other processors, and with a warning where not."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    given = torch.Generator().manual_seed(0)
    weight, bias, x = (torch.randn(size, generator=given) for size in ((96, 48), (96,), (5, 48)))
    try:
        expected = linear(x, weight, bias)
        found = torch.stack([packed(weight, bias)(x), packed(weight, bias, "gelu")(x)])
        agree = torch.allclose(found, torch.stack([expected, gelu(expected)]), atol=TOLERANCE, rtol=0)
    except UNUSABLE as error:
        log.warning("the model computes with unpacked weights, at up to twice the time: %s", error)
        return False
    if not agree:
        log.warning("the model computes with unpacked weights: this torch multiplies packed ones to something else")
    return agree
