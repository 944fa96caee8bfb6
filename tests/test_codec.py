"""How full vectors are stored."""

import numpy as np
import pytest

from index.codec import CODECS, make_codec
from index_cases import unit_vectors

WORST = {"float32": 0.0, "int16": 0.5 / 32_767 * 1.1, "bfloat16": 2**-8, "int8": 0.5 / 127 * 1.1}  # of the largest
NORM = {"float32": 1e-6, "int16": 1e-6, "bfloat16": 4e-3, "int8": 1e-6}


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("dim", [1, 7, 32, 768])
def test_a_row_comes_back_within_the_codecs_error(name: str, dim: int) -> None:
    """Rows have the promised size, decode to nearly the same numbers, and stay of norm 1."""
    codec, rows = make_codec(name, dim), unit_vectors(20, dim)
    raw = codec.encode(rows)
    assert (raw.shape, raw.dtype) == ((20, codec.row_bytes), np.uint8)
    decoded = codec.decode(raw)
    assert (decoded.shape, decoded.dtype) == ((20, dim), np.float32)
    assert (np.abs(decoded - rows).max(axis=1) <= WORST[name] * np.abs(rows).max(axis=1) + 1e-7).all()
    assert np.abs(np.linalg.norm(decoded, axis=1) - 1).max() <= NORM[name]


@pytest.mark.parametrize("name", CODECS)
def test_scores_are_inner_products_of_the_decoded_rows(name: str) -> None:
    """In the order of the rows asked for, repeated ones too; one score does not depend on its neighbours."""
    codec, rows = make_codec(name, 48), unit_vectors(50, 48)
    raw, query = codec.encode(rows), unit_vectors(1, 48, seed=1)[0]
    wanted = np.array([49, 0, 7, 7, 21])
    scores = codec.scores(raw, wanted, query)
    assert scores.dtype == np.float32
    assert np.allclose(scores, codec.decode(raw)[wanted].astype(np.float64) @ query, atol=1e-6)
    assert scores.tolist() == [codec.scores(raw, np.array([row]), query)[0] for row in wanted]


@pytest.mark.parametrize("name", CODECS)
def test_no_rows_have_no_scores(name: str) -> None:
    """An empty selection, even of an empty matrix, is answered."""
    codec = make_codec(name, 8)
    empty = np.empty(0, dtype=np.int64)
    assert codec.scores(np.empty((0, codec.row_bytes), dtype=np.uint8), empty, np.ones(8, dtype=np.float32)).size == 0


def test_bfloat16_rounds_to_nearest_even() -> None:
    """Halfway values go to the even neighbour, as in hardware."""
    codec = make_codec("bfloat16", 4)
    rows = np.array([[1.0, 1.0 + 2**-8, 1.0 + 3 * 2**-8, 1.0 + 2**-7]], dtype=np.float32)
    assert codec.decode(codec.encode(rows)).tolist() == [[1.0, 1.0, 1.0 + 2**-6, 1.0 + 2**-7]]


@pytest.mark.parametrize("name", ["int16", "int8"])
def test_a_scaled_row_is_decoded_from_a_slice_of_a_larger_matrix(name: str) -> None:
    """The scale in front of a row is read from a view that is not contiguous, too."""
    codec, rows = make_codec(name, 9), unit_vectors(10, 9)
    raw = codec.encode(rows)
    assert (codec.decode(raw[::3]) == codec.decode(raw)[::3]).all()


def test_an_unknown_codec_is_named() -> None:
    """The message lists what there is."""
    with pytest.raises(ValueError, match="float32, int16, bfloat16, int8, got 'float16'"):
        make_codec("float16", 8)
