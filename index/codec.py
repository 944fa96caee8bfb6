"""How a full vector is stored: rows of bytes with a float32, int16, bfloat16 or int8 for every number.

Scores are always inner products of the query with the decoded row, so that every stage and the exact scan
agree to the last bits over one storage type.
"""

from abc import ABC, abstractmethod

import faiss
import numpy as np

from index.errors import StoreCorrupt


class Codec(ABC):
    """Rows of `dim` floats to rows of `row_bytes` bytes and back."""

    name: str

    def __init__(self, dim: int) -> None:
        self.dim = dim

    @property
    @abstractmethod
    def row_bytes(self) -> int:
        """Bytes of one stored row."""

    @abstractmethod
    def encode(self, rows: np.ndarray) -> np.ndarray:
        """(n, dim) float32 unit rows to (n, row_bytes) uint8."""

    @abstractmethod
    def decode(self, raw: np.ndarray) -> np.ndarray:
        """(n, row_bytes) uint8 to (n, dim) float32."""

    def scores(self, stored: np.ndarray, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
        """Inner products (n,) float32 of the (dim,) query with the given rows of the stored matrix."""
        return inner_products(self.decode(np.take(stored, rows, axis=0)), np.arange(len(rows)), query)


class Float32(Codec):
    """4 bytes a number, nothing lost."""

    name = "float32"

    @property
    def row_bytes(self) -> int:
        return 4 * self.dim

    def encode(self, rows: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(rows, dtype="<f4").view(np.uint8)

    def decode(self, raw: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(raw).view("<f4")

    def scores(self, stored: np.ndarray, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
        return inner_products(stored.reshape(-1).view("<f4"), rows, query)  # from the mapping, without a copy


class BFloat16(Codec):
    """The upper 2 bytes of a float32, rounded to nearest even; scores move by about 4e-5.

    numpy converts float16 six times slower than these rows, which a shift turns back into floats.
    """

    name = "bfloat16"

    @property
    def row_bytes(self) -> int:
        return 2 * self.dim

    def encode(self, rows: np.ndarray) -> np.ndarray:
        bits = np.ascontiguousarray(rows, dtype="<f4").view("<u4")
        rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
        return np.ascontiguousarray(rounded.astype("<u2")).view(np.uint8)

    def decode(self, raw: np.ndarray) -> np.ndarray:
        wide = np.ascontiguousarray(raw).view("<u2").astype("<u4")
        return np.left_shift(wide, 16, out=wide).view("<f4")


class Scaled(Codec):
    """An integer a number and, before them, one float32 scale a row, chosen so that the decoded row has norm 1."""

    kind: np.dtype

    @property
    def row_bytes(self) -> int:
        return 4 + self.kind.itemsize * self.dim

    def encode(self, rows: np.ndarray) -> np.ndarray:
        largest = np.abs(rows).max(axis=1, keepdims=True)
        codes = np.rint(rows * (np.iinfo(self.kind).max / largest))
        norms = np.sqrt(np.einsum("ij,ij->i", codes, codes, dtype=np.float64))
        scales = (1 / norms).astype("<f4")[:, None]
        return np.concatenate([scales.view(np.uint8), codes.astype(self.kind).view(np.uint8)], axis=1)

    def decode(self, raw: np.ndarray) -> np.ndarray:
        codes = self._codes(raw)
        return np.multiply(codes, _scales(raw)[:, None], out=codes)

    def scores(self, stored: np.ndarray, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
        raw = np.take(stored, rows, axis=0)
        return inner_products(self._codes(raw), np.arange(len(rows)), query) * _scales(raw)

    def _codes(self, raw: np.ndarray) -> np.ndarray:
        return raw[:, 4:].view(self.kind).astype(np.float32)


class Int16(Scaled):
    """Two bytes a number: scores move by about 2e-6, a twentieth of what bfloat16 moves them at the same size.

    float16 would be nearer to that, but neither numpy nor FAISS on AVX-512 turns it into floats in good time.
    """

    name, kind = "int16", np.dtype("<i2")


class Int8(Scaled):
    """One byte a number; scores move by about 4e-4."""

    name, kind = "int8", np.dtype("<i1")


CODECS: dict[str, type[Codec]] = {codec.name: codec for codec in (Float32, Int16, BFloat16, Int8)}


def inner_products(vectors: np.ndarray, rows: np.ndarray, query: np.ndarray) -> np.ndarray:
    """Inner products (n,) float32 of the (dim,) query with n rows of contiguous float32 vectors.

    A row's does not depend on its neighbours, as it would with BLAS. FAISS needs neither a copy nor Python's lock.
    """
    rows = np.ascontiguousarray(rows, dtype=np.int64)
    scores = np.empty(len(rows), dtype=np.float32)
    arrays = (faiss.swig_ptr(array) for array in (scores, query, vectors.reshape(-1), rows))
    faiss.fvec_inner_products_by_idx(*arrays, len(query), 1, len(rows))
    return scores


def _scales(raw: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(raw[:, :4]).view("<f4")[:, 0]


def make_codec(name: str, dim: int) -> Codec:
    """The codec of this name; raises ValueError on an unknown one."""
    if name not in CODECS:
        raise ValueError(f"storage must be one of {', '.join(CODECS)}, got {name!r}")
    return CODECS[name](dim)


def stored_codec(name: str, dim: int) -> Codec:
    """The codec that a state names; raises StoreCorrupt on an unknown one."""
    try:
        return make_codec(name, dim)
    except ValueError as error:
        raise StoreCorrupt(f"the state of the index cannot be used: {error}") from None
