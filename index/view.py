"""One committed moment of the index: what a search sees from its first step to its last."""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from index.allowed import Allowed
from index.codec import Codec
from index.matryoshka import prefixes, stage_prefixes, turned, unit
from index.rotation import QueryMap, Rotation
from index.shortlist import Shortlist
from index.space import Space


@dataclass(frozen=True)
class View:
    """Immutable; the writer replaces it by one assignment after each commit.

    `live` is a packed bitmap (ceil(rows / 8),) uint8, `matrix` the mapped (rows, row_bytes) uint8 full
    vectors, `checksums` their mapped (rows,) uint32 CRC-32s. `epoch` counts changes of metadata in place. The
    shortlist covers exactly `rows` rows and was made with `rotation`. `space` is as it was opened; `searched` is
    what a rotation makes of it.
    """

    space: Space
    codec: Codec
    commits: int
    generation: int
    rows: int
    count: int
    epoch: int
    live: np.ndarray
    matrix: np.ndarray
    checksums: np.ndarray
    shortlist: Shortlist
    rotation: Rotation | None = None
    query_map: QueryMap | None = None

    @property
    def all_live(self) -> bool:
        """Whether no row is dead."""
        return self.count == self.rows

    @property
    def every(self) -> Allowed:
        """All live rows."""
        return Allowed(self.live, self.count, self.rows)

    @cached_property
    def searched(self) -> Space:
        """The space as a search meets it: with a rotation, prefixes carry a ranking although none was trained."""
        return self.space if self.rotation is None else replace(self.space, exact_only=False)

    def mapped(self, unit: np.ndarray) -> np.ndarray:
        """(q, dim) unit queries under the query map, if there is one."""
        return unit if self.query_map is None or not len(unit) else self.query_map.of(unit)

    def prefix(self, query: np.ndarray) -> tuple[np.ndarray, float]:
        """The (prefix_dim,) float32 prefix of a (dim,) unit query, and its norm before it was normalised."""
        turned = self.turned(query[None])
        norm = float(np.sqrt(turned[0] @ turned[0]))  # in half of the time of np.linalg.norm
        return unit(turned)[0], norm

    def prefixes(self, full: np.ndarray) -> np.ndarray:
        """Prefixes (n, prefix_dim) float32 of (n, width) unit rows under the rotation."""
        return prefixes(full, self.space.prefix_dim, self._matrix)

    def turned(self, full: np.ndarray) -> np.ndarray:
        """The same before they are normalised."""
        return turned(full, self.space.prefix_dim, self._matrix)

    def stage_prefixes(self, full: np.ndarray, dim: int) -> np.ndarray:
        """Prefixes (n, dim) float32 of a middle stage."""
        return stage_prefixes(full, dim, self._matrix)

    @property
    def _matrix(self) -> np.ndarray | None:
        return None if self.rotation is None else self.rotation.matrix
