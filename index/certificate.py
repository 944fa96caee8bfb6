"""A proof that nothing outside the shortlist can score more than what was found.

By Cauchy and Schwarz, s(x) = q_p . x_p + q_t . x_t <= |q_p| |x_p| c + |q_t| |x_t| for every row x whose prefix
cosine is at most c >= 0; with |x_p|^2 + |x_t|^2 = |x|^2 that is at most |x| sqrt((|q_p| c)^2 + |q_t|^2), whatever
the parts' norms. It needs a first stage that looked at every row's float prefix. An orthogonal rotation changes
neither norms nor inner products, so that p and t may be parts of rotated vectors.
"""

import math

import numpy as np

from index.view import View

ROUNDING = 1e-5  # of float32 sums over prefixes and full rows
LONGEST = {"float32": 1.0, "int8": 1.0, "bfloat16": 1.0 + 2**-8}  # norm of a stored row, decoded


def bound(view: View, query: np.ndarray, cosine: float) -> float:
    """The highest full score that a row of at most this prefix cosine can have with a (dim,) unit query."""
    prefix = float(np.linalg.norm(view.turned(query[None])[0]))
    tail = math.sqrt(max(0.0, 1.0 - prefix**2))
    return LONGEST[view.codec.name] * math.hypot(prefix * max(cosine, 0.0), tail) + ROUNDING


def scanned(view: View, strategy: str) -> bool:
    """Whether the first stage compared the float prefix of every row that could be found."""
    graph = view.shortlist.graph
    return graph is None or (strategy == "exact_subset" and graph.codes == "float32")
