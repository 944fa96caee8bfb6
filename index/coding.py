"""Which class holds prefixes in which codes: making one of it, and reading one from a file."""

from pathlib import Path

import faiss
import numpy as np

from index.errors import StoreCorrupt
from index.graph import Graph
from index.older import Older, checksum
from index.options import PACKED
from index.packed import Packed

TABLES = 1 << 26  # bytes that FAISS thinks lists might want for tables, which ours do not have
KINDS: dict[type, type[Older]] = {
    faiss.IndexHNSWFlat: Graph,
    faiss.IndexHNSWSQ: Graph,
    faiss.IndexIVFPQFastScan: Packed,
}


def make_older(training: np.ndarray, codes: str, rows: int) -> Older:
    """Codes of no rows, for as many as will come; (n, prefix_dim) float32 `training` rows set their ranges."""
    return Packed.empty(training, rows) if codes == PACKED else Graph.empty(training, codes)


def load_older(path: Path, expected: int) -> Older:
    """Read a saved file; StoreCorrupt. The checksum is compared first: crafted index files can exhaust memory."""
    try:
        actual = checksum(path)
    except OSError as error:
        raise StoreCorrupt(f"cannot read {path}: {error.strerror}") from None
    if actual != expected:
        raise StoreCorrupt(f"{path} does not match its checksum: expected {expected}, found {actual}")
    longest = max(path.stat().st_size, TABLES)  # no vector in it is longer than the whole
    faiss.set_deserialization_vector_byte_limit(longest)
    try:
        index = faiss.read_index(str(path))
    except (RuntimeError, MemoryError) as error:
        raise StoreCorrupt(f"{path} cannot be read: {error}") from None
    if type(index) not in KINDS:
        raise StoreCorrupt(f"{path} holds no shortlist but {type(index).__name__}")
    return KINDS[type(index)](index)
