"""Small sentence-transformers models with random weights, saved to disk: the any-model path without a download."""

from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, StaticEmbedding, Transformer
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Whitespace
from tokenizers.processors import TemplateProcessing
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

WORDS = ["a", "date", "file", "from", "hash", "index", "list", "open", "parse", "path", "read"]
WORDS += ["search", "sort", "string", "text", "time", "tree", "vector", "write"]
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
MAX_TOKENS = 12  # with [CLS] and [SEP]: ten words


def tokenizer() -> PreTrainedTokenizerFast:
    """A WordPiece tokenizer that knows 19 words."""
    vocabulary = {token: index for index, token in enumerate([*SPECIAL, *WORDS, "query", "document", ":"])}
    inner = Tokenizer(WordPiece(vocabulary, unk_token="[UNK]"))
    inner.pre_tokenizer = Whitespace()
    ends = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    inner.post_processor = TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=ends)
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return PreTrainedTokenizerFast(tokenizer_object=inner, mask_token="[MASK]", model_max_length=MAX_TOKENS, **names)


def save_body(folder: Path, width: int = 128, seed: int = 0, **config: object) -> Path:
    """A BERT of one layer, unless told otherwise, and its tokenizer, as transformers saves them."""
    torch.manual_seed(seed)
    words = tokenizer()
    sizes = {"hidden_size": width, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    chosen = BertConfig(vocab_size=len(words), max_position_embeddings=32, **{**sizes, **config})
    BertModel(chosen).save_pretrained(folder)
    words.save_pretrained(folder)
    return folder


def save_model(
    folder: Path,
    width: int = 128,
    seed: int = 0,
    prompts: dict[str, str] | None = None,
    card: str | None = None,
    **config: object,
) -> Path:
    """The same with mean pooling, as sentence-transformers saves it; `card` becomes its README.md."""
    body = Transformer(str(save_body(folder.parent / f"{folder.name}-body", width, seed, **config)))
    modules = [body, Pooling(width), Normalize()]
    SentenceTransformer(modules=modules, prompts=prompts, device="cpu").save(str(folder), create_model_card=False)
    if card is not None:
        (folder / "README.md").write_text(card)
    return folder


def save_static(folder: Path, width: int = 32) -> Path:
    """A table of word vectors, as sentence-transformers saves it: a folder without a config.json of its own."""
    torch.manual_seed(0)
    model = SentenceTransformer(modules=[StaticEmbedding(tokenizer(), embedding_dim=width)], device="cpu")
    model.save(str(folder), create_model_card=False)
    return folder
