"""The lexical half of the bundled model: which words a text uses, beside what it means.

`LexicalConcat` is a sentence-transformers module. It stands after the pooling of a Transformer body and turns that
body's (batch, d) sentence embedding into (batch, 2d): the embedding itself, and the IDF-weighted mean of the body's
own word embeddings. Both halves are normalised first, because their raw norms differ many times over, and then
scaled by the roots of their shares, so that the cosine of two outputs is the weighted mean of the two cosines.
"""

from typing import Any, Self, cast

import torch
from sentence_transformers.base.model import BaseModel
from sentence_transformers.base.modules import Transformer
from sentence_transformers.base.modules.module import Module
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, normalize

PLACE = ("token", "cache_folder", "revision", "local_files_only")  # where a saved model is looked for


class LexicalConcat(Module):
    """Appends the normalised weighted mean of the body's word embeddings to the sentence embedding.

    `idf` is one weight per token id, (vocabulary,) float32; tokens that name no word ([CLS], [SEP], [PAD], [UNK])
    carry 0 in it. A token weighs `idf ** power`; the lexical half has `share` of the cosine. The word embeddings
    are the body's own, found when the model is put together: they are neither copied nor saved here.
    """

    config_keys = ["body_dim", "vocabulary", "power", "share"]  # noqa: RUF012 - the base class declares a plain list

    def __init__(self, body_dim: int, vocabulary: int, power: float = 1.5, share: float = 0.2) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.body_dim = body_dim
        self.vocabulary = vocabulary
        self.power = power
        self.share = share
        self.idf: Tensor
        self.register_buffer("idf", torch.zeros(vocabulary))
        self._words: list[nn.Embedding] = []  # in a list: torch must not count the body's weights as ours

    def on_model_ready(self, model: BaseModel) -> None:
        """Take the word embeddings of the model's first module; called once by sentence-transformers."""
        words = cast(nn.Embedding, cast(Transformer, model[0]).auto_model.get_input_embeddings())
        if words.weight.shape != (self.vocabulary, self.body_dim):
            expected, found = (self.vocabulary, self.body_dim), tuple(words.weight.shape)
            raise ValueError(f"the lexical half expects word embeddings of shape {expected}, the body has {found}")
        self._words = [words]

    def words(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The unit weighted mean of the word embeddings, (batch, body_dim); zero where no token carries weight."""
        weights = self.idf[input_ids].pow(self.power) * attention_mask  # (batch, tokens)
        table = self._words[0].weight
        return normalize(embedding_bag(input_ids, table, mode="sum", per_sample_weights=weights.to(table.dtype)))

    def forward(self, features: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        words = self.words(features["input_ids"], features["attention_mask"])
        features["sentence_embedding"] = join(features["sentence_embedding"], words, self.share)
        return features

    def get_embedding_dimension(self) -> int:
        return 2 * self.body_dim

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        self.save_config(output_path)
        self.save_torch_weights(output_path, safe_serialization=safe_serialization)

    @classmethod
    def load(  # type: ignore[override] # the base class spells out more options than a table of weights has
        cls, model_name_or_path: str, subfolder: str = "", **kwargs: Any
    ) -> Self:
        place = {"subfolder": subfolder, **{key: kwargs[key] for key in PLACE if key in kwargs}}
        module = cls(**cls.load_config(model_name_or_path, **place))
        loaded: Self = cls.load_torch_weights(model_name_or_path, model=module, **place)
        return loaded


def join(meaning: Tensor, words: Tensor, share: float) -> Tensor:
    """Both halves side by side, (n, d) and (n, d) -> (n, 2d); unit rows where neither half is zero."""
    halves = (normalize(meaning) * (1.0 - share) ** 0.5, normalize(words) * share**0.5)
    return torch.cat(halves, dim=-1)
