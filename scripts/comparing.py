"""What scripts that compare codes, lists and storage types share: their options, and measuring or writing a page."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from harness import store_results
from recall_collections import MODELS

RESULTS = Path("docs/results")
Json = dict[str, Any]


def options(told: str | None, queries: int, page: str) -> argparse.ArgumentParser:
    """The parser of the options that all of them have; `page` is what --page writes."""
    parser = argparse.ArgumentParser(description=told, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="folder of collections in BEIR's layout")
    parser.add_argument("--collection", default="debian-packages", help="a folder below --data, or `all` of them")
    parser.add_argument("--model", choices=MODELS, default="bundled")
    parser.add_argument("--documents", type=int, help="the first so many documents")
    parser.add_argument("--queries", type=int, default=queries)
    parser.add_argument("--page", action="store_true", help=f"write {page} from the stored results")
    parser.add_argument("--out", type=Path, help="store the results as JSON")
    return parser


def run(
    parser: argparse.ArgumentParser,
    write: Callable[[], None],
    measure: Callable[[argparse.Namespace], Json],
    show: Callable[[Json], None],
) -> None:
    """Parse the arguments; write the page, or measure, print and store."""
    arguments = parser.parse_args()
    if arguments.page:
        write()
        return
    if arguments.data is None:
        parser.error("--data names the folder of collections")
    results = measure(arguments)
    show(results)
    store_results(arguments.out, results)
