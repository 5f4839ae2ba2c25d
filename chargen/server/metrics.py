"""Metrics for Prometheus, by its client library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from chargen.server.library import Library

KIND = CONTENT_TYPE_LATEST
SECONDS = (0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60, 300)


class Metrics:
    """What the server did, and what its models do now.

    Args:
        library: the models.
    """

    def __init__(self, library: Library) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "chargen_requests",
            "Requests by route and status; status 0: the client left before.",
            ("route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "chargen_request_seconds",
            "Time of requests.",
            ("route",),
            buckets=SECONDS,
            registry=self._registry,
        )
        ProcessCollector(registry=self._registry)
        self._registry.register(_Models(library))

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count a request that has ended."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)


FACTS: dict[str, str] = {
    "rows": "Prompts and texts in the engine now.",
    "reading": "Prompts that are read now.",
    "waiting": "Jobs that wait for a row.",
    "streams": "Jobs that are not finished.",
    "scoring_tasks": "Texts that are scored, and the like.",
}
TOTALS: dict[str, str] = {
    "tokens": "Tokens generated.",
    "prompt_tokens": "Tokens of prompts read.",
    "finished": "Jobs finished.",
    "cancelled": "Jobs dropped, mostly because the client left.",
    "failed": "Jobs that failed.",
}


class _Models:
    """Collector of the facts of the models in memory.

    Args:
        library: the models.
    """

    def __init__(self, library: Library) -> None:
        self._library = library

    def collect(self) -> Iterator[Metric]:
        """Yield a metric for each fact, with a value for each model."""
        loaded = self._library.loaded
        yield _gauge("models_in_memory", "Models in memory.", [], {(): len(loaded)})
        users = {(model.name,): model.users for model in loaded}
        yield _gauge("requests_running", "Requests that use a model.", ["model"], users)
        facts = {(model.name,): model.scheduler.facts() for model in loaded}
        for name, help in FACTS.items():
            yield _gauge(name, help, ["model"], {key: own[name] for key, own in facts.items()})
        for name, help in TOTALS.items():
            counter = CounterMetricFamily(f"chargen_{name}", help, labels=["model"])
            for key, own in facts.items():
                counter.add_metric(key, own[name])
            yield counter


def _gauge(name: str, help: str, labels: list[str], values: Mapping[Any, int]) -> GaugeMetricFamily:
    """Return a gauge with a value for each tuple of the values of its labels."""
    family = GaugeMetricFamily(f"chargen_{name}", help, labels=labels)
    for key, value in values.items():
        family.add_metric(key, value)
    return family
