"""Embedding spaces and their fingerprints."""

import pytest

from index.space import Space

BASE = Space(768, 64, {"model": "m", "revision": None, "normalised": True, "scale": 0.5})


def test_a_space_survives_json() -> None:
    """As it is kept in the state."""
    for space in (BASE, Space(3, 3), Space(8, 2, {"a": "ü"}, exact_only=True)):
        assert Space.from_json(space.to_json()) == space


def test_the_fingerprint_is_of_the_vectors_alone() -> None:
    """The order of keys and the prefix do not change it; the width and every value do."""
    same = [
        Space(768, 32, dict(reversed(BASE.fingerprint.items()))),
        Space(768, 64, BASE.fingerprint, exact_only=True),
    ]
    assert {space.fingerprint_id for space in same} == {BASE.fingerprint_id}
    assert all(BASE.differences(space) == [] for space in same)
    others = [Space(512, 64, BASE.fingerprint), Space(768, 64, {**BASE.fingerprint, "revision": "1"}), Space(768, 64)]
    assert len({space.fingerprint_id for space in [BASE, *others]}) == 4
    assert len(BASE.fingerprint_id) == 16


def test_differences_are_named() -> None:
    """With the stored value and the one asked for."""
    assert BASE.differences(Space(512, 64, {**BASE.fingerprint, "model": "n"})) == [
        "dim: 768 (stored) != 512 (asked for)",
        "model: 'm' (stored) != 'n' (asked for)",
    ]


@pytest.mark.parametrize(("dim", "prefix_dim"), [(64, 65), (64, 0), (0, 0), (64, -1)])
def test_a_prefix_fits_into_its_vector(dim: int, prefix_dim: int) -> None:
    """From one number to all of them."""
    with pytest.raises(ValueError, match="between 1 and dim"):
        Space(dim, prefix_dim)
