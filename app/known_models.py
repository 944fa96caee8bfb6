"""What the cards of well-known models say and their files do not: trained widths, prompts, recipes.

A table and nothing else. A model that is not here works too: its widths are read from its own files.
"""

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class KnownModel:
    """One model: its trained widths, descending and with the full one, and what it wants done around it."""

    dims: tuple[int, ...] = ()  # () when it was not trained for any narrower width
    query_prompt: str = ""  # used where the model brings no prompt itself
    document_prompt: str = ""
    layer_norm: bool = False  # layer norm over the full vector, before it is truncated and normalised


_MPNET = KnownModel((768, 512, 256, 128, 64))
_ARCTIC = KnownModel((768, 256), query_prompt="Represent this sentence for searching relevant passages: ")
_NOMIC = KnownModel(query_prompt="search_query: ", document_prompt="search_document: ")

KNOWN_MODELS: dict[str, KnownModel] = {
    "nomic-ai/nomic-embed-text-v1": _NOMIC,
    "nomic-ai/nomic-embed-text-v1.5": replace(_NOMIC, dims=(768, 512, 256, 128, 64), layer_norm=True),
    "tomaarsen/mpnet-base-nli-matryoshka": _MPNET,
    "google/embeddinggemma-300m": KnownModel(
        (768, 512, 256, 128),
        query_prompt="task: search result | query: ",
        document_prompt="title: none | text: ",
    ),
    "Snowflake/snowflake-arctic-embed-m-v1.5": _ARCTIC,
    "Snowflake/snowflake-arctic-embed-m-v2.0": KnownModel((768, 256), query_prompt="query: "),
    "Snowflake/snowflake-arctic-embed-l-v2.0": KnownModel((1024, 256), query_prompt="query: "),
    "mixedbread-ai/mxbai-embed-large-v1": KnownModel((1024, 512), query_prompt=_ARCTIC.query_prompt),
    "sentence-transformers/static-retrieval-mrl-en-v1": KnownModel((1024, 512, 256, 128, 64, 32)),
}


def known_model(name: str) -> KnownModel:
    """The entry of a hub id, or of a folder that is named after one; an empty entry for any other model."""
    if name in KNOWN_MODELS:
        return KNOWN_MODELS[name]
    parts = Path(name).parts
    for hub_id, entry in KNOWN_MODELS.items():
        cached = "models--" + hub_id.replace("/", "--")  # how the hub's own cache names a model
        if cached in parts or parts[-1:] == (hub_id.split("/")[1],):
            return entry
    return KnownModel()
