"""Two matrices of an index: the rotation of its prefixes, and the map of its queries.

A rotation R is orthogonal and belongs to the first stage alone: prefix = normalise((full @ R)[:prefix_dim]). It
changes no inner product, so stored vectors, scores and exact results stay as they are. A query map W is any
matrix; queries become normalise(query @ W), which changes scores, and stored vectors stay as they are.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from index.errors import InvalidInput, InvalidVector
from index.matryoshka import normalise
from index.space import Space

ORTHOGONAL = 1e-5  # largest |R^T R - I| of a rotation
PREFERRED_PREFIX = 64


@dataclass(frozen=True, eq=False)
class Rotation:
    """An orthogonal matrix for prefixes, what it was learned for, and what was measured before it was applied.

    `rows`, `energy`, `applied`, `through` and `checksum` are set by the store: live documents when it was applied,
    their mean share of the squared norm in the first prefix_dim numbers, the time (ISO 8601, UTC), the rows of
    the vectors file at that time, and the CRC-32 of the matrix's file.
    """

    matrix: np.ndarray  # (dim, dim) float32; the store keeps it in Fortran order, whose first columns are contiguous
    widths: tuple[int, ...]  # descending
    method: str
    measured: Mapping[str, Any] = field(default_factory=dict)
    rows: int = 0
    energy: float = 0.0
    applied: str = ""
    through: int = 0
    checksum: int = 0

    @cached_property
    def off(self) -> float:
        """Frobenius norm of R^T R - I: squared norms change by no larger share, inner products of unit vectors by
        no more."""
        return float(np.linalg.norm(_defect(self.matrix)))


@dataclass(frozen=True, eq=False)
class QueryMap:
    """A linear map of queries, q' = normalise(q @ matrix); `applied` and `checksum` are set by the store."""

    matrix: np.ndarray  # (dim, dim) float32
    measured: Mapping[str, Any] = field(default_factory=dict)
    applied: str = ""
    checksum: int = 0

    def of(self, queries: np.ndarray) -> np.ndarray:
        """(q, dim) unit queries after the map; InvalidVector when one has no direction any more."""
        mapped = queries @ self.matrix
        if not mapped.any(axis=1).all():
            raise InvalidVector("the query map of the index turns a query into zeros, which have no direction")
        return normalise(mapped)


def checked_rotation(rotation: Rotation, dim: int) -> Rotation:
    """The rotation with a float32 matrix and descending widths.

    Raises InvalidInput for another shape, NaN or Inf, a matrix that is not orthogonal, or impossible widths.
    """
    matrix = _checked(rotation.matrix, dim, "rotation", rotation.measured)
    if (off := orthogonality(matrix)) > ORTHOGONAL:
        raise InvalidInput(f"the rotation is not orthogonal: |R^T R - I| is {off:.2g}, at most {ORTHOGONAL} is allowed")
    widths = tuple(sorted(set(rotation.widths), reverse=True))
    if not widths or not 1 <= widths[-1] <= widths[0] <= dim:
        raise InvalidInput(f"a rotation is learned for widths between 1 and {dim}, got {list(rotation.widths)}")
    return replace(rotation, matrix=np.asfortranarray(matrix), widths=widths)


def checked_map(query_map: QueryMap, dim: int) -> QueryMap:
    """The map with a float32 matrix; InvalidInput for another shape, NaN, Inf, too large numbers or only zeros."""
    matrix = _checked(query_map.matrix, dim, "query map", query_map.measured)
    if not matrix.any():
        raise InvalidInput("the query map is all zeros, which leaves no direction of any query")
    largest, limit = np.abs(matrix).max(), np.finfo(np.float32).max / dim
    if largest > limit:  # a sum of dim products with numbers of a unit query must not overflow
        raise InvalidInput(f"the query map has a number of size {largest:.3g}, at most {limit:.3g} is allowed")
    return replace(query_map, matrix=matrix)


def orthogonality(matrix: np.ndarray) -> float:
    """max |R^T R - I| of a (dim, dim) matrix, computed in float64."""
    return float(np.abs(_defect(matrix)).max())


def _defect(matrix: np.ndarray) -> np.ndarray:
    wide = matrix.astype(np.float64)
    return wide.T @ wide - np.eye(len(wide))


def learned_prefix(widths: Sequence[int]) -> int:
    """The prefix of an index that only a rotation makes a funnel: 64 if it was learned for that, else its least."""
    return PREFERRED_PREFIX if PREFERRED_PREFIX in widths else min(widths)


def fitted(space: Space, rotation: Rotation | None) -> Space:
    """The space with a prefix that the rotation was learned for, where no prefix was trained."""
    if rotation is None or not space.exact_only or space.prefix_dim in rotation.widths:
        return space
    return replace(space, prefix_dim=learned_prefix(rotation.widths))


def check_prefix(space: Space, rotation: Rotation) -> None:
    """Raise InvalidInput when a trained prefix is of a width that the rotation was not learned for."""
    if space.prefix_dim not in rotation.widths:
        learned = ", ".join(map(str, rotation.widths))
        raise InvalidInput(
            f"the rotation was learned for {learned} numbers, the prefix has {space.prefix_dim}: choose one of these "
            f"(FUNNEL_PREFIX_DIM), or learn one for widths that include {space.prefix_dim}"
        )


def _checked(matrix: np.ndarray, dim: int, name: str, measured: Mapping[str, Any]) -> np.ndarray:
    try:
        json.dumps(dict(measured), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise InvalidInput(f"what was measured of the {name} is not JSON: {error}") from None
    made = np.array(matrix, dtype=np.float32, order="C")  # a copy: what the caller does to his own changes nothing
    if made.shape != (dim, dim):
        raise InvalidInput(f"the {name} of {dim}-number vectors is a {dim} x {dim} matrix, got shape {made.shape}")
    if not np.isfinite(made).all():
        raise InvalidInput(f"the {name} contains NaN or Inf")
    return made
