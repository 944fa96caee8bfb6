"""From traces to a calibration: models fitted on one part of the queries, curves and estimates from the others."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from index.calibration import KS, Bucket, Curve, Estimator
from index.stopping import MissModel, terms
from index.tracing import Trace

FITTED, FITTED_AT_MOST = 0.4, 600  # share and number of the queries that the models are fitted on
THRESHOLDS = 96  # points of a curve
LEVELS = 24  # of an estimator
SHRINKAGE = 1e-3  # of the regression's weights
LOWER = 0.1  # share of the queries that may fall below the lower bound
SIZED = 0.7, 0.9995  # recalls between which stops are looked at to learn what a stop is worth

Traces = Mapping[float, Sequence[Trace]]  # by the share of documents that match


def learn(
    deep: Traces, plain: Traces, ks: Sequence[int] = KS, between: Callable[[], None] = lambda: None
) -> list[Bucket]:
    """A bucket for each k that is looked for in every trace; queries are in random order.

    `between` is called between two pieces of work; what it raises ends it.
    """
    return [_bucket(deep, plain, place, k, between) for place, k in enumerate(ks)]


def _bucket(deep: Traces, plain: Traces, place: int, k: int, between: Callable[[], None]) -> Bucket:
    model, plain_model = (_fitted(_every(traces, _first), place, k) for traces in (deep, plain))
    curves = {}
    for share in deep:
        between()
        stops = [_Path.of(one, model, place, k) for one in _rest(deep[share])]
        lengths = [_Path.of(one, plain_model, place, k) for one in _rest(plain[share])]
        curves[share] = _curve(stops, lengths)
    return Bucket(k, model, plain_model, curves)


class _Path:
    """One trace from its k-th row on: log rates, log missing shares as estimated, and what was missing."""

    def __init__(self, rates: np.ndarray, levels: np.ndarray, missing: np.ndarray, rows: np.ndarray) -> None:
        self.rates, self.levels, self.missing, self.rows = rates, levels, missing, rows

    @classmethod
    def of(cls, trace: Trace, model: MissModel, place: int, k: int) -> "_Path":
        long = trace.rows >= k
        signs = trace.signs[place, long]
        return cls(model.log_rate(signs), model.log_missing(signs), trace.missing[place, long], trace.rows[long])

    def stop(self, rate: float) -> int:
        """The place where a descent with this threshold ends."""
        low = self.rates <= rate
        return int(low.argmax()) if low.any() else len(low) - 1


def _curve(paths: Sequence[_Path], plain: Sequence[_Path]) -> Curve:
    every = np.concatenate([path.rates for path in paths])
    rates = np.unique(np.quantile(every, np.linspace(0, 1, THRESHOLDS)))[::-1]
    stops = np.array([[path.stop(rate) for path in paths] for rate in rates])
    losses, levels, rows = (_picked(paths, name, stops) for name in ("missing", "levels", "rows"))
    recall = 1.0 - losses.mean(axis=1)
    lo, hi = (int(np.searchsorted(recall, one)) for one in SIZED)
    sized = slice(min(lo, len(rates) - 1), hi + 1)
    stopped = _estimator(levels[sized].ravel(), 1.0 - losses[sized].ravel())
    known = (np.concatenate([getattr(path, name) for path in plain]) for name in ("levels", "missing"))
    at_length, missing = known
    return Curve(
        len(paths), rates, recall, losses.std(axis=1, ddof=1), rows.mean(axis=1), stopped,
        _estimator(at_length, 1.0 - missing),
    )  # fmt: skip


def _picked(paths: Sequence[_Path], name: str, stops: np.ndarray) -> np.ndarray:
    """(m, q) of what each path has at its stops."""
    return np.stack([getattr(path, name)[at] for path, at in zip(paths, stops.T, strict=True)], axis=1)


def _fitted(traces: Sequence[Trace], place: int, k: int) -> MissModel:
    from sklearn.linear_model import PoissonRegressor  # only here: a second to import, and searches need none of it

    signs = np.concatenate([one.signs[place, one.rows >= k] for one in traces])
    missing = np.concatenate([one.missing[place, one.rows >= k] for one in traces])
    given = terms(signs)
    centre, scale = given.mean(axis=0), given.std(axis=0) + 1e-9
    if not missing.any():  # nothing was ever missing: the shallowest stop will do
        return MissModel(centre, scale, np.zeros(len(centre)), float(np.log(1 / len(missing))))
    found = PoissonRegressor(alpha=SHRINKAGE, solver="newton-cholesky", max_iter=300)
    found.fit((given - centre) / scale, missing)
    return MissModel(centre, scale, found.coef_, float(found.intercept_))


def _estimator(levels: np.ndarray, recalls: np.ndarray) -> Estimator:
    """Bins of as many stops each; the mean never falls as less is missing (isotonic regression), nor does the bound,
    which is the least of its own bin and of those with less missing: few queries make it too high otherwise."""
    from sklearn.isotonic import isotonic_regression

    order = np.argsort(-levels, kind="stable")
    bins = [part for part in np.array_split(order, LEVELS) if len(part)]
    means = np.array([recalls[part].mean() for part in bins])
    lower = np.array([np.quantile(recalls[part], LOWER, method="lower") for part in bins])
    centres = np.array([np.median(levels[part]) for part in bins])
    smooth = isotonic_regression(means, y_min=0.0, y_max=1.0)
    return Estimator(centres, smooth, np.minimum.accumulate(lower[::-1])[::-1])


def _every(traces: Traces, part: Callable[[Sequence[Trace]], Sequence[Trace]]) -> list[Trace]:
    return [one for asked in traces.values() for one in part(asked)]


def _first(traces: Sequence[Trace]) -> Sequence[Trace]:
    return traces[: fitted_on(len(traces))]


def _rest(traces: Sequence[Trace]) -> Sequence[Trace]:
    return traces[fitted_on(len(traces)) :]


def fitted_on(number: int) -> int:
    """Of so many queries the first that models are fitted on."""
    return max(1, min(int(number * FITTED), FITTED_AT_MOST))
