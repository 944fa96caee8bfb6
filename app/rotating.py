"""Learns a rotation: an orthogonal matrix after which the first numbers of a vector rank as the whole vector does.

It needs vectors alone, no texts and no labels. It starts from principal directions and refines them: every prefix
ranks a batch of documents as the full vectors do,

    loss = sum over widths w of  KL( softmax(X X^T / T)  ||  softmax(a_w P_w P_w^T / T) )
    P_w = normalise((X R)[:, :w])

with a document's similarity to itself left out, in the manner of Matryoshka Representation Learning (Kusupati et
al. 2022, arXiv 2205.13147) with the full similarities as teacher. The scale a_w of each width is learned beside R:
similarities of prefixes are larger than the full ones, which changes no order and must not cost anything. R stays
orthogonal by its Cayley parametrisation (torch.nn.utils.parametrizations.orthogonal), so no inner product of full
vectors changes.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import cos, pi
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, normalize
from torch.nn.utils.parametrizations import orthogonal

from app.shortlists import mean_log_place

Progress = Callable[[int, int], None]  # done, of all
NARROWEST, WIDEST = 32, 512  # of the widths that are learned by default
SCALE_RATE = 2e-2  # learning rate of the scales
WARM = 0.1  # of the steps
ITSELF = -1e4  # added to the similarity of a document with itself: it must not decide the softmax


@dataclass(frozen=True)
class RotationSettings:
    """Everything that decides a rotation besides the vectors."""

    widths: tuple[int, ...] = (256, 128, 64, 32)
    steps: int = 300
    batch: int = 512
    learning_rate: float = 2e-3
    temperature: float = 0.05
    seed: int = 0


def default_widths(dim: int, prefix_dim: int) -> tuple[int, ...]:
    """Powers of two from 32 to 512 below `dim`, and the width of the prefix; descending."""
    powers = (NARROWEST << step for step in range((WIDEST // NARROWEST).bit_length()))
    return tuple(sorted({width for width in (*powers, prefix_dim) if width < dim}, reverse=True))


def principal(vectors: np.ndarray) -> np.ndarray:
    """(dim, dim) float32: the eigenvectors of the uncentred second moment of (n, dim) rows, strongest first.

    Not centred, because it is inner products that are to be kept, not distances from the mean.
    """
    moment = np.zeros((vectors.shape[1],) * 2)
    for start in range(0, len(vectors), 4096):
        block = vectors[start : start + 4096].astype(np.float64)
        moment += block.T @ block
    return nearest_orthogonal(np.linalg.eigh(moment)[1][:, ::-1])


def learn(vectors: np.ndarray, settings: RotationSettings, progress: Progress | None = None) -> np.ndarray:
    """(dim, dim) float32, orthogonal to 1e-5, learned from (n, dim) float32 unit rows; prefix = (row @ matrix)[:w].

    The same seed and vectors give the same matrix. Nothing of size n x n is made.
    """
    start = best_start(vectors, settings)
    turn = orthogonal_turn(len(start))
    loss = Distillation(settings.widths, settings.temperature)
    groups: list[dict[str, Any]] = [{"params": turn.parameters()}, {"params": loss.parameters(), "lr": SCALE_RATE}]
    optimiser = torch.optim.Adam(groups, lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, partial(rate, steps=settings.steps))
    for step, rows in enumerate(batches(len(vectors), settings), 1):
        full, turned = torch.from_numpy(vectors[rows]), torch.from_numpy(vectors[rows] @ start)
        if step == 1:
            loss.calibrate(full, turned)
        optimiser.zero_grad()
        loss(full, turn(turned)).backward()
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress(step, settings.steps)
    return nearest_orthogonal(start.astype(np.float64) @ turn.weight.detach().double().numpy().T)


def best_start(vectors: np.ndarray, settings: RotationSettings) -> np.ndarray:
    """The principal directions, or those of the centred rows where these rank better.

    Where all vectors lie around one direction that tells them apart by nothing, the first principal direction is that
    one, and no small step leads away from it: a little of it mixed into another number harms the order.
    """
    starts = principal(vectors), principal(vectors - vectors.mean(axis=0))
    return min(starts, key=lambda start: mean_log_place(vectors, settings.widths, start, settings.seed))


def orthogonal_turn(dim: int) -> nn.Linear:
    """x -> x @ weight.T with an orthogonal (dim, dim) weight that is the identity to begin with."""
    linear = nn.Linear(dim, dim, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.eye(dim))
    orthogonal(linear, orthogonal_map="cayley", use_trivialization=True)
    return linear


class Distillation(nn.Module):
    """Every prefix ranks a batch as the full vectors do."""

    def __init__(self, widths: Sequence[int], temperature: float) -> None:
        super().__init__()
        self.widths, self.temperature = widths, temperature
        self.log_scales = nn.Parameter(torch.zeros(len(widths)))

    @torch.no_grad()
    def calibrate(self, full: Tensor, turned: Tensor) -> None:
        """Start with the scales that give prefix similarities the spread of the full ones, on a batch as below; with 1
        where there is no spread, as among copies of one document."""
        prefixes = [normalize(turned[:, :width]) for width in self.widths]
        spreads = torch.stack([(prefix @ prefix.T).std() for prefix in prefixes])
        self.log_scales.copy_(((full @ full.T).std() / spreads).log().nan_to_num(0.0, 0.0, 0.0))

    def forward(self, full: Tensor, turned: Tensor) -> Tensor:
        """Sum over the widths of KL(full || prefix) for (n, dim) unit rows and the same rows under the rotation."""
        itself = ITSELF * torch.eye(len(full))
        teacher = (full @ full.T / self.temperature + itself).softmax(dim=1)
        losses = []
        for width, scale in zip(self.widths, self.log_scales.exp(), strict=True):
            prefix = normalize(turned[:, :width])
            ranked = (prefix @ prefix.T * scale / self.temperature + itself).log_softmax(dim=1)
            losses.append(kl_div(ranked, teacher, reduction="batchmean"))
        return torch.stack(losses).sum()


def rate(step: int, steps: int) -> float:
    """Share of the learning rate at a step: up over the first tenth, then down to 0 along a cosine."""
    return min(1.0, (step + 1) / (WARM * steps)) * 0.5 * (1 + cos(pi * min(step / steps, 1.0)))


def batches(rows: int, settings: RotationSettings) -> Iterator[np.ndarray]:
    """Row numbers of each step's batch, drawn without replacement within it."""
    rng = np.random.default_rng(settings.seed)
    for _ in range(settings.steps):
        yield rng.choice(rows, min(settings.batch, rows), replace=False)


def nearest_orthogonal(matrix: np.ndarray) -> np.ndarray:
    """The orthogonal matrix closest to a (dim, dim) matrix, by its singular vectors in float64; as float32."""
    left, _, right = np.linalg.svd(np.asarray(matrix, dtype=np.float64))
    return np.ascontiguousarray(left @ right, dtype=np.float32)
