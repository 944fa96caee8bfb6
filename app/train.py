"""A training from settings to a folder that can be served: sentence-transformers' trainer, wired."""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import BatchSamplers, MultiDatasetBatchSamplers
from transformers import set_seed
from transformers.trainer_callback import PrinterCallback, ProgressCallback
from transformers.trainer_utils import get_last_checkpoint

from app.lane import quiet_loading
from app.losses import build_loss, check_model, choose_losses, uses_other_rows
from app.train_card import Told, write_card
from app.train_evaluation import Scores, WidthsEvaluator
from app.train_head import over_features, with_head
from app.train_model import open_base, state_widths, width_of
from app.train_rows import TrainingSet
from app.train_sets import as_datasets, gather, prompts_by_set, with_negatives
from app.train_settings import SHAPES, TrainError, TrainSettings, choose_training_widths, differences
from app.train_watch import Watch, stopping

CHECKPOINTS = "checkpoints"
SETTINGS = "settings.json"
Progress = Callable[[str, int, int, float], None]  # what, done, of all, loss (nan where there is none)


@dataclass(frozen=True)
class Outcome:
    """How a training ended: `finished` is False after Ctrl-C, and a checkpoint lies in the folder then."""

    folder: Path
    steps: int
    of: int
    finished: bool
    widths: tuple[int, ...]
    before: Scores
    after: Scores
    dropped: int  # rows with an empty side
    measured: dict[str, int]  # set -> rows it was measured on


def train(settings: TrainSettings, progress: Progress, command: str = "") -> Outcome:
    """Train `settings.base` and write it to `settings.out`; `command` goes into the card.

    Raises TrainError, ModelError or RecordError before anything is written, when it cannot start as asked.
    """
    checkpoint = _prepare(settings)
    set_seed(settings.seed)
    sets, held = gather(settings)
    losses = choose_losses(sets, settings)
    base = open_base(settings.base, settings.device, settings.layers, settings.max_tokens)
    widths = choose_training_widths(width_of(base), settings.widths)
    check_model(base, settings, widths)
    if settings.mine_negatives:
        sets = [with_negatives(one, base, settings.mine_negatives, settings.batch) for one in sets]
    model = _trainable(base, [*sets, *held], settings, progress)
    state_widths(base, widths if settings.shape in ("matryoshka", "2d") else ())
    _keep_settings(settings)
    evaluator = WidthsEvaluator(held, widths, settings.batch) if held else None
    watch = Watch(lambda step, total, loss: progress("training", step, total, loss), evaluator is not None)
    trainer = _trainer(model, settings, sets, losses, widths, evaluator, watch)
    with stopping(watch), quiet_loading():
        trainer.train(resume_from_checkpoint=checkpoint)
    told = _told(settings, command, losses, trainer, evaluator)
    finished = trainer.state.global_step >= trainer.state.max_steps
    if finished:
        _write(with_head(base, model) if settings.head_only else model, settings.out, told)
    steps, dropped = trainer.state, sum(one.dropped for one in sets)
    place = settings.out, steps.global_step, steps.max_steps, finished
    return Outcome(*place, widths, told.before, told.after, dropped, {one.name: len(one) for one in held})


def _prepare(settings: TrainSettings) -> str | None:
    """The checkpoint to go on from, None for a new training. Raises TrainError unless the folder is fit for it."""
    place = settings.out / CHECKPOINTS
    last = _last_checkpoint(place)
    if settings.head_only and (settings.resume or settings.shape in ("2d", "layers")):
        raise TrainError("--head-only trains in minutes on cached features: it has no --resume and no layers")
    if (settings.out / "modules.json").exists():
        raise TrainError(f"{settings.out} holds a model already; choose another --out, or remove it")
    if last and not settings.resume:
        raise TrainError(f"{settings.out} holds an unfinished training: go on with --resume, or remove {place}")
    if not settings.resume:
        return None
    if last is None:
        raise TrainError(f"--resume: there is no checkpoint in {place}")
    if changed := differences(json.loads((place / SETTINGS).read_text()), settings.told()):
        raise TrainError(f"--resume: this is another training than the one begun ({'; '.join(changed)})")
    return last


def _last_checkpoint(place: Path) -> str | None:
    return get_last_checkpoint(str(place)) if place.is_dir() else None  # type: ignore[no-untyped-call]


