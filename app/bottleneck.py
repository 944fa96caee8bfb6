"""The information bottleneck: the narrowest prefix that still does the work of the full vector.

    share(w) = quality at width w / quality at full width      (mean nDCG@10, or Spearman's correlation)

Going down from the full width, quality *breaks* at the first width whose whole 95 % interval of share(w) lies below
the wanted share (0.95). The width measured just above it is the bottleneck. So a width is blamed only on evidence:
with few queries intervals are wide and narrower widths pass.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from math import log2
from typing import Any

from app.intervals import Estimate

WANTED = 0.95


@dataclass(frozen=True)
class Bottleneck:
    """`width` is the narrowest that holds; `breaks` the next narrower one, None when all measured widths hold."""

    width: int
    breaks: int | None
    wanted: float = WANTED

    def to_json(self) -> dict[str, Any]:
        """As it is stored."""
        return asdict(self)


def bottleneck(shares: Mapping[int, Estimate], wanted: float = WANTED) -> Bottleneck:
    """Where quality breaks; `shares` maps each measured width, the full one among them, to its share of the full."""
    widths = sorted(shares, reverse=True)
    for wider, width in pairwise(widths):
        if shares[width].high < wanted:
            return Bottleneck(wider, width, wanted)
    return Bottleneck(widths[-1], None, wanted)


def losses(shares: Mapping[int, Estimate]) -> dict[int, float]:
    """width -> share lost for each halving on the way down from the next wider width; where this jumps is the knee."""
    widths = sorted(shares, reverse=True)
    return {
        width: (shares[wider].value - shares[width].value) / log2(wider / width) for wider, width in pairwise(widths)
    }
