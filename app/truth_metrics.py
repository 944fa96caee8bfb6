"""The series of live truth, on the registry of the service."""

from collections.abc import Mapping
from math import nan

from prometheus_client import CollectorRegistry, Counter, Gauge

MEANS = {
    "recall": "Mean recall@k of the last 200 live answers that were compared with exact search.",
    "estimate_error": "Mean of estimated minus true recall of the same answers.",
    "coverage": "Share of the same answers whose recall reached the lower bound they were given.",
    "target": "Mean target recall of the same answers.",
}


class TruthMetrics:
    """Gauges are NaN while there is nothing to average."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queries = Counter("funnel_truth_queries", "Live answers compared with exact search.", registry=registry)
        self.skipped = Counter(
            "funnel_truth_skipped",
            "Live answers taken for a comparison that would have told nothing, by reason.",
            ("reason",),
            registry=registry,
        )
        self.dropped = Counter(
            "funnel_truth_dropped",
            "Live answers taken for a comparison for which there was no time, by reason.",
            ("reason",),
            registry=registry,
        )
        self.false_certificates = Counter(
            "funnel_truth_false_certificates", "Certified answers that were not exact: a defect.", registry=registry
        )
        self._warning = Gauge("funnel_truth_warning", "1 while promised recall is not kept.", registry=registry)
        self._means = {name: Gauge(f"funnel_truth_{name}", said, registry=registry) for name, said in MEANS.items()}
        self.show(dict.fromkeys(MEANS), False)

    def show(self, means: Mapping[str, float | None], warned: bool) -> None:
        """Set the gauges to the means of now."""
        for name, gauge in self._means.items():
            mean = means[name]
            gauge.set(nan if mean is None else mean)
        self._warning.set(warned)
