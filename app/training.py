"""Trains the head of the bundled model: an orthogonal matrix that puts the ranking into the first dimensions.

The body is frozen and its features are cached, so a step is a few small matrix products. An orthogonal head changes
no inner product of full vectors: whatever the training does, the full-width ranking stays what it was.

Two losses. `distil` asks every prefix to rank a mixed batch as the full vectors do (KL divergence between the
softmaxes of the similarities); it needs no labels. `matryoshka` is sentence-transformers' MatryoshkaLoss around
MultipleNegativesRankingLoss: the positive of an anchor is to come first at every width. `both` adds them.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Dense, Normalize
from torch import Tensor, nn
from torch.nn.functional import kl_div, normalize
from torch.nn.utils.parametrizations import orthogonal

from app.compose import linear

LossName = Literal["distil", "matryoshka", "both"]
SELF = -1e4  # added to a text's similarity with itself: it must not decide the softmax


@dataclass(frozen=True)
class HeadSettings:
    """Everything that decides a head besides the data."""

    dims: tuple[int, ...] = (512, 256, 128, 64, 32)
    loss: LossName = "distil"
    steps: int = 600
    batch: int = 512  # pairs in a step
    learning_rate: float = 2e-3
    temperature: float = 0.05  # of the softmaxes of `distil`
    contrast: float = 0.1  # weight of `matryoshka` in `both`
    scale: float = 20.0  # of the similarities in `matryoshka`
    seed: int = 0


@dataclass(frozen=True)
class Features:
    """One training set: row i of the three arrays belongs to pair i, (n, d) float32 unit rows."""

    anchors: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray  # (m, d) with m <= n: hard negatives of this set, in no particular order


def principal_head(features: Sequence[Features]) -> Tensor:
    """The principal directions of all texts, (d, d) orthogonal, strongest first: where training starts."""
    width = features[0].anchors.shape[1]
    moment = np.zeros((width, width))
    for one in features:
        for rows in (one.anchors, one.positives):
            moment += rows.T.astype(np.float64) @ rows
    _, directions = np.linalg.eigh(moment)
    return torch.from_numpy(directions[:, ::-1].T.astype(np.float32).copy())


class Distillation(nn.Module):
    """Every prefix of the head's output ranks a batch as the full vectors do."""

    def __init__(self, head: Dense, dims: Sequence[int], temperature: float) -> None:
        super().__init__()
        self.head, self.dims, self.temperature = head, dims, temperature

    def forward(self, texts: Tensor) -> Tensor:
        """Sum over the widths of KL(full || prefix), for (n, d) unit rows; every text ranks all the others."""
        itself = SELF * torch.eye(len(texts))
        full = (texts @ texts.T / self.temperature + itself).softmax(dim=1)
        turned = texts @ self.head.linear.weight[: max(self.dims)].T
        losses = []
        for dim in self.dims:
            prefix = normalize(turned[:, :dim])
            ranked = (prefix @ prefix.T / self.temperature + itself).log_softmax(dim=1)
            losses.append(kl_div(ranked, full, reduction="batchmean"))
        return torch.stack(losses).sum()


def train_head(
    sets: Sequence[Features], settings: HeadSettings, progress: Callable[[int, float], None] | None = None
) -> Tensor:
    """The trained head, (d, d) float32, orthogonal to 1e-5; `progress` is told the step and the loss."""
    torch.manual_seed(settings.seed)
    dense = linear(principal_head(sets))
    orthogonal(dense.linear, orthogonal_map="cayley", use_trivialization=True)
    step_loss = _loss(dense, settings)
    optimiser = torch.optim.Adam(dense.linear.parameters(), lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, settings.learning_rate, total_steps=settings.steps, pct_start=0.1
    )
    batches = draw_batches(sets, settings.batch, np.random.default_rng(settings.seed))
    for step, batch in zip(range(1, settings.steps + 1), batches, strict=False):
        optimiser.zero_grad()
        loss = step_loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress(step, loss.item())
    return nearest_orthogonal(dense.linear.weight.detach())


def draw_batches(sets: Sequence[Features], size: int, rng: np.random.Generator) -> Iterator[Features]:
    """Mixed batches without end; a set is drawn from in proportion to the root of its size."""
    share = np.sqrt([len(one.anchors) for one in sets])
    while True:
        drawn: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for one, count in zip(sets, rng.multinomial(size, share / share.sum()), strict=True):
            rows = rng.integers(len(one.anchors), size=count)
            hard = rng.integers(len(one.negatives), size=count if len(one.negatives) else 0)
            drawn.append((one.anchors[rows], one.positives[rows], one.negatives[hard]))
        yield Features(*(np.concatenate(column) for column in zip(*drawn, strict=True)))


def nearest_orthogonal(matrix: Tensor) -> Tensor:
    """The orthogonal matrix closest to `matrix`, without the rounding that training left."""
    left, _, right = torch.linalg.svd(matrix.double())
    return (left @ right).float()


def _loss(dense: Dense, settings: HeadSettings) -> Callable[[Features], Tensor]:
    """The loss of one batch, by name."""
    distil = Distillation(dense, settings.dims, settings.temperature)
    model = SentenceTransformer(modules=[dense, Normalize()], device="cpu")
    ranking = MultipleNegativesRankingLoss(model, scale=settings.scale)
    matryoshka = MatryoshkaLoss(model, ranking, [*settings.dims, dense.out_features])

    def distilled(batch: Features) -> Tensor:
        return distil(torch.from_numpy(np.concatenate([batch.anchors, batch.positives, batch.negatives])))

    def contrasted(batch: Features) -> Tensor:
        columns = [{"sentence_embedding": torch.from_numpy(rows)} for rows in (batch.anchors, batch.positives)]
        loss: Tensor = matryoshka(columns, labels=torch.empty(0))
        return loss

    if settings.loss == "distil":
        return distilled
    if settings.loss == "matryoshka":
        return contrasted
    return lambda batch: distilled(batch) + settings.contrast * contrasted(batch)
