"""Descents of known outcome: what the signs were and what was missing at every length, for many queries."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from index.allowed import Allowed
from index.descent import FIRST, SIGNS, Descent, lengths
from index.exact import TIE
from index.view import View

BEYOND = 3  # lengths followed after nothing is missing any more: the model has to see that, too


@dataclass(frozen=True, eq=False)
class Trace:
    """One query: (j,) rows scored, (b, j, 10) signs and (b, j) shares missing for each of the b values of k.

    Lengths below k have a share of 1 and no signs. `seconds` is (j,): time spent up to each length.
    """

    rows: np.ndarray
    signs: np.ndarray
    missing: np.ndarray
    seconds: np.ndarray


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
    descent = Descent(view, query, allowed, depth, corrects)
    rows, signs, missing, seconds = [], [], [], []
    spent, beyond = 0.0, 0
    for length in sorted({*lengths(min(most, descent.matching)), *(k for k in ks if FIRST < k < descent.matching)}):
        started = time.perf_counter()
        descent.extend(length)
        spent += time.perf_counter() - started
        rows.append(len(descent.rows))
        signs.append([descent.signs(k) if 2 <= len(descent.rows) >= k else np.zeros(len(SIGNS)) for k in ks])
        missing.append([1.0 - _found(descent.scores, score, k) / k for score, k in zip(kth, ks, strict=True)])
        seconds.append(spent)
        beyond += not any(missing[-1])
        if beyond > BEYOND:
            break
    return Trace(np.array(rows), np.array(signs).transpose(1, 0, 2), np.array(missing).transpose(), np.array(seconds))


def _found(scores: np.ndarray, kth: float, k: int) -> int:
    return min(k, int(np.count_nonzero(scores >= kth - TIE))) if len(scores) >= k else 0
