"""Prometheus metrics of one application, on a registry of its own."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector

from app.truth_metrics import TruthMetrics

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
RECALLS = (0.5, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.97, 0.98, 0.99, 0.995, 0.999, 1)
ROWS = (50, 100, 200, 400, 800, 1_600, 3_200, 10_000, 100_000, 1_000_000)


class Metrics:
    """What the service counts as it goes; `app.gauges` has what is read when somebody asks."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "funnel_http_requests",
            "Answered requests, by method, route and status.",
            ("method", "route", "status"),
            registry=registry,
        )
        self.request_seconds = Histogram(
            "funnel_http_request_seconds",
            "From request to answer, by route.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self.stage_seconds = Histogram(
            "funnel_search_stage_seconds",
            "Stages of searches, by stage: `total` is all of one.",
            ("stage",),
            buckets=SECONDS,
            registry=registry,
        )
        self.shortlist_rows = Histogram(
            "funnel_search_shortlist_rows", "Rows the first stage kept.", buckets=ROWS, registry=registry
        )
        self.recall_estimate = Histogram(
            "funnel_search_recall_estimate",
            "Estimated recall of answers that have an estimate.",
            buckets=RECALLS,
            registry=registry,
        )
        self.searches = Counter(
            "funnel_search_queries", "Answered queries, by kind: funnel or exact.", ("kind",), registry=registry
        )
        self.degraded = Counter(
            "funnel_search_degraded", "Answers cut short or eased, by reason.", ("reason",), registry=registry
        )
        self.truth = TruthMetrics(registry)
        self.documents = Counter(
            "funnel_ingest_documents",
            "Ingested documents, by what became of them (outcome).",
            ("outcome",),
            registry=registry,
        )
        self.truncated = Counter("funnel_ingest_truncated", "Documents longer than the model reads.", registry=registry)
        ProcessCollector(registry=registry)  # memory, processor time, open files
        # A label is looked up in Python, at the price of an observation: what is asked for at each request is kept.
        self._request, self._request_seconds = cache(self.requests.labels), cache(self.request_seconds.labels)
        self._stage, self._searched = cache(self.stage_seconds.labels), cache(self.searches.labels)

    def answered(self, method: str, route: str, status: int, took: float) -> None:
        """Count one request, answered in so many seconds."""
        self._request(method, route, str(status)).inc()
        self._request_seconds(route).observe(took)

    def searched(self, answer: Any) -> None:
        """Count one answered query."""
        self._searched("exact" if answer.exact else "funnel").inc()
        if not answer.exact and answer.stages:
            self.shortlist_rows.observe(answer.stages[0][1])
        if answer.recall_estimate is not None:
            self.recall_estimate.observe(answer.recall_estimate)
        if answer.degraded:
            self.degraded.labels(answer.degraded["reason"]).inc()

    def timed(self, timing_ms: Mapping[str, float]) -> None:
        """Observe the stages of one search request."""
        for stage, took in timing_ms.items():
            self._stage(stage).observe(took / 1e3)

    def ingested(self, counts: Mapping[str, int]) -> None:
        """Count the documents of one ingest."""
        for outcome in ("created", "updated", "unchanged", "failed", "superseded"):
            self.documents.labels(outcome).inc(counts[outcome])
        self.truncated.inc(counts["truncated"])
