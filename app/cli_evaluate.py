"""The command `funnel evaluate` and its options; what it does is in `app.cli_evaluation`."""

from pathlib import Path
from typing import Annotated

import typer

from app.cli_options import Json

Model = Annotated[
    list[str] | None,
    typer.Option("--model", "-m", help="Hub id or folder of a model; repeatable.", show_default="FUNNEL_MODEL"),
]
Stages = Annotated[
    list[str] | None,
    typer.Option(
        help="rerank, or a cascade: 64,256 keeps a quarter at each step, 64:2000,256:300 these numbers; repeatable.",
        show_default="rerank and 64,256",
    ),
]


def evaluate(
    data: Annotated[list[Path], typer.Argument(help="Folders of collections, or files of scored pairs.")],
    model: Model = None,
    out: Annotated[Path | None, typer.Option(help="Write evaluation.md, evaluation.json and plots here.")] = None,
    queries: Annotated[
        int | None, typer.Option(min=2, help="At most so many queries or pairs, drawn at random.", show_default="all")
    ] = None,
    widths: Annotated[str | None, typer.Option(help="Dimensions to cut to.", show_default="768,512,...,16")] = None,
    shortlists: Annotated[
        str | None, typer.Option(help="Points of the funnel's curve.", show_default="50,100,200,400,800")
    ] = None,
    stages: Stages = None,
    share: Annotated[
        float, typer.Option(min=0.01, max=1, help="Share of the full quality that a width has to keep.")
    ] = 0.95,
    no_baselines: Annotated[bool, typer.Option("--no-baselines", help="Leave out all-MiniLM-L6-v2 and BM25.")] = False,
    json: Json = False,
) -> None:
    """Measure a model at every width and through the funnel, and say where quality breaks.

    A collection is a folder in BEIR's layout: corpus.jsonl, queries.jsonl,
    and qrels.tsv or qrels/test.tsv. Without judgements its titles search its
    texts. Scored pairs are a file, or a folder's test.tsv, with the columns
    sentence1, sentence2, score. The index is built in the folder for temporary
    files (TMPDIR). Needs pip install 'funnel-search\\[evaluate]'.

    [bold]funnel evaluate beir/scifact --out report[/bold]
    [bold]funnel evaluate stsb/test.tsv -m ./matryoshka -m ./plain --no-baselines[/bold]
    [bold]funnel evaluate my-notes --queries 500 --widths 256,64 --shortlists 100,400[/bold]
    [bold]funnel evaluate my-notes --stages rerank --stages 64:2000,256:300 --json[/bold]
    """
    from app.cli_evaluation import make_settings, run_evaluate

    settings = make_settings(widths, shortlists, stages or [], queries, share)
    run_evaluate(data, model or [], out, settings, not no_baselines, json)
