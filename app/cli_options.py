"""Options that several commands share, and the errors that any of them may end with."""

from pathlib import Path
from typing import Annotated, Literal

import typer

WRONG_PATHS = (PermissionError, FileExistsError, FileNotFoundError, NotADirectoryError, IsADirectoryError)

Url = Annotated[
    str | None,
    typer.Option(
        envvar="FUNNEL_URL",
        help="A running service.",
        show_default="FUNNEL_HOST and FUNNEL_PORT, or http://127.0.0.1:8000",
    ),
]
DataDir = Annotated[
    Path | None, typer.Option(help="Open this directory instead of asking a service.", show_default=False)
]
Folder = Annotated[
    Path | None,
    typer.Option("--data-dir", help="The index; stop its service first.", show_default="FUNNEL_DATA_DIR or data"),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Words = Annotated[
    float | None,
    typer.Option(
        "--words", min=0, max=1, help="Look for the words, too: their share of the score.", show_default=False
    ),
]
Form = Annotated[
    Literal["jsonl", "csv", "parquet"] | None,
    typer.Option("--format", help="Kind of file.", show_default="from its name"),
]
Arrow = Annotated[
    bool,
    typer.Option(
        "--arrow",
        help="Send the columns of a Parquet or Arrow file as they are: many times as fast for documents with vectors.",
    ),
]
Mode = Annotated[
    Literal["upsert", "insert_only", "update_only"], typer.Option(help="What to do about documents that exist.")
]


def expected_errors() -> tuple[type[Exception], ...]:
    """Errors whose message is for the user; imported only when something has gone wrong."""
    from app.client_errors import ClientError
    from app.rows import RecordError
    from app.settings import SettingsError
    from index.errors import FunnelError

    return ClientError, FunnelError, RecordError, SettingsError, *WRONG_PATHS
