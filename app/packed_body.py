"""The packed BERT in the place of a sentence-transformers model's first module, where it computes the same."""

from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from transformers import BertModel

from app.packed_bert import PackedBert, parts


class PackedBody:
    """A forward for a Transformer module."""

    def __init__(self, bert: BertModel) -> None:
        state = {name: weight.detach() for name, weight in bert.state_dict().items()}
        self._bert = PackedBert(state, bert.config.num_attention_heads, bert.config.layer_norm_eps)

    def __call__(self, features: dict[str, Any], **_: Any) -> dict[str, Any]:
        """Add "token_embeddings", (texts, tokens, width) float32 with zeros for padding, which is at the right."""
        ids, read = features["input_ids"], features["attention_mask"].bool()
        cut = list(parts(read.sum(dim=1).tolist()))
        rows = torch.split(ids[read], [sum(part) for part in cut])
        tokens = torch.cat([self._bert.tokens(*one) for one in zip(rows, cut, strict=True)])
        output = tokens.new_zeros(*ids.shape, tokens.shape[1])
        output[read] = tokens
        return {**features, "token_embeddings": output}


def packed_body(model: SentenceTransformer) -> PackedBody | None:
    """A forward for the model's first module, a BERT in float32 on the CPU; None where that module's own has to do."""
    first = model[0]
    return PackedBody(first.auto_model) if isinstance(first, Transformer) and _fits(first) else None


def _fits(first: Transformer) -> bool:
    """Whether this is a plain encoder whose every choice is the one that the packed one makes."""
    bert = first.auto_model
    if type(bert) is not BertModel or bert.dtype != torch.float32 or bert.device.type != "cpu":
        return False
    config = bert.config
    plain = config.hidden_act == "gelu" and not config.is_decoder and not config.output_hidden_states
    placed = getattr(config, "position_embedding_type", "absolute") == "absolute"
    return plain and placed and getattr(first.tokenizer, "padding_side", None) == "right"
