"""Descents of known outcome: what the signs were and what was missing at every length, for many queries."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from index.allowed import Allowed
from index.descent import FIRST, SIGNS, Descent, lengths
from index.exact import TIE
from index.view import View

SCANNED = 1_024  # rows wanted of the first scan: a descent needs no more of them than it would of fewer rows
STRIDE = 2  # times a length are read in one go
BEYOND = 3  # lengths followed after nothing is missing any more: the model has to see that, too


@dataclass(frozen=True, eq=False)
class Trace:
    """One query: (j,) rows scored, (b, j, 10) signs and (b, j) shares missing for each of the b values of k.

    Lengths below k have a share of 1 and no signs.
    """

    rows: np.ndarray
    signs: np.ndarray
    missing: np.ndarray


def trace(
    view: View,
    query: np.ndarray,
    kth: Sequence[float],
    ks: Sequence[int],
    most: int,
    allowed: Allowed | None = None,
    depth: float = 1.0,
    corrects: bool = True,
) -> Trace:
    """Follow a (dim,) unit query down to `most` rows; `kth` are the exact k-th scores of each k.

    A row that ties with the k-th counts as found.
    """
    at_once = view.shortlist.exhaustive and not corrects  # what lies deeper then changes nothing before it
    descent = Descent(view, query, allowed, depth, corrects, SCANNED if at_once else FIRST)
    most = min(most, descent.matching)
    rows, signs, beyond = [], [], 0
    for length in sorted({*lengths(most), *(k for k in ks if FIRST < k < descent.matching)}):
        if len(descent.rows) < length:
            descent.extend(min(STRIDE * length, max(most, ks[-1])) if at_once else length)
        rows.append(min(length, len(descent.rows)))
        signs.append(_signs(descent, rows[-1], ks))
        beyond += _found(descent.scores[: rows[-1]], kth[-1], ks[-1]) == ks[-1]
        if beyond > BEYOND:
            break
    reached = np.array(rows)
    missing = [_missing(descent.scores, score, k, reached) for score, k in zip(kth, ks, strict=True)]
    return Trace(reached, np.array(signs).transpose(1, 0, 2), np.array(missing))


def _signs(descent: Descent, length: int, ks: Sequence[int]) -> np.ndarray:
    """(b, 10): zeros where there are no k rows."""
    signs = np.zeros((len(ks), len(SIGNS)))
    known = [place for place, k in enumerate(ks) if 2 <= length >= k]
    if known:
        signs[known] = descent.signs_of_each([ks[place] for place in known], length)
    return signs


def _found(scores: np.ndarray, kth: float, k: int) -> int:
    return min(k, int(np.count_nonzero(scores >= kth - TIE)))


def _missing(scores: np.ndarray, kth: float, k: int, rows: np.ndarray) -> np.ndarray:
    """(j,) shares of the top k that are not among the first so many rows."""
    found = np.searchsorted(np.flatnonzero(scores >= kth - TIE), rows)
    return np.where(rows < k, 1.0, 1.0 - np.minimum(found, k) / k)
