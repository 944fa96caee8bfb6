"""A FAISS index file, and beside it the texts: one record a row."""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import faiss
import numpy as np

from app.foreign import PAGE, ForeignError, Rows
from app.records import DEFAULT_FIELDS, Fields, count, read

EXACT = (faiss.IndexFlat, faiss.IndexHNSWFlat, faiss.IndexIVFFlat)  # these keep vectors as they were given


class FaissFile:
    """An index file; record n of `documents`, where it is given, belongs to row n.

    Rows are in the order they were added in, those of an IndexIVF in the order of their numbers. Without documents the
    ids are these numbers.
    Raises ForeignError for a file that FAISS cannot read, that keeps no vectors, or has another number of rows.
    """

    def __init__(self, file: Path, documents: str | None = None, fields: Fields = DEFAULT_FIELDS) -> None:
        self.name, self._documents, self._fields = str(file), documents, fields
        self._owner = _read(file)  # an IndexIDMap owns the index inside
        self._index, self._numbers = _inside(self._owner)
        self._keys = _keys(self._index)
        _must_give_vectors(file, self._index, self._keys[:1])
        self.dim, self.count = self._index.d, self._index.ntotal
        records = count(documents) if documents else self.count
        if records is not None and records != self.count:
            raise ForeignError(
                f"{file} has {self.count:,} rows, {documents} has {records:,} records: as many are needed"
            )
        self.notice = None
        if not isinstance(self._index, EXACT):
            kind = type(self._index).__name__
            self.notice = f"{kind} keeps codes: its vectors are what FAISS makes of these, not those it was given"

    def rows(self) -> Iterator[Rows]:
        """Page by page, in the order of the rows. Raises ForeignError for a record that cannot be read."""
        described = self._described()
        for start in range(0, self.count, PAGE):
            keys = self._keys[start : start + PAGE]
            documents = list(islice(described, len(keys)))
            if len(documents) < len(keys):
                ends = start + len(documents)
                raise ForeignError(f"{self._documents} ends after {ends:,} records of {self.count:,} rows")
            yield self._rows(self._index.reconstruct_batch(keys), documents)

    def _rows(self, vectors: np.ndarray, described: list[dict[str, Any]]) -> Rows:
        return Rows(
            [one["id"] for one in described],
            vectors,
            [one.get("text") for one in described],
            [one.get("metadata") for one in described],
            [one.get("title") for one in described],
        )

    def _described(self) -> Iterator[dict[str, Any]]:
        """What is known of each row besides its vector."""
        if self._documents is None:
            yield from ({"id": str(number)} for number in self._numbers or self._keys.tolist())
            return
        for record in read(self._documents, self._fields):
            if record.document is None:
                raise ForeignError(f"{self._documents}, line {record.line}: {record.error}")
            yield record.document


def _read(file: Path) -> Any:
    try:
        return faiss.read_index(str(file))
    except RuntimeError as error:
        raise ForeignError(f"{file} is no index of FAISS: {str(error).splitlines()[-1]}") from None


def _inside(index: Any) -> tuple[Any, list[int] | None]:
    """The index that has the vectors, and the numbers that its rows were given, if any."""
    if not isinstance(index, faiss.IndexIDMap):
        return index, None
    return faiss.downcast_index(index.index), faiss.vector_to_array(index.id_map).tolist()


def _must_give_vectors(file: Path, index: Any, keys: np.ndarray) -> None:
    try:
        index.reconstruct_batch(keys)
    except RuntimeError:
        raise ForeignError(f"{file}: {type(index).__name__} keeps nothing that a vector can be made of") from None


def _keys(index: Any) -> np.ndarray:
    """What the rows are asked for by, in ascending order; lists are made able to answer."""
    if not isinstance(index, faiss.IndexIVF):
        return np.arange(index.ntotal)
    lists = index.invlists
    parts = [faiss.rev_swig_ptr(lists.get_ids(n), lists.list_size(n)).copy() for n in range(index.nlist)]
    index.set_direct_map_type(faiss.DirectMap.Hashtable)
    return np.sort(np.concatenate(parts))
