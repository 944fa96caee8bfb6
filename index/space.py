"""The embedding space of an index: widths and the fingerprint that tells two spaces apart."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from index.errors import StoreCorrupt
from index.record import read_record

FingerprintValue = str | int | float | bool | None


@dataclass(frozen=True)
class Space:
    """What vectors an index holds.

    `dim` is the width of the stored vectors, `prefix_dim` the width of the first stage. `fingerprint` names
    the model, its weights, prompts and normalisation; two spaces are the same when `dim` and the fingerprint
    are equal. `exact_only` says that no prefix of this space is known to carry a ranking, so that every
    search scans full vectors.
    """

    dim: int
    prefix_dim: int
    fingerprint: Mapping[str, FingerprintValue] = field(default_factory=dict)
    exact_only: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.prefix_dim <= self.dim:
            raise ValueError(f"prefix_dim must be between 1 and dim={self.dim}, got {self.prefix_dim}")

    @cached_property
    def fingerprint_id(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON of `dim` and the fingerprint."""
        identity = {"dim": self.dim, **self.fingerprint}
        canonical = json.dumps(identity, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def differences(self, other: "Space") -> list[str]:
        """Lines such as `model: 'a' (stored) != 'b' (asked for)`; empty when the spaces are the same."""
        mine, theirs = {"dim": self.dim, **self.fingerprint}, {"dim": other.dim, **other.fingerprint}
        keys = sorted(mine.keys() | theirs.keys())
        return [
            f"{key}: {mine.get(key)!r} (stored) != {theirs.get(key)!r} (asked for)"
            for key in keys
            if mine.get(key) != theirs.get(key)
        ]

    def to_json(self) -> str:
        """JSON for the `state` table."""
        record = {
            "dim": self.dim,
            "prefix_dim": self.prefix_dim,
            "exact_only": self.exact_only,
            "fingerprint": dict(self.fingerprint),
        }
        return json.dumps(record, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Space":
        """Inverse of `to_json`; raises StoreCorrupt."""
        record = read_record(text, "the space of the index")
        try:
            return cls(**record)
        except (ValueError, TypeError) as error:
            raise StoreCorrupt(f"the space of the index cannot be read: {error}") from None
