"""Lines out of a stream of bytes."""

from hypothesis import given
from hypothesis import strategies as st

from app.ndjson import Line, LineReader, slices


def read(chunks: list[bytes], limit: int = 1_000) -> list[Line]:
    """All lines of a body that arrives in these chunks."""
    reader = LineReader(limit)
    return [line for chunk in chunks for line in reader.feed(chunk)] + list(reader.end())


@given(st.binary(max_size=60), st.lists(st.integers(1, 9), max_size=60), st.integers(1, 20))
def test_how_a_body_is_cut_does_not_matter(body: bytes, sizes: list[int], limit: int) -> None:
    """Any chunks of the same bytes give the same lines."""
    chunks, rest = [], body
    for size in sizes:
        chunks.append(rest[:size])
        rest = rest[size:]
    assert read([*chunks, rest], limit) == read([body], limit)


def test_lines_keep_their_numbers_past_blank_ones() -> None:
    """Blank lines are skipped but counted, and a last line needs no newline."""
    assert read([b"a\r\n\n  \nb"]) == [Line(1, b"a\r", 2), Line(4, b"b", 1)]


def test_a_byte_order_mark_is_no_part_of_the_first_line() -> None:
    """Files of some editors begin with one."""
    assert read([b"\xef\xbb\xbf{}\n"]) == [Line(1, b"{}", 5)]


def test_a_line_over_the_limit_is_reported_without_being_kept() -> None:
    """Only its length survives, and the next line is unharmed."""
    assert read([b"x" * 600, b"x" * 600, b"\ny"], limit=1_000) == [Line(1, None, 1_200), Line(2, b"y", 1)]


def test_slices_put_together_are_the_chunk() -> None:
    """Nothing is lost between slices."""
    chunk = bytes(range(256)) * 1_000
    assert b"".join(slices(chunk)) == chunk
