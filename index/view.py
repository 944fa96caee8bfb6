"""One committed moment of the index: what a search sees from its first step to its last."""

from dataclasses import dataclass

import numpy as np

from index.codec import Codec
from index.shortlist import Shortlist
from index.space import Space


@dataclass(frozen=True)
class View:
    """Immutable; the writer replaces it by one assignment after each commit.

    `live` is a packed bitmap (ceil(rows / 8),) uint8, `matrix` the mapped (rows, row_bytes) uint8 full
    vectors. `epoch` counts changes of metadata in place. The shortlist covers exactly `rows` rows.
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
    shortlist: Shortlist
    rotation: np.ndarray | None = None

    @property
    def all_live(self) -> bool:
        """Whether no row is dead."""
        return self.count == self.rows
