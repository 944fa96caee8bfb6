"""How a store keeps and searches its vectors."""

from dataclasses import dataclass

ALLOWED = {
    "storage": ("float32", "int16", "bfloat16", "int8"),
    "shortlist_index": ("auto", "flat", "hnsw", "packed"),
    "shortlist_codes": ("auto", "float32", "int8"),
}


PACKED = "pq4"  # the codes of a packed first stage


@dataclass(frozen=True)
class StoreOptions:
    """Choices that change cost, never the meaning of an answer.

    `storage` is the type of the full vectors on disk and is fixed when a directory is made.
    `flat_limit` is the number of rows up to which the first stage scans all prefixes (`auto`). `packed` scans 4-bit
    codes of them, which is quick enough for wide prefixes; `shortlist_codes` is for a graph.
    `default_recall` is the target of a query that names none, once there is a calibration; None keeps the default
    shortlist. `max_limit` bounds limit + offset, `max_shortlist` bounds a requested shortlist unless it covers the
    whole collection. Raises ValueError on a word that none of the choices knows.
    """

    storage: str = "float32"
    shortlist_index: str = "auto"
    shortlist_codes: str = "auto"
    flat_limit: int = 100_000
    max_limit: int = 1_000
    max_shortlist: int = 10_000
    default_recall: float | None = 0.99

    def __post_init__(self) -> None:
        for name, words in ALLOWED.items():
            if getattr(self, name) not in words:
                raise ValueError(f"{name} must be one of {', '.join(words)}, got {getattr(self, name)!r}")
        if self.shortlist_index == "packed" and self.shortlist_codes != "auto":
            raise ValueError(
                f"shortlist_index=packed has codes of 4 bits; shortlist_codes={self.shortlist_codes} is for a graph"
            )

    @property
    def codes(self) -> str | None:
        """How the older rows have to be stored; None where a graph may have the codes that suit its size."""
        if self.shortlist_index == "packed":
            return PACKED
        return None if self.shortlist_codes == "auto" else self.shortlist_codes
