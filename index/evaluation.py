"""How good an answer is against the oracle. What judgements say of it is measured in `app.relevance`."""

from collections.abc import Hashable, Sequence


def recall_at_k(found: Sequence[Hashable], exact: Sequence[Hashable], k: int) -> float:
    """Share of the exact top k that is among the first k found; 1.0 when exact search finds nothing."""
    truth = set(exact[:k])
    return len(truth.intersection(found[:k])) / len(truth) if truth else 1.0
