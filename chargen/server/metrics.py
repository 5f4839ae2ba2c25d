"""Metrics for Prometheus, by its client library."""

from __future__ import annotations

from collections.abc import Iterator

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
        self._registry, self._library = CollectorRegistry(), library
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


class _Models:
    """Collector of the facts of the models in memory."""

    def __init__(self, library: Library) -> None:
        self._library = library

    def collect(self) -> Iterator[Metric]:
        """Yield a gauge per fact, or a counter if it only grows."""
        loaded = self._library.loaded
        gauge = GaugeMetricFamily("chargen_models_in_memory", "Models in memory.")
        gauge.add_metric([], len(loaded))
        yield gauge
        users = GaugeMetricFamily(
            "chargen_requests_running", "Requests that use a model.", None, ["model"]
        )
        families = dict[str, Metric]()
        for model in loaded:
            users.add_metric([model.name], model.users)
            for fact, value in model.scheduler.facts().items():
                family = families.setdefault(fact, _family(fact))
                family.add_sample(
                    family.name + "_total" * (family.type == "counter"),
                    {"model": model.name},
                    value,
                )
        yield users
        yield from families.values()


GROWING = "tokens"  # in the names of facts that only grow


def _family(fact: str) -> Metric:
    kind = CounterMetricFamily if GROWING in fact else GaugeMetricFamily
    return kind(
        f"chargen_{fact}", f"{fact.replace('_', ' ').capitalize()}, by model.", labels=["model"]
    )
