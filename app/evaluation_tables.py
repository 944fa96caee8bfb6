"""The tables of an evaluation, from its JSON: for the terminal and for Markdown alike."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Json = Mapping[str, Any]
COLUMNS = {
    "ndcg@10": "nDCG@10",
    "mrr@10": "MRR@10",
    "recall@10": "recall@10 of exact",
    "judged_recall@10": "recall@10 of judged",
    "share": "share of full nDCG@10",
}
SPEARMAN = {"spearman": "Spearman", "share": "share of full"}


@dataclass(frozen=True)
class Table:
    """A title, the names of the columns, and cells; the first column names the row."""

    title: str
    head: tuple[str, ...]
    rows: list[tuple[str, ...]]


def measured(results: Json) -> dict[str, Any]:
    """Collections and scored pairs by name."""
    return {**results["collections"], **results["similarity"]}


def models_of(results: Json) -> list[str]:
    """The names of all models and baselines that were measured by width."""
    found = [{**one["models"], **one["baselines"]} for one in measured(results).values()]
    return list(dict.fromkeys(name for models in found for name, model in models.items() if "widths" in model))


def overview(results: Json, name: str) -> Table:
    """A model on everything: the full quality, the share of it kept at each width and by the funnel, the bottleneck."""
    models = {data: {**one["models"], **one["baselines"]}.get(name) for data, one in measured(results).items()}
    found = {data: model for data, model in models.items() if model}
    widths = sorted({row["width"] for model in found.values() for row in model["widths"]}, reverse=True)
    rows = [(data, *_overview_cells(model, widths)) for data, model in found.items()]
    head = ("", "full", *(f"{width}" for width in widths[1:]), "funnel", "bottleneck")
    return Table(f"{name}: nDCG@10, or Spearman, at {widths[0]}, and the share of it that is kept", head, rows)


def summary(result: Json) -> Table:
    """One line for each way to search: prefix alone, funnel, exact, and the baselines."""
    rows = []
    for name, model in result["models"].items():
        default = model["default"]
        ways = {
            f"{name}: first {model['prefix_dim']} alone": model["prefix"],
            f"{name}: funnel, default shortlist ({default['shortlist']})": default,
            f"{name}: exact {model['dim']}": model["exact"],
        }
        rows += [_line(label, row) for label, row in ways.items()]
    for name, baseline in result["baselines"].items():
        rows.append(_line(name, baseline["exact"]) if "exact" in baseline else _exact_line(name, baseline))
    return Table("Ways to search", ("", *COLUMNS.values()), rows)


def by_width(name: str, model: Json) -> Table:
    """One line for each width, with what every halving costs; * marks widths that the model was not trained for."""
    columns = SPEARMAN if "spearman" in model["widths"][0] else COLUMNS
    rows = [
        (f"{row['width']}{'' if row['trained'] else ' *'}", *_cells(row, columns), percent(row["lost_per_halving"]))
        for row in model["widths"]
    ]
    return Table(f"{name} by width", ("width", *columns.values(), "lost per halving"), rows)


def funnel(name: str, model: Json) -> Table:
    """One line for each plan and shortlist."""
    columns = {key: COLUMNS[key] for key in ("recall@10", "ndcg@10", "share")}
    rows = [(row["plan"], stages_of(row), *_cells(row, columns)) for row in model["funnel"]]
    return Table(f"{name} through the funnel", ("plan", "stages", *columns.values()), rows)


def verdict(name: str, model: Json) -> str:
    """The bottleneck in a sentence."""
    found, wanted = model["bottleneck"], percent(model["bottleneck"]["wanted"], 0)
    if found["breaks"] is None:
        return f"{name}: quality breaks at no width; at {found['width']} it may still be {wanted} of the full one."
    broken = next(row for row in model["widths"] if row["width"] == found["breaks"])
    share = _interval(broken["share"], percent)
    return (
        f"{name}: the information bottleneck is {found['width']}. At {found['breaks']} quality breaks: {share} of the "
        f"full one, all of it below {wanted}."
    )


def tables(result: Json) -> Iterator[tuple[Table, str | None]]:
    """All tables of one collection or file of pairs, each with the sentence that belongs under it."""
    if "queries" in result:
        yield summary(result), None
    for name, model in {**result["models"], **result["baselines"]}.items():
        if "widths" in model:
            yield by_width(name, model), verdict(name, model)
        if "funnel" in model:
            yield funnel(name, model), None


def described(result: Json) -> str:
    """What was measured on."""
    if "pairs" in result:
        return f"{result['pairs']:,} scored pairs"
    left = f"; left out: {', '.join(result['left_out'])}" if result["left_out"] else ""
    return f"{result['documents']:,} documents, {result['queries']:,} queries ({result['task']}){left}"


def stages_of(row: Json) -> str:
    """Such as 64:400 256:100."""
    return " ".join(f"{width}:{keep}" for width, keep in row["stages"])


def percent(value: float | None, digits: int = 1) -> str:
    """0.983 as 98.3 %."""
    return "" if value is None else f"{100 * value:.{digits}f} %"


def _overview_cells(model: Json, widths: Sequence[int]) -> Iterator[str]:
    kept = {row["width"]: row["share"]["value"] for row in model["widths"]}
    full = model["widths"][0]
    yield _number(full["spearman" if "spearman" in full else "ndcg@10"]["value"])
    yield from (percent(kept.get(width)) for width in widths[1:])
    yield percent(model["default"]["share"]["value"]) if "default" in model else ""
    yield str(model["bottleneck"]["width"])


def _exact_line(name: str, model: Json) -> tuple[str, ...]:
    return _line(f"{name}: exact {model['dim']}", model["widths"][0])


def _line(label: str, row: Json) -> tuple[str, ...]:
    return label, *_cells(row, COLUMNS)


def _cells(row: Json, columns: Mapping[str, str]) -> Iterator[str]:
    return (_interval(row[key], percent if key == "share" else _number) if key in row else "" for key in columns)


def _interval(estimate: Json, shown: Any) -> str:
    """The value and the ends of its interval; a value that is the same in every draw stands alone."""
    if estimate["value"] is None:
        return "-"
    value, low, high = (shown(estimate[end]) for end in ("value", "low", "high"))
    return value if value == low == high else f"{value} ({low.removesuffix(' %')}..{high.removesuffix(' %')})"


def _number(value: float) -> str:
    return f"{value:.3f}"
