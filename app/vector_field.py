"""A vector in JSON: a list of numbers, or base64 of little-endian float32."""

import base64
import binascii
from typing import Annotated, Any

import numpy as np
from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

NUMBERS = frozenset((int, float))  # a bool is none
BASE64 = "[A-Za-z0-9+/]"
FLOATS = f"^({BASE64}{{16}})*({BASE64}{{16}}|{BASE64}{{11}}=|{BASE64}{{6}}==)$"  # three numbers are 16 characters
SCHEMA = {
    "anyOf": [
        {"type": "array", "items": {"type": "number"}, "minItems": 1},
        {"type": "string", "pattern": FLOATS, "description": "base64 of little-endian float32 numbers"},
    ],
    "description": "As many numbers as the index has dimensions, as a list or as base64 of float32.",
}


def read_vector(value: Any) -> np.ndarray:
    """(n,) float32 of any length; a PydanticCustomError when it is neither form of a vector."""
    if isinstance(value, str):
        return _from_base64(value)
    if isinstance(value, list) and value and NUMBERS.issuperset(map(type, value)):
        return _from_numbers(value)
    raise PydanticCustomError("vector", "a vector is a list of numbers, or base64 of float32 numbers")


def _from_numbers(numbers: list[float]) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):  # what float32 cannot hold becomes Inf, which is refused later
            return np.array(numbers, dtype=np.float64).astype(np.float32)
    except OverflowError:
        raise PydanticCustomError("vector", "a number of the vector is too large") from None


def _from_base64(text: str) -> np.ndarray:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        raise PydanticCustomError("vector", "the vector is not base64") from None
    if not data or len(data) % 4:
        raise PydanticCustomError(
            "vector",
            "base64 of float32 numbers decodes to a multiple of 4 bytes, got {size}",
            {"size": len(data)},
        )
    return np.frombuffer(data, dtype="<f4").astype(np.float32)


VectorField = Annotated[np.ndarray, PlainValidator(read_vector), WithJsonSchema(SCHEMA)]
