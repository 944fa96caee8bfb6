"""Rows of a Parquet file as plain values; needs pyarrow, an optional dependency."""

import datetime
import decimal
import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from app.rows import RecordError, Row, with_json

BATCH_ROWS = 1_024


def parquet_rows(source: str) -> Iterator[Row]:
    """One row a row, read in batches; null and NaN cells are left out, `metadata` may be JSON. Raises RecordError."""
    rows = (row for batch in _open(source).iter_batches(BATCH_ROWS) for row in batch.to_pylist())
    with told(source):
        for line, row in enumerate(rows, 1):
            yield with_json(line, {name: cell for name, value in row.items() if (cell := plain(value)) is not None})


def count_parquet(source: str) -> int:
    """The number of rows, from the file's footer. Raises RecordError."""
    return int(_open(source).metadata.num_rows)


def plain(value: Any) -> Any:
    """A cell as JSON knows it: dates and times in ISO 8601, decimals as floats; NaN is None."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    return {name: plain(item) for name, item in value.items()} if isinstance(value, dict) else value


def _open(source: str) -> Any:
    with needs_pyarrow(source):
        from pyarrow.parquet import ParquetFile
    with told(source):
        return ParquetFile(source)


@contextmanager
def needs_pyarrow(what: str) -> Iterator[None]:
    """Around an import of it: RecordError, with what to install, where it is missing."""
    try:
        yield
    except ImportError:
        raise RecordError(
            f"{what}: Parquet needs pyarrow, which is not here: pip install 'funnel-search[parquet]'"
        ) from None


@contextmanager
def told(source: str) -> Iterator[None]:
    """Say which file it is that pyarrow cannot read, or whose values Python does not know, such as the year 10000."""
    from pyarrow import ArrowException

    try:
        yield
    except (ArrowException, OSError, ValueError, ArithmeticError) as error:
        raise RecordError(f"{source}: {error}") from None
