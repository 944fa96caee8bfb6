"""From traces to a calibration: models fitted on one part of the queries, curves and estimates from the others."""

import math
from collections.abc import Callable, Mapping, Sequence
from copy import copy

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
    deep: Traces, plain: Traces, ks: Sequence[int] = KS, look: float = 100.0, between: Callable[[], None] = lambda: None
) -> list[Bucket]:
    """A bucket for each k that is looked for in every trace; queries are in random order.

    `deep` are descents as searches make them, `plain` those in plain prefix order, which may be the same; `look` is
    what a look at the signs costs in rows. `between` is called between two pieces of work; what it raises ends it.
    """
    return [_bucket(deep, plain, place, k, look, between) for place, k in enumerate(ks)]


def _bucket(deep: Traces, plain: Traces, place: int, k: int, look: float, between: Callable[[], None]) -> Bucket:
    model = _fitted(_seen(deep), place, k)
    plain_model = model if plain is deep else _fitted(_seen(plain), place, k)
    curves = {}
    for share in deep:
        between()
        paths, number = _Paths(deep[share], model, place, k), fitted_on(len(deep[share]))
        lengths = paths if plain is deep else _Paths(plain[share], plain_model, place, k)
        rest = lengths.known.copy()
        rest[: fitted_on(len(plain[share]))] = False
        told = _estimator(lengths.levels[rest], 1.0 - lengths.missing[rest])
        curves[share] = _curve(paths.part(slice(0, number)), paths.part(slice(number, None)), told, look)
    return Bucket(k, model, plain_model, curves)


class _Paths:
    """Of q traces, at the (m,) lengths from the k-th row on: (q, m) log rates, log missing shares as estimated, and
    what was missing; `known` tells where. A trace ended with nothing missing: it stops there at the latest."""

    def __init__(self, traces: Sequence[Trace], model: MissModel, place: int, k: int) -> None:
        self.rows = np.unique(np.concatenate([one.rows[one.rows >= k] for one in traces]))
        shape = len(traces), len(self.rows)
        self.rates, self.missing, self.known = np.full(shape, -np.inf), np.zeros(shape), np.zeros(shape, dtype=bool)
        self.levels = np.zeros(shape)
        for at, one in enumerate(traces):
            long = one.rows >= k
            columns = np.searchsorted(self.rows, one.rows[long])
            signs, last = one.signs[place, long], columns[-1]
            self.known[at, columns] = True
            self.rates[at, columns], self.levels[at, columns] = model.log_rate(signs), model.log_missing(signs)
            self.missing[at, columns] = one.missing[place, long]
            self.missing[at, last:] = one.missing[place, -1]
            self.levels[at, last:] = self.levels[at, last] - np.log(self.rows[last:] / self.rows[last])

    def part(self, which: slice) -> "_Paths":
        """Of some of the traces."""
        some = copy(self)
        for name in ("rates", "missing", "known", "levels"):
            setattr(some, name, getattr(self, name)[which])
        return some

    def stops(self, rate: float) -> np.ndarray:
        """(q, m) places of the lengths where a descent with this threshold ends, by the place of its first look."""
        places = np.where(self.rates <= rate, np.arange(len(self.rows)), len(self.rows) - 1)
        return np.minimum.accumulate(places[:, ::-1], axis=1)[:, ::-1]


def _curve(fitted: _Paths, rest: _Paths, plain: Estimator, look: float) -> Curve:
    rates = np.unique(np.quantile(rest.rates[rest.known], np.linspace(0, 1, THRESHOLDS)))[::-1]
    first = np.maximum.accumulate([_first_look(fitted, rate, look) for rate in rates])
    stops = np.array([rest.stops(rate)[:, place] for rate, place in zip(rates, first, strict=True)])
    every = np.arange(stops.shape[1])
    losses, levels = rest.missing[every, stops], rest.levels[every, stops]
    recall = 1.0 - losses.mean(axis=1)
    lo, hi = (int(np.searchsorted(recall, one)) for one in SIZED)
    sized = slice(min(lo, len(rates) - 1), hi + 1)
    stopped = _estimator(levels[sized].ravel(), 1.0 - losses[sized].ravel())
    rows = rest.rows[stops].mean(axis=1)
    return Curve(
        len(every), rates, rest.rows[first], recall, losses.std(axis=1, ddof=1), rows, stopped, plain
    )  # fmt: skip


def _first_look(paths: _Paths, rate: float, look: float) -> int:
    """The place of the length before which a look is not worth its price: where missing share plus work is least, a
    row of work being worth what the threshold says."""
    stops = paths.stops(rate)
    missing = np.take_along_axis(paths.missing, stops, axis=1).mean(axis=0)
    looks = (stops - np.arange(len(paths.rows)) + 1).mean(axis=0)
    return int(np.argmin(missing + math.exp(rate) * (paths.rows[stops].mean(axis=0) + look * looks)))


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


def _seen(traces: Traces) -> list[Trace]:
    """Those that models are fitted on."""
    return [one for asked in traces.values() for one in asked[: fitted_on(len(asked))]]


def fitted_on(number: int) -> int:
    """Of so many queries the first that models are fitted on."""
    return max(1, min(int(number * FITTED), FITTED_AT_MOST))
