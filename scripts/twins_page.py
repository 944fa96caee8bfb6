"""docs/twins.md and its plots, from docs/results/twins.json."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from app.plots import COLOURS, DPI, MARKERS, NO_DATE, STYLE

PAGE, PLOTS = Path("docs/twins.md"), Path("docs/plots")
NAMES = {"base": "base, untrained", "none": "twin", "matryoshka": "Matryoshka", "2d": "2D Matryoshka"}
Json = Mapping[str, Any]

HEAD = """# A Matryoshka model and its twin

Written by `scripts/evaluate_twins.py` from `docs/results/twins.json`; do not edit.

Two models from one base, trained on the same pairs of STSb with the same loss (CoSENTLoss), seed and schedule: one
with `MatryoshkaLoss` around it, one without (the twin). Measured on STSb's test pairs: Spearman's correlation of
cosine and human score at every width; in brackets the share of the full width's that is kept. Intervals are 95 %, by
bootstrap over the test pairs. The published example (`matryoshka_eval_stsb` of sentence-transformers, from
`microsoft/mpnet-base`) keeps 98.37 % at 64 of 768 against 96.46 % of its twin.
"""


def write_page(results: Json) -> None:
    """The page and a plot for every experiment."""
    parts = [HEAD]
    for name, result in results.items():
        plot(name, result)
        parts.append("\n".join(section(name, result)))
    PAGE.write_text("\n".join(parts).rstrip() + "\n", "utf-8")


def section(name: str, result: Json) -> Iterator[str]:
    """One experiment: what was trained, the table, the verdict, the plot."""
    told = result["experiment"]
    what = "a head on frozen features" if told["head_only"] else "the whole model"
    depth = f", its first {told['layers']} layers" if told["layers"] else ""
    seeds = f"{len(told['seeds'])} seed{'s' if len(told['seeds']) > 1 else ''}"
    yield f"## {name}\n"
    epochs = f"{told['epochs']:g} epoch{'s' if told['epochs'] != 1 else ''}"
    yield f"Base: {told['base']}{depth}; trained: {what}, {epochs} in batches of {told['batch']},"
    yield f"learning rate {told['learning_rate']:g}, {seeds}.\n"
    yield from curves_table(result)
    yield f"\n{verdict(result)}\n"
    yield f"![{name}](plots/twins-{name}.svg)\n"
    yield f"Same plot as PNG: [plots/twins-{name}.png](plots/twins-{name}.png)\n"
    if result["layers"]:
        yield from layers_tables(result["layers"], result["widths"])
    yield f"```sh\n{result['command']}\n```\n"
    yield f"Commit {result['commit']}, {result['machine']}.\n"


def curves_table(result: Json) -> Iterator[str]:
    """A row a model, a column a width."""
    widths = result["widths"]
    yield "| | " + " | ".join(map(str, widths)) + " |"
    yield "|---|" + "---:|" * len(widths)
    for model, curve in result["models"].items():
        cells = (_cell(_at(curve["widths"], width), width == widths[0]) for width in widths)
        yield f"| {NAMES[model]} | " + " | ".join(cells) + " |"
    gaps = (_signed(_at(result["difference"], width)["share"]) for width in widths)
    yield "| share kept, Matryoshka minus twin | " + " | ".join(gaps) + " |"


def verdict(result: Json) -> str:
    """One sentence about 64 numbers."""
    ours, twin = (_at(result["models"][one]["widths"], 64)["share"] for one in ("matryoshka", "none"))
    gap = _at(result["difference"], 64)
    side = "more" if gap["share"]["low"] > 0 else "less" if gap["share"]["high"] < 0 else "not measurably more"
    full = _at(result["difference"], result["widths"][0])["spearman"]
    return (
        f"At 64 of {result['widths'][0]} numbers the Matryoshka model keeps {ours['value']:.2%} of its full score, "
        f"the twin {twin['value']:.2%}: {side} ({_signed(gap['share'])}). At 64 numbers its score differs by "
        f"{_plain(gap['spearman'])}, at full width by {_plain(full)}."
    )


def layers_tables(layers: Json, widths: Sequence[int]) -> Iterator[str]:
    """Spearman by layers kept and width: the 2D model, and the plain Matryoshka model cut in the same way."""
    yield "Cut in depth, saved and loaded again with fewer layers: Spearman by layers kept and width.\n"
    yield "| trained as | layers | " + " | ".join(map(str, widths)) + " |"
    yield "|---|---:|" + "---:|" * len(widths)
    for shape, table in layers.items():
        for count, row in table.items():
            yield f"| {NAMES[shape]} | {count} | " + " | ".join(f"{_at(row, width):.4f}" for width in widths) + " |"
    yield ""


def plot(name: str, result: Json) -> None:
    """Spearman, and its share of the full width's, by width; PNG and SVG."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(9, 3.4), layout="constrained")
        figure.suptitle(f"STSb test: {name}")
        panels = dict(zip(("spearman", "share"), figure.subplots(1, 2), strict=True))
        for place, (model, curve) in enumerate(result["models"].items()):
            for measure, axes in panels.items():
                _line(axes, result["widths"], curve["widths"], measure, place, NAMES[model])
        for measure, axes in panels.items():
            label = "Spearman" if measure == "spearman" else "share of the full width's Spearman"
            axes.set(xlabel="dimensions", ylabel=label, xscale="log")
            axes.set_xticks(result["widths"], [str(width) for width in result["widths"]])
            axes.minorticks_off()
            axes.grid(alpha=0.3, linewidth=0.6)
        panels["share"].legend(fontsize=8, frameon=False, loc="lower right")
        PLOTS.mkdir(parents=True, exist_ok=True)
        for suffix, metadata in NO_DATE.items():
            figure.savefig(PLOTS / f"twins-{name}.{suffix}", dpi=DPI, metadata=metadata)


def _line(axes: Any, widths: Sequence[int], curve: Json, measure: str, place: int, label: str) -> None:
    value, low, high = ([_at(curve, width)[measure][end] for width in widths] for end in ("value", "low", "high"))
    axes.plot(widths, value, color=COLOURS[place], marker=MARKERS[place], markersize=4, linewidth=1.4, label=label)
    axes.fill_between(widths, low, high, color=COLOURS[place], alpha=0.12, linewidth=0)


def _at(table: Json, width: int) -> Any:
    """JSON turns numbers into text when they are keys."""
    return table[width] if width in table else table[str(width)]


def _cell(row: Json, full: bool) -> str:
    return f"{row['spearman']['value']:.4f}" + ("" if full else f" ({row['share']['value']:.2%})")


def _signed(estimate: Json) -> str:
    """A difference of shares, in points, with its interval."""
    value, low, high = (100 * estimate[end] for end in ("value", "low", "high"))
    return f"{value:+.2f} [{low:+.2f}, {high:+.2f}]"


def _plain(estimate: Json) -> str:
    return f"{estimate['value']:+.4f} [{estimate['low']:+.4f}, {estimate['high']:+.4f}]"
