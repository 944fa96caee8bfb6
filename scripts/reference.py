"""Write the reference pages that say what the code says: docs/commands.md, docs/http.md, docs/problems.md.

.venv/bin/python scripts/reference.py
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from app.main import create_app
from app.problems import PROBLEMS
from app.settings import Settings

DOCS = Path(__file__).resolve().parent.parent / "docs"
EXAMPLES = re.compile(r"(?:^\[bold\].*\[/bold\]\n)+", re.MULTILINE)
BOLD = re.compile(r"\[/?bold\]")
Json = dict[str, Any]


def commands() -> str:
    """Every command with its options, from its --help."""
    from typer.cli import get_docs_for_click
    from typer.main import get_command

    from app.cli import app

    command = get_command(app)
    context = command.context_class(command, info_name="funnel")
    text = get_docs_for_click(obj=command, ctx=context, name="funnel", title="Command line")
    text = EXAMPLES.sub(lambda found: f"```sh\n{BOLD.sub('', found[0])}```\n", text)
    return BOLD.sub("", text).replace("\\[", "[").rstrip() + "\n"


def problems() -> str:
    """Every kind of problem."""
    lines = ["# Problems", "", "Every error is `application/problem+json` (RFC 9457). `type` is stable, and the"]
    lines += [
        "address of its explanation; `detail` has the numbers.",
        "",
        "| type | status | | |",
        "|---|---:|---|---|",
    ]
    lines += [f"| `{one.type}` | {one.status} | {one.title} | {one.meaning} |" for one in PROBLEMS.values()]
    return "\n".join(lines) + "\n"


def http() -> str:
    """Every operation and every shape of the OpenAPI document."""
    document = create_app(Settings(_env_file=None)).openapi()
    lines = ["# HTTP", "", "A running service has the same at `/docs`, to be tried, and at `/openapi.json`.", ""]
    operations = [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]
    for tag, group in groupby(sorted(operations, key=_tag), _tag):
        lines += [f"## {tag.capitalize()}", ""]
        for name, operation in group:
            lines += _operation(name, operation)
    lines += ["## Shapes", ""]
    for name, schema in sorted(document["components"]["schemas"].items()):
        lines += _shape(name, schema)
    return "\n".join(lines).rstrip() + "\n"


def _tag(operation: tuple[str, Json]) -> str:
    return str(operation[1]["tags"][0])


def _operation(name: str, operation: Json) -> Iterator[str]:
    yield from (f"### {name}", "", operation.get("description") or operation["summary"], "")
    yield from _table("parameter", {one["name"]: one["schema"] for one in operation.get("parameters", ())})
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        yield from (f"Body, `{kind}`: {_type(content['schema'])}", "")
    for status, answer in operation["responses"].items():
        if status.startswith("2"):
            yield from (f"Answer {status}: {_answer(answer)}", "")
    refused = [status for status in operation["responses"] if status[0] in "45"]
    if refused:
        yield from (f"[Problems](problems.md): {', '.join(refused)}", "")


def _answer(answer: Json) -> str:
    kinds = (f"`{kind}` {_type(content['schema'])}".rstrip() for kind, content in answer.get("content", {}).items())
    return ", ".join(kinds) or str(answer["description"])


def _shape(name: str, schema: Json) -> Iterator[str]:
    yield from (f"### {name}", "", schema.get("description", "").strip(), "")
    yield from _table("field", schema.get("properties", {}))


def _table(heading: str, fields: Json) -> Iterator[str]:
    """One row a field: name, type, default, description."""
    if fields:
        yield from (f"| {heading} | type | default | |", "|---|---|---|---|")
        for name, schema in fields.items():
            default = "" if schema.get("default") is None else f"`{json.dumps(schema['default'])}`"
            said = " ".join(_said(schema).split()).replace("|", "\\|")
            yield f"| `{name}` | {_type(schema)} | {default} | {said} |"
        yield ""


def _said(schema: Json) -> str:
    """The description of a field, or of one of its kinds."""
    inner = [_said(kind) for kind in schema.get("anyOf", ())]
    return str(schema.get("description") or next(filter(None, inner), ""))


def _type(schema: Json) -> str:
    """A type as a reader says it; shapes are links."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "enum" in schema or "const" in schema:
        return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(kind) for kind in schema["anyOf"] if kind.get("type") != "null"))
    if schema.get("type") == "array" and "items" in schema:
        return f"list of {_type(schema['items'])}"
    return str(schema.get("type", ""))


PAGES: dict[str, Callable[[], str]] = {"commands.md": commands, "http.md": http, "problems.md": problems}


if __name__ == "__main__":
    for page, made in PAGES.items():
        (DOCS / page).write_text(made(), "utf-8")
        print(f"docs/{page}")
