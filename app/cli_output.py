"""How commands show things: tables for people, JSON for programs."""

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

SNIPPET = 160  # characters
UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


class RateColumn(ProgressColumn):
    """Documents per second."""

    def render(self, task: Task) -> Text:
        rate = task.finished_speed or task.speed
        return Text("" if rate is None else f"{rate:,.0f}/s", style="progress.data.speed")


def progress_bar() -> Progress:
    """A bar with count, rate and time left, on standard error."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )


def share_bar() -> Progress:
    """A bar with the share that is done and time left, on standard error: for work that is not counted in documents."""
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )


@contextmanager
def stopping(left: str = "the index is as it was") -> Iterator[None]:
    """Ctrl-C ends a command with a line that says what it has left."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo(f"stopped; {left}", err=True)
        raise typer.Exit(130) from None


def print_json(value: Any) -> None:
    """One JSON value, indented, as it is."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_pairs(title: str, values: Mapping[str, Any]) -> None:
    """A table of names and values; what is inside an object gets dotted names."""
    table = Table("name", "value", title=title, title_justify="left", show_header=False)
    for name, value in flattened(values):
        table.add_row(name, escape(shown(name, value)))
    Console().print(table)


def flattened(values: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """`{"a": {"b": 1}}` as `("a.b", 1)`."""
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from flattened(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def shown(name: str, value: Any) -> str:
    """A value as a person reads it: 1,234; 5.2 MiB where the name speaks of bytes; - for nothing."""
    if value is None:
        return "-"
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, int) and "bytes" in name:
        return size(value)
    return f"{value:,}" if isinstance(value, int) else json.dumps(value, ensure_ascii=False)


def size(number: float) -> str:
    """1536 as "1.5 KiB"."""
    for unit in UNITS[:-1]:
        if number < 1024:
            return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:,.1f} {unit}"
        number /= 1024
    return f"{number:,.1f} {UNITS[-1]}"


def snippet(text: str | None) -> str:
    """The first 160 characters on one line."""
    line = " ".join((text or "").split())
    return line if len(line) <= SNIPPET else line[: SNIPPET - 1] + "…"
