"""The lexical half of the bundled model: which words a text uses, beside what it means.

`LexicalConcat` is a sentence-transformers module. It stands after the pooling of a Transformer body and turns that
body's (batch, d) sentence embedding into (batch, 2d): the embedding itself, and a sum over the text's tokens. Both
halves are normalised first and then scaled by the roots of their shares, so that the cosine of two outputs is the
weighted mean of the two cosines.

app/words.py says what the vectors of the tokens are, and what they weigh.
"""

from typing import Any, Self, cast

import torch
from sentence_transformers.base.model import BaseModel
from sentence_transformers.base.modules import Transformer
from sentence_transformers.base.modules.module import Module
from torch import Tensor, nn
from torch.nn.functional import embedding_bag, normalize

from app.words import join, token_vectors, weights

PLACE = ("token", "cache_folder", "revision", "local_files_only")  # where a saved model is looked for


class LexicalConcat(Module):
    """Appends the normalised weighted sum of the tokens' vectors to the sentence embedding.

    `idf` is one weight per token id, (vocabulary,) float32; tokens that name no word ([CLS], [SEP], [PAD], [UNK])
    carry 0 in it. `projection` is (body_dim, kinds) with orthonormal columns. `power` and `saturation` (k) weigh a
    token, `kinship` is the length of what it is like beside the 1 of its signs; the half has `share` of the cosine.
    The vectors of the tokens follow from these and the body: they are made anew, never saved.
    """

    config_keys = [  # noqa: RUF012 - the base class declares a plain list
        "body_dim", "vocabulary", "kinds", "power", "saturation", "kinship", "share",
    ]  # fmt: skip

    def __init__(
        self,
        body_dim: int,
        vocabulary: int,
        kinds: int = 128,
        power: float = 1.0,
        saturation: float = 1.0,
        kinship: float = 0.7,
        share: float = 0.25,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.body_dim = body_dim
        self.vocabulary = vocabulary
        self.kinds = kinds
        self.power = power
        self.saturation = saturation
        self.kinship = kinship
        self.share = share
        self.idf: Tensor
        self.projection: Tensor
        self.tokens: Tensor
        self.register_buffer("idf", torch.zeros(vocabulary))
        self.register_buffer("projection", torch.eye(body_dim)[:, :kinds].contiguous())
        self.register_buffer("tokens", torch.zeros(vocabulary, body_dim), persistent=False)

    def on_model_ready(self, model: BaseModel) -> None:
        """Make the tokens' vectors from the model's word embeddings; called once by sentence-transformers."""
        words = cast(nn.Embedding, cast(Transformer, model[0]).auto_model.get_input_embeddings()).weight.detach()
        if words.shape != (self.vocabulary, self.body_dim):
            expected, found = (self.vocabulary, self.body_dim), tuple(words.shape)
            raise ValueError(f"the lexical half expects word embeddings of shape {expected}, the body has {found}")
        self.tokens.copy_(token_vectors(words, self.projection, self.kinship))

    def words(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The unit sums (batch, body_dim) of (batch, tokens) ids; zero where no token carries weight."""
        read = attention_mask.bool()
        times = ((input_ids[:, :, None] == input_ids[:, None, :]) & read[:, None, :]).sum(dim=2)
        weighed = weights(self.idf[input_ids], times, self.power, self.saturation) * read
        return normalize(embedding_bag(input_ids, self.tokens, mode="sum", per_sample_weights=weighed))

    def forward(self, features: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        meaning = features["sentence_embedding"]
        words = self.words(features["input_ids"], features["attention_mask"]).to(meaning.dtype)
        features["sentence_embedding"] = join(meaning, words, self.share)
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
