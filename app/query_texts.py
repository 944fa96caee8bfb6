"""Queries from a file: a text a line, or JSONL with "text" or "query"; plain or gzipped."""

from pathlib import PurePath

import numpy as np

from app.rows import RecordError, binary, json_rows

FEWEST = 20
MOST = 2_000
NAMES = ("text", "query")
JSON_SUFFIXES = (".jsonl", ".ndjson", ".json")


def read_queries(source: str, seed: int = 0) -> list[str]:
    """The different texts of a file, in its order; of more than 2,000 so many drawn at random.

    Raises RecordError where a line holds none, and for a file with fewer than 20.
    """
    named_json = PurePath(source.removesuffix(".gz")).suffix in JSON_SUFFIXES
    texts = list(dict.fromkeys(_from_json(source) if named_json else _from_lines(source)))
    if len(texts) < FEWEST:
        raise RecordError(f"{source}: at least {FEWEST} different queries are needed to measure, it has {len(texts)}")
    drawn = np.sort(np.random.default_rng(seed).permutation(len(texts))[:MOST])
    return [texts[row] for row in drawn]


def _from_json(source: str) -> list[str]:
    texts = []
    for line, row, error in json_rows(source):
        if row is None:
            raise RecordError(f"{source} line {line}: {error}")
        text = next((row[name] for name in NAMES if isinstance(row.get(name), str) and row[name].strip()), None)
        if text is None:
            raise RecordError(f"{source} line {line}: expected a text in 'text' or 'query', got {', '.join(row)}")
        texts.append(text.strip())
    return texts


def _from_lines(source: str) -> list[str]:
    with binary(source) as stream:
        try:
            return [text for line in stream if (text := line.decode("utf-8-sig").strip())]
        except UnicodeDecodeError as error:
            raise RecordError(f"{source}: not UTF-8: {error}") from None
