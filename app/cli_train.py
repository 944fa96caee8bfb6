"""The command `train`: its options. What it does is in `app.cli_training`; nothing heavy is imported before."""

from pathlib import Path
from typing import Annotated, Literal

import typer

DATA, LOSS, SCHEDULE, RUN = "Data", "Loss", "Schedule", "Machine"


def train(
    base: Annotated[
        str, typer.Argument(help="What to train: a hub id, a folder (sentence-transformers, transformers), or bundled.")
    ],
    out: Annotated[Path, typer.Option(help="Folder for the trained model.")],
    data: Annotated[
        list[str],
        typer.Option(
            help="FILE or FILE:weight; repeatable. JSONL, CSV, TSV, Parquet, also .gz, or a datasets folder.",
            rich_help_panel=DATA,
        ),
    ],
    eval: Annotated[
        list[str] | None,
        typer.Option(help="Evaluate on this file instead of held-out rows; repeatable.", rich_help_panel=DATA),
    ] = None,
    held_out: Annotated[
        float, typer.Option(min=0, max=0.9, help="Part kept for evaluation, 500 rows at most.", rich_help_panel=DATA)
    ] = 0.05,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Names of anchor, positive and negatives or score, with commas.",
            show_default="known names, such as query,answer or sentence1,sentence2,score",
            rich_help_panel=DATA,
        ),
    ] = None,
    score_range: Annotated[
        str, typer.Option(help="LOW,HIGH of the scores in the files; they become 0 to 1.", rich_help_panel=DATA)
    ] = "0,1",
    mine_negatives: Annotated[
        int, typer.Option(min=0, help="Hard negatives to find for every pair with the base.", rich_help_panel=DATA)
    ] = 0,
    loss: Annotated[
        list[str] | None,
        typer.Option(
            help="mnrl, cached-mnrl, symmetric, cached-symmetric, triplet, cosent, angle or cosine; repeatable: "
            "each set takes the first that fits it.",
            show_default="mnrl for pairs and triplets, cosent for scored pairs",
            rich_help_panel=LOSS,
        ),
    ] = None,
    matryoshka_dims: Annotated[
        str | None,
        typer.Option(
            help="Widths to train, with commas; the full one is always among them.",
            show_default="full, 512, 256, 128, 64, 32",
            rich_help_panel=LOSS,
        ),
    ] = None,
    matryoshka_weights: Annotated[
        str | None,
        typer.Option(help="A weight for each width, widest first.", show_default="1 each", rich_help_panel=LOSS),
    ] = None,
    n_dims_per_step: Annotated[
        int, typer.Option(help="Widths drawn for each step; -1: all.", rich_help_panel=LOSS)
    ] = -1,
    matryoshka_2d: Annotated[
        bool, typer.Option("--matryoshka-2d", help="Matryoshka2dLoss: for layers to be cut too.", rich_help_panel=LOSS)
    ] = False,
    adaptive_layers: Annotated[
        bool, typer.Option("--adaptive-layers", help="AdaptiveLayerLoss: layers only.", rich_help_panel=LOSS)
    ] = False,
    no_matryoshka: Annotated[
        bool, typer.Option("--no-matryoshka", help="The base loss alone, for comparison.", rich_help_panel=LOSS)
    ] = False,
    head_only: Annotated[
        bool,
        typer.Option("--head-only", help="Freeze the base, train one matrix behind it: minutes.", rich_help_panel=LOSS),
    ] = False,
    layers: Annotated[
        int | None, typer.Option(min=1, help="Keep the base's first layers only.", show_default="all")
    ] = None,
    batch: Annotated[int, typer.Option(min=2, help="Rows in a step.", rich_help_panel=SCHEDULE)] = 32,
    mini_batch: Annotated[
        int,
        typer.Option(
            min=0,
            help="Embed a large batch in pieces of this size (cached losses); 0: at once.",
            rich_help_panel=SCHEDULE,
        ),
    ] = 0,
    epochs: Annotated[float, typer.Option(min=0.0, help="Passes over the data.", rich_help_panel=SCHEDULE)] = 1.0,
    max_steps: Annotated[
        int | None, typer.Option(min=1, help="Stop after these steps, whatever --epochs.", rich_help_panel=SCHEDULE)
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(show_default="2e-5; 1e-3 with --head-only", rich_help_panel=SCHEDULE)
    ] = None,
    warmup: Annotated[float, typer.Option(min=0, max=0.99, help="Part of the steps.", rich_help_panel=SCHEDULE)] = 0.1,
    eval_every: Annotated[int, typer.Option(min=0, help="Steps; 0: ten times in all.", rich_help_panel=SCHEDULE)] = 0,
    save_every: Annotated[
        int, typer.Option(min=0, help="Steps between checkpoints; 0: at each evaluation.", rich_help_panel=SCHEDULE)
    ] = 0,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the last checkpoint.", rich_help_panel=SCHEDULE)
    ] = False,
    seed: Annotated[int, typer.Option(help="Same seed, same model.", rich_help_panel=SCHEDULE)] = 0,
    max_tokens: Annotated[
        int | None, typer.Option(min=3, help="Tokens of a text that are read.", show_default="the base's limit")
    ] = None,
    precision: Annotated[
        Literal["auto", "float32", "bfloat16"],
        typer.Option(help="auto: bfloat16 on a GPU that has it.", rich_help_panel=RUN),
    ] = "auto",
    device: Annotated[
        str | None, typer.Option(help="cpu, cuda, mps.", show_default="the best there is", rich_help_panel=RUN)
    ] = None,
    cache: Annotated[
        Path, typer.Option(help="Features of --head-only, kept between runs.", rich_help_panel=RUN)
    ] = Path(".cache/train"),
) -> None:
    """Train a model whose first numbers rank nearly as well as all of them (Matryoshka), ready to be served.

    Pairs (query, answer), pairs with negatives, or scored pairs of sentences; the loss is chosen by the columns.
    Every width is evaluated before, during and after. Ctrl-C saves a checkpoint; --resume goes on from it.

    [bold]funnel train sentence-transformers/all-MiniLM-L6-v2 --data questions.jsonl.gz --out my-model[/bold]
    [bold]funnel train microsoft/mpnet-base --data stsb.tsv:0.3 --score-range 0,5 --data qa.csv:0.7 --out mpnet[/bold]
    [bold]funnel train ./my-base --data pairs.parquet --head-only --out my-head --matryoshka-dims 256,64[/bold]

    Then: [bold]FUNNEL_MODEL=./my-model funnel serve[/bold]
    """
    from app.cli_training import numbers, run_train, score_range_of, shape_of
    from app.train_settings import TrainSettings, parse_source

    run_train(
        TrainSettings(
            base=base,
            data=tuple(parse_source(one) for one in data),
            out=out,
            eval=tuple(eval or ()),
            held_out=held_out,
            columns=tuple(name.strip() for name in (columns or "").split(",") if name.strip()),
            score_range=score_range_of(score_range),
            losses=tuple(loss or ()),
            shape=shape_of(matryoshka_2d, adaptive_layers, no_matryoshka),
            widths=tuple(int(width) for width in numbers(matryoshka_dims, "--matryoshka-dims")),
            width_weights=numbers(matryoshka_weights, "--matryoshka-weights"),
            widths_per_step=n_dims_per_step,
            layers=layers,
            mine_negatives=mine_negatives,
            head_only=head_only,
            cache=cache,
            batch=batch,
            mini_batch=mini_batch,
            epochs=epochs,
            max_steps=max_steps or -1,
            learning_rate=learning_rate,
            warmup=warmup,
            max_tokens=max_tokens,
            seed=seed,
            precision=precision,
            device=device,
            eval_every=eval_every,
            save_every=save_every,
            resume=resume,
        )
    )
