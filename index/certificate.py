"""A proof that nothing outside the shortlist can score more than what was found.

By Cauchy and Schwarz, s(x) = q_p . x_p + q_t . x_t <= |q_p| |x_p| c + |q_t| |x_t| for every row x whose prefix
cosine is at most c >= 0; with |x_p|^2 + |x_t|^2 = |x|^2 that is at most |x| sqrt((|q_p| c)^2 + |q_t|^2), whatever
the parts' norms. It needs a first stage that looked at every row's float prefix. p and t may be parts of rotated
vectors: a matrix R changes no squared norm by more than a share of e = |R^T R - I|, and no inner product of unit
vectors by more than e, which is added.
"""

import math

from index.view import View

ROUNDING = 1e-5  # of float32 sums over prefixes and full rows
SPARE = 1e-6  # of float32 squared norms
LONGEST = {"float32": 1.0, "int16": 1.0, "int8": 1.0, "bfloat16": 1.0 + 2**-8}  # norm of a stored row, decoded


def bound(view: View, prefix: float, cosine: float) -> float:
    """The highest full score that a row of at most this prefix cosine can have with a unit query, `prefix` being the
    norm of the query's own before it is normalised."""
    off = 0.0 if view.rotation is None else view.rotation.off
    tail = math.sqrt(max(0.0, 1.0 + off - prefix**2) + SPARE)
    longest = LONGEST[view.codec.name] * math.sqrt(1.0 + off)
    return longest * math.hypot(prefix * max(cosine, 0.0), tail) + LONGEST[view.codec.name] * off + ROUNDING


def proves(view: View, prefix: float, strategy: str, worst: float, cosine: float) -> bool:
    """Whether no row left out, of at most this prefix cosine, can score as much as `worst`, the last result wanted."""
    return scanned(view, strategy) and worst > bound(view, prefix, cosine)


def scanned(view: View, strategy: str) -> bool:
    """Whether the first stage compared the float prefix of every row that could be found."""
    older = view.shortlist.older
    return older is None or (strategy == "exact_subset" and older.codes == "float32")
