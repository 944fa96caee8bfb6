"""The shapes of answers about rotations, query maps and embeddings."""

from typing import Any, Literal

from app.responses import Shape


class RotationShape(Shape):
    """The rotation of the prefixes; `energy` is the share of the squared norm that falls into the prefix."""

    method: str
    widths: list[int]
    measured: dict[str, Any]
    rows: int
    energy: float
    applied: str
    energy_now: float | None
    drifted: bool
    advice: str | None


class QueryMapShape(Shape):
    """The map of the queries."""

    measured: dict[str, Any]
    applied: str


class Matrices(Shape):
    """What is in force; null where there is none."""

    rotation: RotationShape | None
    query_map: QueryMapShape | None


class Embedding(Shape):
    """The vector of one text; base64 of little-endian float32 if that was asked for."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(Shape):
    """Tokens that the model has read, with its prompt and marks."""

    prompt_tokens: int
    total_tokens: int


class Embeddings(Shape):
    """Vectors in the order of the texts."""

    object: Literal["list"]
    data: list[Embedding]
    model: str
    usage: Usage
