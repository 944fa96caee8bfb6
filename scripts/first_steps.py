#!/usr/bin/env python3
"""What scripts/start does once the service is ready: an empty one gets the demo corpus, and searches to try are shown.

    python scripts/first_steps.py http://127.0.0.1:8000 data

FUNNEL_DEMO=0 leaves an empty service empty.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.cli_connect import own_key
from app.cli_output import progress_bar
from app.client import Client, ClientError

CORPUS = Path(__file__).parent / "demo_corpus.py"


def say(line: str = "") -> None:
    print(line, file=sys.stderr, flush=True)


def demo() -> list[dict[str, Any]]:
    """The documents of the demo corpus; its script imports the whole standard library, so not into this process."""
    written = subprocess.run([sys.executable, str(CORPUS)], stdout=subprocess.PIPE, encoding="utf-8", check=True)
    return [json.loads(line) for line in written.stdout.split("\n") if line]


def fill(client: Client, mark: Path) -> None:
    """Store the demo corpus if it is wanted; `mark` holds "started", then "complete"."""
    state = mark.read_text("utf-8").strip() if mark.is_file() else "none"
    if state == "complete" or (state == "none" and client.count()):
        return
    documents = demo()
    if not only_holds(client, documents):
        mark.unlink()  # stopped before its end, and then came documents of the user's own
        return
    say("first start: ingesting the demo corpus, the documentation of Python's standard library")
    mark.write_text("started\n", "utf-8")
    with progress_bar() as bar:
        task = bar.add_task("demo corpus", total=len(documents))
        client.ingest(documents, progress=lambda totals: bar.update(task, completed=totals.processed))
    mark.write_text("complete\n", "utf-8")


def only_holds(client: Client, documents: list[dict[str, Any]]) -> bool:
    """Whether every stored document, if there is any, is one of these."""
    ids = {document["id"] for document in documents}
    return all(stored["id"] in ids for stored in client.scroll())


def bodies(info: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Searches that this service can answer."""
    yield {"query": "parse a date from text", "limit": 3}
    yield {"query": "run a program and read its output", "limit": 3, "filter": {"kind": "function"}}
    if not info["exact_only"]:
        yield {"query": "compress data", "limit": 3, "shortlist": 50, "explain": True, "with_text": False}


def examples(url: str, info: dict[str, Any]) -> Iterator[str]:
    """Command lines to paste; without a model they make up a vector of the right width."""
    header = "-H 'content-type: application/json'"
    if own_key(url):
        header += ' -H "authorization: Bearer $FUNNEL_API_KEY"'  # never the key itself: it would stay on the screen
    if info["model"] is not None:
        for body in bodies(info):
            yield f"curl -s {url}/search {header} \\\n    -d '{json.dumps(body)}'"
        return
    vector = f'"vector": [1] * {info["dim"]}'
    for path, body in (("ingest", f'{{"documents": [{{"id": "a", {vector}}}]}}'), ("search", f"{{{vector}}}")):
        yield f"python3 -c 'import json; print(json.dumps({body}))' |\n    curl -s {url}/{path} {header} -d @-"


def show(url: str, client: Client) -> None:
    """Where the service is, what it wants to be known, and what to type."""
    info = client.info()
    say(f"\nReady on {url} ({client.count()} documents): open it in a browser; {url}/docs describes the API.")
    if info["notice"]:
        say(f"note: {info['notice']}")
    say("Try:\n" if info["model"] else f"Documents and searches bring vectors of {info['dim']} numbers. Try:\n")
    for example in examples(url, info):
        print(f"  {example}\n", flush=True)
    say("Ctrl-C stops it.")


def main() -> int:
    if len(sys.argv) != 3:
        print(__doc__)
        return 2
    url, data_dir = sys.argv[1:]
    try:
        with Client(url, api_key=own_key(url)) as client:
            if os.environ.get("FUNNEL_DEMO") != "0" and client.info()["model"] is not None:
                fill(client, Path(data_dir) / "demo-corpus")
            show(url, client)
    except ClientError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
