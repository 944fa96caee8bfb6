"""What the stores of LangChain and LlamaIndex have in common."""

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

from app.client import Client, ProblemError

AT_ONCE = 1_000  # ids of one deletion


def store(client: Client, rows: list[dict[str, Any]], **options: Any) -> None:
    """Ingest documents; ValueError when one of them is refused, after the others are stored."""
    totals = client.ingest(rows, **options)
    if totals.failures:
        first = totals.failures[0]
        raise ValueError(
            f"{totals.failed} of {len(rows)} documents were refused, the first is {first.id!r}: {first.detail}"
        )


def found(client: Client, ids: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Those of the documents that there are."""
    for one in ids:
        try:
            yield client.get(one)
        except ProblemError as error:
            if error.status != 404:
                raise


def delete_all(client: Client) -> None:
    """Delete every document."""
    ids = (document["id"] for document in client.scroll(page=AT_ONCE))
    while part := list(islice(ids, AT_ONCE)):
        client.delete(part)
