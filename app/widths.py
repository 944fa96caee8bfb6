"""Which widths a model serves: the full vector and the prefix of the first stage. Refuses what was not trained."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.embedder import ModelError

PREFERRED_PREFIX = 64


@dataclass(frozen=True)
class Widths:
    """The widths in service; `notice` says what a user should know about them."""

    dim: int
    prefix_dim: int
    trained: tuple[int, ...]  # descending, at most `dim`; () when unknown
    exact_only: bool = False
    notice: str | None = None


def choose_widths(
    model: str,
    width: int,
    trained: Sequence[int],
    dim: int | None = None,
    prefix_dim: int | Literal["auto"] = "auto",
    allow_untrained: bool = False,
    rotated: Sequence[int] = (),
) -> Widths:
    """Widths for a model that gives `width` numbers and was trained to be cut to `trained`; ModelError if it cannot.

    A model that is only known at its full width starts in exact mode, because nothing says that its first numbers
    carry the ranking. So does a prefix that only the directory's rotation was learned for (`rotated`): it carries
    one as long as the rotation is in force.
    """
    known = _descending(width, trained)
    dim = _check("FUNNEL_DIM", model, width, known, dim or width, allow_untrained)
    known = tuple(one for one in known if one <= dim)
    if prefix_dim != "auto":
        learned = prefix_dim in rotated and prefix_dim not in known and prefix_dim < dim and not allow_untrained
        prefix = prefix_dim if learned else _check("FUNNEL_PREFIX_DIM", model, dim, known, prefix_dim, allow_untrained)
        return Widths(dim, prefix, known, exact_only=learned, notice=_exact(model, dim, prefix) if learned else None)
    if narrower := [one for one in known if one < dim or one == PREFERRED_PREFIX]:
        prefix = PREFERRED_PREFIX if PREFERRED_PREFIX in narrower else min(narrower)
        return Widths(dim, prefix, known, notice=_notice(model, prefix))
    prefix = min(PREFERRED_PREFIX, dim)
    if allow_untrained:
        return Widths(dim, prefix, known, notice=f"{model} is not known to be trained for a {prefix}-number prefix")
    return Widths(dim, prefix, known, exact_only=True, notice=_exact(model, dim, prefix))


def _descending(width: int, trained: Sequence[int]) -> tuple[int, ...]:
    """The trained widths below `width` after `width` itself; () if there are none."""
    below = sorted({int(one) for one in trained if 0 < one < width}, reverse=True)
    return (width, *below) if below else ()


def _exact(model: str, dim: int, prefix: int) -> str:
    """Said when no prefix is known to carry a ranking, as long as there is no rotation either."""
    return (
        f"{model} is not known to be trained for {prefix} of its {dim} numbers: every search scans the full vectors. "
        "`funnel adapt` learns a rotation from the stored vectors that makes them a prefix; "
        f"FUNNEL_ALLOW_UNTRAINED_PREFIX=1 takes the first {prefix} for the shortlist as they are."
    )


def _notice(model: str, prefix: int) -> str | None:
    """Said when the automatic prefix is not the preferred one."""
    if prefix == PREFERRED_PREFIX:
        return None
    return f"{model} was not trained for {PREFERRED_PREFIX} numbers: the shortlist uses {prefix}"


def _check(name: str, model: str, limit: int, known: tuple[int, ...], asked: int, allow_untrained: bool) -> int:
    """`asked`, if the model may be cut to it."""
    if asked > limit:
        raise ModelError(f"{name}={asked} is wider than what {model} gives here, {limit}")
    if asked == limit or asked in known or allow_untrained:
        return asked
    widths = ", ".join(map(str, known)) if known else f"{limit} only, as far as its files tell"
    raise ModelError(
        f"{name}={asked}: {model} was trained for {widths}. "
        f"Choose one of these, learn a rotation for it with `funnel adapt`, or set FUNNEL_ALLOW_UNTRAINED_PREFIX=1 "
        "to accept a poorer ranking."
    )
