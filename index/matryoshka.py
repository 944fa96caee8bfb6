"""Matryoshka arithmetic: the only place where vectors are normalised and prefixes are made."""

from collections.abc import Iterable, Iterator

import faiss
import numpy as np

from index.errors import InvalidVector

BLOCK = 256  # rows worked on together: those of 768 numbers stay in a core's cache


def normalise(vectors: np.ndarray) -> np.ndarray:
    """Unit rows of a (n, dim) array, as float32; the input is left alone.

    Raises InvalidVector when a row is not finite or has no direction.
    """
    rows = np.array(vectors, dtype=np.float32, ndmin=2)
    for block in _blocks(rows):
        largest = _largest(block)  # NaN where there is one
        if not np.isfinite(largest).all():
            raise InvalidVector("a vector contains NaN or Inf")
        if not largest.all():
            raise InvalidVector("a vector of zeros has no direction")
        _scale(block, largest)
    return rows


def unit_rows(vectors: Iterable[np.ndarray], dim: int) -> np.ndarray:
    """(n, dim) float32 unit rows of n vectors, which need not be unit; raises InvalidVector."""
    if isinstance(vectors, np.ndarray) and vectors.dtype == np.float32 and vectors.shape[1:] == (dim,):
        return normalise(vectors)  # what else is checked below holds already
    rows = [_floats(vector) for vector in vectors]
    for row in rows:
        if row.shape != (dim,):
            check_vector(row, dim)
    return normalise(np.stack(rows)) if rows else np.empty((0, dim), dtype=np.float32)


def turned(full: np.ndarray, dim: int, rotation: np.ndarray | None = None) -> np.ndarray:
    """(full @ rotation)[:, :dim] of (n, width) rows: (n, dim) float32, a copy; not normalised.

    A row gives the same bits whatever stands beside it, which BLAS does not promise: prefixes made at a start are
    those made at the commit. Quick when the matrix is in Fortran order.
    """
    if rotation is None:
        return np.array(full[:, :dim], dtype=np.float32)
    rows, columns = np.ascontiguousarray(full, dtype=np.float32), np.ascontiguousarray(rotation[:, :dim].T)
    made = np.empty((len(rows), dim), dtype=np.float32)
    every = np.tile(np.arange(dim, dtype=np.int64), (len(rows), 1))
    arrays = (faiss.swig_ptr(array) for array in (made, rows, columns, every))
    faiss.fvec_inner_products_by_idx(*arrays, rows.shape[1], len(rows), dim)
    return made


def prefixes(full: np.ndarray, dim: int, rotation: np.ndarray | None = None) -> np.ndarray:
    """normalise((full @ rotation)[:, :dim]) of (n, width) unit rows: (n, dim) float32.

    `rotation` is an orthogonal (width, width) matrix, None for the identity. A row whose prefix is all zeros
    has no direction in the first stage: its prefix stays zero and scores 0 with every query.
    """
    return unit(turned(full, dim, rotation))


def stage_prefixes(full: np.ndarray, dim: int, rotation: np.ndarray | None = None) -> np.ndarray:
    """The same for a middle stage, which keeps none of them: by BLAS, several times as fast, to the last bits."""
    return prefixes(full, dim) if rotation is None else unit(full @ rotation[:, :dim])


def unit(rows: np.ndarray) -> np.ndarray:
    """The (n, dim) float32 rows themselves, changed in place: divided by their norms; zero rows stay zero."""
    for block in _blocks(rows):
        largest = _largest(block)
        _scale(block, largest + (largest == 0))
    return rows


def _blocks(rows: np.ndarray) -> Iterator[np.ndarray]:
    return (rows[start : start + BLOCK] for start in range(0, len(rows), BLOCK))


def _largest(rows: np.ndarray) -> np.ndarray:
    largest: np.ndarray = np.abs(rows).max(axis=1, keepdims=True, initial=0.0)
    return largest


def _scale(rows: np.ndarray, largest: np.ndarray) -> None:
    rows /= largest  # first, so that squares neither overflow nor vanish
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))[:, None]  # at least 1, or 0 of a zero row
    rows /= np.maximum(norms, 1).astype(np.float32)


def check_vector(vector: np.ndarray, dim: int | None = None) -> np.ndarray:
    """The (dim,) vector as contiguous float32; raises InvalidVector on another shape, NaN, Inf or zeros."""
    row = _floats(vector)
    if row.ndim != 1 or row.size == 0:
        raise InvalidVector(f"a vector is one list of numbers, got shape {row.shape}")
    if dim is not None:
        check_width(row, dim)
    largest = np.abs(row).max()  # NaN when one is
    if largest == 0:
        raise InvalidVector("a vector of zeros has no direction")
    if not largest < np.inf:
        raise InvalidVector("a vector contains NaN or Inf")
    return row


def check_width(vector: np.ndarray, dim: int) -> None:
    """Raise InvalidVector unless a vector has `dim` numbers."""
    if vector.size != dim:
        raise InvalidVector(f"expected {dim} dimensions, got {vector.size}")


def _floats(vector: np.ndarray) -> np.ndarray:
    if type(vector) is np.ndarray and vector.dtype == np.float32 and vector.flags.c_contiguous:
        return vector
    try:
        with np.errstate(over="ignore"):  # too large for float32 becomes Inf, which is refused later
            return np.ascontiguousarray(vector, dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise InvalidVector(f"a vector is a list of numbers: {error}") from None
