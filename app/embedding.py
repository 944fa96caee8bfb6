"""Vectors of documents; a text that the model cannot embed is refused alone."""

from dataclasses import dataclass, field

import numpy as np

from app.encoder import Encoder
from app.problems import Refused
from index.document import Document
from index.errors import InvalidVector

Positions = list[int]


@dataclass(frozen=True)
class Vectors:
    """What a model made of documents, by their positions in a list."""

    found: dict[int, np.ndarray] = field(default_factory=dict)  # (dim,) float32 each
    truncated: set[int] = field(default_factory=set)
    refused: dict[int, InvalidVector] = field(default_factory=dict)


async def embed(encoder: Encoder | None, documents: list[Document], wanted: Positions, size: int) -> Vectors:
    """Embed the wanted documents, `size` at a time."""
    made = Vectors()
    for start in range(0, len(wanted), size):
        if encoder is None:
            raise Refused("no-model", "this service has no model: documents bring vectors")
        await _embed(encoder, documents, wanted[start : start + size], made)
    return made


async def _embed(encoder: Encoder, documents: list[Document], part: Positions, made: Vectors) -> None:
    """Embed one part; when the model gives NaN or zeros for a text of it, halve it until that text is alone."""
    try:
        embedded = await encoder.documents([documents[position].embedded_text for position in part])
    except InvalidVector as error:
        if len(part) == 1:
            made.refused[part[0]] = error
            return
        middle = len(part) // 2
        await _embed(encoder, documents, part[:middle], made)
        await _embed(encoder, documents, part[middle:], made)
        return
    made.found.update(zip(part, embedded.vectors, strict=True))
    made.truncated.update(position for position, cut in zip(part, embedded.truncated, strict=True) if cut)
