"""The bodies that bring a matrix, and the one that asks for embeddings."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

from app.requests import Body, QueryText
from app.vector_field import FLOATS, read_vector

MAX_INPUTS = 2_048  # texts of one embeddings request
SCHEMA = {
    "type": "string",
    "pattern": FLOATS,
    "description": "base64 of dim x dim little-endian float32 numbers, row by row",
}


def read_matrix(value: Any) -> np.ndarray:
    """(n, n) float32 of base64; a PydanticCustomError when it is not that."""
    if not isinstance(value, str):
        raise PydanticCustomError("matrix", "a matrix is base64 of float32 numbers")
    numbers = read_vector(value)
    side = round(len(numbers) ** 0.5)
    if side * side != len(numbers):
        message = "a matrix is square, got {count} numbers, which is no square"
        raise PydanticCustomError("matrix", message, {"count": len(numbers)})
    return numbers.reshape(side, side)


Matrix = Annotated[np.ndarray, PlainValidator(read_matrix), WithJsonSchema(SCHEMA)]
Measured = Annotated[dict[str, Any], Field(description="What was measured before, shown in /stats.")]


class RotationRequest(Body):
    """An orthogonal matrix for the prefixes."""

    matrix: Matrix
    widths: list[Annotated[int, Field(ge=1)]] = Field(
        min_length=1, max_length=64, description="Widths that it was learned for, such as [256, 128, 64, 32]."
    )
    method: str = Field("learned", min_length=1, max_length=100, description="How it was made, such as pca.")
    measured: Measured = Field(default_factory=dict)


class QueryMapRequest(Body):
    """A matrix that queries are multiplied by."""

    matrix: Matrix
    measured: Measured = Field(default_factory=dict)


class EmbeddingsRequest(Body):
    """OpenAI's shape; `input_type` is ours."""

    input: QueryText | Annotated[list[QueryText], Field(min_length=1, max_length=MAX_INPUTS)]
    model: str | None = Field(None, description="Ignored but for the record: there is one model.")
    input_type: Literal["query", "document"] = Field("query", description="Which prompt of the model is used.")
    dimensions: int | None = Field(None, ge=1, description="The first so many numbers, normalised again.")
    encoding_format: Literal["float", "base64"] = "float"
    user: str | None = Field(None, description="Ignored.")