def _keep_settings(settings: TrainSettings) -> None:
    place = settings.out / CHECKPOINTS
    place.mkdir(parents=True, exist_ok=True)
    (place / SETTINGS).write_text(json.dumps(settings.told(), indent=2) + "\n")


def _trainable(
    base: SentenceTransformer, sets: Sequence[TrainingSet], settings: TrainSettings, progress: Progress
) -> SentenceTransformer:
    """The model that the trainer gets: the base itself, or a head over its features."""
    if not settings.head_only:
        return base
    return over_features(
        base, sets, settings.cache, lambda done, total: progress("features", done, total, float("nan"))
    )


def _trainer(
    model: SentenceTransformer,
    settings: TrainSettings,
    sets: Sequence[TrainingSet],
    losses: dict[str, str],
    widths: Sequence[int],
    evaluator: WidthsEvaluator | None,
    watch: Watch,
) -> SentenceTransformerTrainer:
    model.model_card_data.local_files_only = True
    model.model_card_data.generate_widget_examples = False
    trainer = SentenceTransformerTrainer(
        model=model,
        args=arguments(settings, sets, model, uses_other_rows(list(losses.values())), evaluator is not None),
        train_dataset=as_datasets(sets, settings.seed),
        loss={one.name: build_loss(model, losses[one.name], settings, widths) for one in sets},
        evaluator=evaluator,
        callbacks=[watch],
    )
    for printing in (PrinterCallback, ProgressCallback):
        trainer.remove_callback(printing)
    return trainer


def arguments(
    settings: TrainSettings,
    sets: Sequence[TrainingSet],
    model: SentenceTransformer,
    in_batch: bool,
    evaluates: bool,
) -> SentenceTransformerTrainingArguments:
    """The trainer's own table of settings."""
    device = model.device.type
    return SentenceTransformerTrainingArguments(
        output_dir=str(settings.out / CHECKPOINTS),
        per_device_train_batch_size=settings.batch,
        num_train_epochs=settings.epochs,
        max_steps=settings.max_steps,
        learning_rate=settings.rate(),
        warmup_steps=settings.warmup,  # a part of all steps when below 1
        seed=settings.seed,
        bf16=bfloat16(settings, device),
        use_cpu=device == "cpu",
        dataloader_pin_memory=device == "cuda",
        batch_sampler=BatchSamplers.NO_DUPLICATES if in_batch else BatchSamplers.BATCH_SAMPLER,
        multi_dataset_batch_sampler=MultiDatasetBatchSamplers.PROPORTIONAL,
        prompts=prompts_by_set(sets, model),
        eval_strategy="steps" if evaluates else "no",
        eval_steps=settings.eval_every or 0.1,
        eval_on_start=evaluates and not settings.resume,
        save_strategy="no" if settings.head_only else "steps",
        save_steps=settings.save_every or settings.eval_every or 0.1,
        save_total_limit=1,
        logging_steps=settings.report_every,
        report_to="none",
        disable_tqdm=True,
    )


def bfloat16(settings: TrainSettings, device: str) -> bool:
    """Whether to train in bfloat16: as asked, else where a GPU has it in hardware."""
    if settings.precision != "auto":
        return settings.precision == "bfloat16"
    return device == "cuda" and torch.cuda.is_bf16_supported()


def _told(
    settings: TrainSettings,
    command: str,
    losses: dict[str, str],
    trainer: SentenceTransformerTrainer,
    evaluator: WidthsEvaluator | None,
) -> Told:
    history = evaluator.history if evaluator else []
    before = history[0] if len(history) > 1 and not settings.resume else {}
    data: Any = trainer.train_dataset
    rows = {name: len(data[name]) for name in losses}
    log = trainer.state.log_history
    after = history[-1] if history else {}
    return Told(command, settings.base, SHAPES[settings.shape], losses, rows, before, after, settings.told(), log)


def _write(model: SentenceTransformer, folder: Path, told: Told) -> None:
    """The model, its card and its record; the checkpoints have done their service."""
    with quiet_loading():  # weights are written with a bar too
        model.save_pretrained(str(folder))
    write_card(folder, told)
    shutil.rmtree(folder / CHECKPOINTS)
