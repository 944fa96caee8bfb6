"""Trains the head of the bundled model: an orthogonal matrix that puts the ranking into the first dimensions.

The body is frozen and its features are cached, so a step is a few small matrix products. An orthogonal head changes
no inner product of full vectors: whatever the training does, the full-width ranking stays what it was.

Two losses. `distil` asks every prefix to rank a mixed batch as the full vectors do (app/rotating.py); it needs no
labels. `matryoshka` is sentence-transformers' MatryoshkaLoss around MultipleNegativesRankingLoss: the positive of an
anchor is to come first at every width. `both` adds them. Batches hold near neighbours: among texts that have little
to do with each other there is no fine order to learn.

The numbers of a vector are not alike. Most can be squeezed: meaning, and what words are like. They are turned. The
rest, the signs that tell words apart, are random by design and cannot be: they follow as they are, after the narrow
widths.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.losses import MatryoshkaLoss, MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.modules import Dense, Normalize
from torch import Tensor, nn

from app.compose import linear
from app.rotating import SCALE_RATE, Distillation, nearest_orthogonal, orthogonal_turn, principal

LossName = Literal["distil", "matryoshka", "both"]
BLOCK = 1024  # rows whose neighbours are looked for at a time


@dataclass(frozen=True)
class HeadSettings:
    """Everything that decides a head besides the data."""

    dims: tuple[int, ...] = (512, 256, 128, 64, 32)
    loss: LossName = "distil"
    steps: int = 600
    batch: int = 512  # pairs in a step
    neighbours: int = 3  # of each drawn pair that are drawn with it
    learning_rate: float = 3e-3
    temperature: float = 0.05  # of the softmaxes of `distil`
    contrast: float = 0.1  # weight of `matryoshka` in `both`
    scale: float = 20.0  # of the similarities in `matryoshka`
    seed: int = 0


@dataclass(frozen=True)
class Features:
    """One training set: row i of the first arrays belongs to pair i, (n, d) float32 unit rows."""

    anchors: np.ndarray
    positives: np.ndarray
    negatives: np.ndarray  # (m, d) with m <= n: hard negatives of this set, in no particular order


def train_head(
    sets: Sequence[Features],
    settings: HeadSettings,
    progress: Callable[[int, float], None] | None = None,
    turned: int | None = None,
) -> Tensor:
    """The trained head, (d, d) float32, orthogonal to 1e-5; `progress` is told the step and the loss.

    Only the first `turned` of the d numbers are mixed with each other, all of them when it is None.
    """
    torch.manual_seed(settings.seed)
    width = sets[0].anchors.shape[1]
    turned = turned or width
    start = torch.from_numpy(principal(np.concatenate([rows[:, :turned] for rows in _texts(sets)])))
    dense = linear(torch.eye(turned))
    dense.linear = orthogonal_turn(turned)
    widths = tuple(dim for dim in settings.dims if dim <= leading(turned, width))
    step_loss, scales = _loss(dense, start, settings, widths)
    groups: list[dict[str, Any]] = [{"params": dense.linear.parameters()}, {"params": scales, "lr": SCALE_RATE}]
    optimiser = torch.optim.Adam(groups, lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, [settings.learning_rate, SCALE_RATE], total_steps=settings.steps, pct_start=0.1
    )
    batches = draw_batches(sets, settings.batch, np.random.default_rng(settings.seed), settings.neighbours)
    for step, batch in zip(range(1, settings.steps + 1), batches, strict=False):
        optimiser.zero_grad()
        loss = step_loss(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress(step, loss.item())
    turn = nearest_orthogonal((dense.linear.weight.detach() @ start.T).double().numpy())
    return laid_out(torch.from_numpy(turn), width)


def leading(turned: int, width: int) -> int:
    """How many of the turned numbers come first; measured on training sets: signs pay from 512 of 768 on."""
    return turned if turned == width else turned // 2


def laid_out(turn: Tensor, width: int) -> Tensor:
    """The (width, width) head of a (t, t) turn: half of the turned numbers, the others as they are, then the rest."""
    turned = len(turn)
    blocks = torch.eye(width)
    blocks[:turned, :turned] = turn
    first = leading(turned, width)
    return blocks[[*range(first), *range(turned, width), *range(first, turned)]].contiguous()


def draw_batches(
    sets: Sequence[Features], size: int, rng: np.random.Generator, neighbours: int = 0
) -> Iterator[Features]:
    """Mixed batches without end; a set is drawn from in proportion to the root of its size.

    With `neighbours`, so many pairs whose positives are nearest are drawn with every pair.
    """
    share = np.sqrt([len(one.anchors) for one in sets])
    near = [nearest(one.positives, neighbours) for one in sets]
    while True:
        drawn: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        for one, close, count in zip(sets, near, rng.multinomial(size, share / share.sum()), strict=True):
            seeds = rng.integers(len(one.anchors), size=-(-count // (1 + close.shape[1])))
            rows = np.concatenate([seeds, close[seeds].ravel()])[:count]
            hard = rng.integers(len(one.negatives), size=count if len(one.negatives) else 0)
            drawn.append((one.anchors[rows], one.positives[rows], one.negatives[hard]))
        yield Features(*(np.concatenate(column) for column in zip(*drawn, strict=True)))


def nearest(rows: np.ndarray, number: int) -> np.ndarray:
    """(n, number) places of the rows nearest to each of (n, d) unit rows, itself left out; fewer if n is small."""
    number = min(number, len(rows) - 1)
    found = np.empty((len(rows), number), dtype=np.int64)
    for start in range(0, len(rows) if number else 0, BLOCK):
        scores = rows[start : start + BLOCK] @ rows.T
        scores[np.arange(len(scores)), np.arange(start, start + len(scores))] = -np.inf
        found[start : start + len(scores)] = np.argpartition(-scores, number - 1, axis=1)[:, :number]
    return found


def _texts(sets: Sequence[Features]) -> list[np.ndarray]:
    return [rows for one in sets for rows in (one.anchors, one.positives)]


def _loss(
    dense: Dense, start: Tensor, settings: HeadSettings, widths: Sequence[int]
) -> tuple[Callable[[Features], Tensor], list[nn.Parameter]]:
    """The loss of one batch, by name; and the scales that are learned with it."""
    distil = Distillation(widths, settings.temperature)
    model = SentenceTransformer(modules=[dense, Normalize()], device="cpu")
    ranking = MultipleNegativesRankingLoss(model, scale=settings.scale)
    matryoshka = MatryoshkaLoss(model, ranking, [*widths, dense.out_features])
    turned = len(start)

    def distilled(batch: Features) -> Tensor:
        full = torch.from_numpy(np.concatenate([batch.anchors, batch.positives, batch.negatives]))
        return distil(full, full[:, :turned] @ start @ dense.linear.weight.T)

    def contrasted(batch: Features) -> Tensor:
        sides = (torch.from_numpy(rows)[:, :turned] @ start for rows in (batch.anchors, batch.positives))
        loss: Tensor = matryoshka([{"sentence_embedding": side} for side in sides], labels=torch.empty(0))
        return loss

    chosen = {
        "distil": distilled,
        "matryoshka": contrasted,
        "both": lambda batch: distilled(batch) + settings.contrast * contrasted(batch),
    }
    return chosen[settings.loss], list(distil.parameters())
