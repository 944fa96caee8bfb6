"""Which widths are served and which are refused."""

import pytest

from app.embedder import ModelError
from app.known_models import known_model
from app.widths import choose_widths


def test_a_model_trained_for_64_uses_64() -> None:
    """64 numbers make the prefix wherever the model was trained for them."""
    widths = choose_widths("m", 768, (768, 512, 256, 128, 64, 32))
    assert (widths.dim, widths.prefix_dim, widths.exact_only, widths.notice) == (768, 64, False, None)


def test_the_smallest_trained_width_replaces_64_and_is_stated() -> None:
    """A model that stops at 128 gets a prefix of 128 and a notice with both numbers."""
    widths = choose_widths("google/embeddinggemma-300m", 768, known_model("google/embeddinggemma-300m").dims)
    assert widths.prefix_dim == 128
    assert widths.notice is not None
    assert "64" in widths.notice
    assert "128" in widths.notice


def test_a_model_only_trained_below_64_uses_its_smallest_width() -> None:
    """A small model's prefix is the smallest width it was trained for."""
    assert choose_widths("m", 32, (32, 16, 8)).prefix_dim == 8


@pytest.mark.parametrize(
    ("trained", "expected"), [((768, 128, 32), 32), ((768, 128, 64, 32), 64), ((768, 512, 256), 256)]
)
def test_the_prefix_is_64_or_the_smallest_trained_width(trained: tuple[int, ...], expected: int) -> None:
    """A width between is never taken."""
    assert choose_widths("m", 768, trained).prefix_dim == expected


@pytest.mark.parametrize("allow_untrained", [False, True])
def test_a_trained_prefix_goes_before_an_untrained_64(allow_untrained: bool) -> None:
    """A full vector cut to an untrained width keeps the one trained prefix below it; one cut to it has none."""
    widths = choose_widths("m", 768, (768, 128), dim=200, allow_untrained=True)
    assert (widths.prefix_dim, widths.exact_only) == (128, False)
    widths = choose_widths("m", 768, (768, 128), dim=128, allow_untrained=allow_untrained)
    assert (widths.prefix_dim, widths.exact_only) == (64, not allow_untrained)


def test_an_unknown_model_starts_in_exact_mode_with_a_notice() -> None:
    """Nothing says that the first numbers carry the ranking, so every search is exact."""
    widths = choose_widths("m", 384, ())
    assert widths.exact_only
    assert widths.trained == ()
    assert widths.notice is not None
    assert "FUNNEL_ALLOW_UNTRAINED_PREFIX=1" in widths.notice


def test_the_full_width_alone_is_no_trained_prefix() -> None:
    """A model that only names its own width is as unknown as one that names none."""
    assert choose_widths("m", 384, (384,)).exact_only


def test_an_untrained_prefix_may_be_allowed() -> None:
    """With FUNNEL_ALLOW_UNTRAINED_PREFIX the first 64 numbers serve, and the notice says so."""
    widths = choose_widths("m", 384, (), allow_untrained=True)
    assert (widths.prefix_dim, widths.exact_only) == (64, False)
    assert widths.notice is not None


@pytest.mark.parametrize(
    ("trained", "asked"),
    [((768, 256, 128), 64), ((768, 256, 128), 192), ((), 64)],
    ids=["narrower", "between", "unknown"],
)
def test_an_untrained_prefix_is_refused_with_the_numbers(trained: tuple[int, ...], asked: int) -> None:
    """The message names the width asked for, what was trained, and how to insist."""
    with pytest.raises(ModelError, match=f"FUNNEL_PREFIX_DIM={asked}.*768.*FUNNEL_ALLOW_UNTRAINED_PREFIX"):
        choose_widths("m", 768, trained, prefix_dim=asked)
    assert choose_widths("m", 768, trained, prefix_dim=asked, allow_untrained=True).prefix_dim == asked


def test_a_narrower_full_vector_follows_the_same_rules() -> None:
    """FUNNEL_DIM takes a trained width and refuses others."""
    widths = choose_widths("m", 768, (768, 256, 64), dim=256)
    assert (widths.dim, widths.prefix_dim, widths.trained) == (256, 64, (256, 64))
    with pytest.raises(ModelError, match="FUNNEL_DIM=300"):
        choose_widths("m", 768, (768, 256, 64), dim=300)


def test_a_width_beyond_the_vector_is_refused() -> None:
    """Neither the full vector nor the prefix can be wider than what there is."""
    with pytest.raises(ModelError, match=r"FUNNEL_DIM=1024.*768"):
        choose_widths("m", 768, (768, 64), dim=1024)
    with pytest.raises(ModelError, match=r"FUNNEL_PREFIX_DIM=512.*256"):
        choose_widths("m", 768, (768, 512, 256, 64), dim=256, prefix_dim=512)


def test_known_models_are_found_by_id_cache_and_folder() -> None:
    """The hub id, the hub's cache and a folder of the same name all lead to the same entry."""
    nomic = known_model("nomic-ai/nomic-embed-text-v1.5")
    assert nomic.layer_norm
    assert nomic.query_prompt == "search_query: "
    assert known_model("models/nomic-embed-text-v1.5") == nomic
    assert known_model("hub/models--nomic-ai--nomic-embed-text-v1.5/snapshots/0123") == nomic
    assert known_model("somebody/else").dims == ()


def test_a_rotation_makes_an_untrained_width_a_prefix() -> None:
    """It is exact without the rotation, and so it is marked; other widths are refused as before."""
    widths = choose_widths("m", 384, (), prefix_dim=48, rotated=(256, 48))
    assert (widths.prefix_dim, widths.exact_only) == (48, True)
    widths = choose_widths("m", 768, (768, 64), prefix_dim=64, rotated=(64, 32))
    assert (widths.prefix_dim, widths.exact_only, widths.notice) == (64, False, None)
    with pytest.raises(ModelError, match=r"FUNNEL_PREFIX_DIM=32.*funnel adapt"):
        choose_widths("m", 384, (), prefix_dim=32, rotated=(256, 48))
