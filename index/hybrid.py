"""What a hybrid search asks for besides a vector, and where a hit stood in both orders."""

from dataclasses import dataclass

from index.errors import InvalidPlan


@dataclass(frozen=True)
class Hybrid:
    """`texts` has one for each vector, whose words are looked for.

    `weight` in [0, 1] is the share of the words in a sum of both scores, each from 0 to 1; None adds up
    1 / (60 + rank) of both orders (RRF). Raises InvalidPlan.
    """

    texts: tuple[str, ...]
    weight: float | None = None

    def __post_init__(self) -> None:
        if self.weight is not None and not 0 <= self.weight <= 1:
            raise InvalidPlan(f"the weight of the words must be from 0 to 1, got {self.weight}")

    @property
    def score_kind(self) -> str:
        """What the scores of hits are."""
        return "rrf" if self.weight is None else "weighted"


@dataclass(frozen=True)
class Places:
    """Ranks, from 1, among what both sides brought, and scores; the words' are None where no word is shared."""

    vector_rank: int
    cosine: float
    words_rank: int | None
    bm25: float | None
