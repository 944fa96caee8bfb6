"""Watching a training from outside: its progress, its last evaluation, and Ctrl-C that loses nothing."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

Report = Callable[[int, int, float], None]  # step, of all, loss (nan before the first is known)


class Watch(TrainerCallback):
    """Tells each step; evaluates at the last one; when asked to stop, saves a checkpoint after the step and ends."""

    def __init__(self, report: Report, evaluates: bool) -> None:
        self.report, self.evaluates = report, evaluates
        self.loss = float("nan")
        self.stop = False

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.loss = float((kwargs.get("logs") or {}).get("loss", self.loss))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self.report(state.global_step, state.max_steps, self.loss)
        last = state.global_step >= state.max_steps
        if last and self.evaluates:
            control.should_evaluate = True
        if self.stop and not last:
            control.should_save = control.should_training_stop = True


@contextmanager
def stopping(watch: Watch) -> Iterator[None]:
    """The first Ctrl-C asks the training to stop after its step, a second one ends it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask(number: int, frame: Any) -> None:
        if watch.stop:
            raise KeyboardInterrupt
        watch.stop = True

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
