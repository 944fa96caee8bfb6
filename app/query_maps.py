"""Learns a map of the queries: q' = normalise(q W), so that a query lies nearer to the documents that answer it.

Stored vectors are frozen: only the side of the query moves, as in a Matryoshka-Adaptor (arXiv 2407.20243) that is
linear and one-sided. The loss is sentence-transformers' MatryoshkaLoss around MultipleNegativesRankingLoss: at every
width the document of a query's pair is to come first in the batch. Widths below the full one are those of the
prefixes under the rotation R of the index; the full one does not notice it. W starts as the identity I and is held
there by `hold` * mean((W - I)^2) * dim.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
from torch import Tensor, nn

from app.rotating import Progress, rate

QUERY = "is_query"  # marks the features of a query among those of documents


@dataclass(frozen=True)
class QueryMapSettings:
    """Everything that decides a map besides the pairs."""

    widths: tuple[int, ...] = (256, 128, 64, 32)
    steps: int = 300
    batch: int = 256
    learning_rate: float = 1e-3
    scale: float = 20.0
    hold: float = 1.0
    seed: int = 0


@dataclass(frozen=True)
class VectorPairs:
    """Queries and what answers them: `answers[i]` is the row in `documents` that belongs to query i."""

    queries: np.ndarray  # (q, dim) float32 unit rows
    documents: np.ndarray  # (n, dim) float32 unit rows
    answers: np.ndarray  # (q,) int64


class QuerySide(nn.Module):
    """x -> x W for queries, x for documents; then both under the rotation."""

    def __init__(self, dim: int, rotation: np.ndarray | None) -> None:
        super().__init__()
        self.map = nn.Parameter(torch.eye(dim))
        self.turn: Tensor | None
        self.register_buffer("turn", None if rotation is None else torch.from_numpy(rotation))

    def forward(self, features: dict[str, Tensor]) -> dict[str, Tensor]:
        """`sentence_embedding` (b, dim) of one side."""
        rows = features["sentence_embedding"]
        moved = rows @ self.map if QUERY in features else rows
        return {**features, "sentence_embedding": moved if self.turn is None else moved @ self.turn}


def learn_query_map(
    pairs: VectorPairs,
    settings: QueryMapSettings,
    rotation: np.ndarray | None = None,
    progress: Progress | None = None,
) -> np.ndarray:
    """(dim, dim) float32 W; `rotation` is that of the index. The same seed and pairs give the same map."""
    dim = pairs.queries.shape[1]
    side = QuerySide(dim, rotation)
    model = SentenceTransformer(modules=[side], device="cpu")
    ranking = MultipleNegativesRankingLoss(model, scale=settings.scale)
    matryoshka = MatryoshkaLoss(model, ranking, [dim, *settings.widths])
    optimiser = torch.optim.Adam([side.map], lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, partial(rate, steps=settings.steps))
    for step, columns in enumerate(batches(pairs, settings), 1):
        optimiser.zero_grad()
        held = settings.hold * dim * (side.map - torch.eye(dim)).square().mean()
        (matryoshka(columns, labels=torch.empty(0)) + held).backward()
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress(step, settings.steps)
    return side.map.detach().numpy().copy()


def batches(pairs: VectorPairs, settings: QueryMapSettings) -> Iterator[list[dict[str, Tensor]]]:
    """The columns of each step's loss: queries and their documents. No document stands twice in a batch, where it
    would be a wrong answer to the query of the other pair."""
    rng = np.random.default_rng(settings.seed)
    for _ in range(settings.steps):
        rows = rng.permutation(len(pairs.answers))[: 2 * settings.batch]
        rows = rows[np.sort(np.unique(pairs.answers[rows], return_index=True)[1])][: settings.batch]
        queries = {"sentence_embedding": torch.from_numpy(pairs.queries[rows]), QUERY: torch.ones(())}
        yield [queries, {"sentence_embedding": torch.from_numpy(pairs.documents[pairs.answers[rows]])}]
