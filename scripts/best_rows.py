"""The best rows of each query, found block by block."""

import numpy as np


class Top:
    """The best rows of each query so far: (q, k) scores and rows."""

    def __init__(self, queries: int, keep: int) -> None:
        self.scores = np.full((queries, keep), -np.inf, dtype=np.float32)
        self.rows = np.zeros((queries, keep), dtype=np.int64)

    def add(self, start: int, scores: np.ndarray) -> None:
        """Take in (q, n) scores of rows start, start + 1, ..."""
        both = np.concatenate([self.scores, scores], axis=1)
        rows = np.concatenate([self.rows, np.broadcast_to(np.arange(start, start + scores.shape[1]), scores.shape)], 1)
        keep = self.rows.shape[1]
        best = np.argpartition(-both, keep - 1, axis=1)[:, :keep]
        best = np.take_along_axis(best, np.argsort(-np.take_along_axis(both, best, 1), axis=1, kind="stable"), 1)
        self.scores, self.rows = np.take_along_axis(both, best, 1), np.take_along_axis(rows, best, 1)
