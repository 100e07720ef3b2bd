"""What Prometheus reads: what this process counted, and what the database says at that moment.

Each process counts its own webhooks, steps, verdicts and faults. Depths and ages come from the database: every
process says the same.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from autograder.report import Report

CONTENT_TYPE = CONTENT_TYPE_LATEST
STEPS = ("fetch", "grade", "publish")
_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 120, 300, 600)


@dataclass(frozen=True)
class Depth:
    """How full a queue is.

    Attributes:
        waiting: jobs that wait.
        running: jobs that run.
        oldest: for how long the job has waited that waits longest, seconds; 0 when none does.
    """

    waiting: int = 0
    running: int = 0
    oldest: float = 0.0


class Metrics:
    """The counters of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._webhooks = Counter(
            "autograder_webhooks",
            "Webhooks by what became of them",
            ["kind", "outcome"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "autograder_step_seconds",
            "Time that a step of a job took",
            ["step"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._verdicts = Counter(
            "autograder_verdicts", "Cases by verdict", ["assignment", "verdict"], registry=self._registry
        )
        self._faults = Counter(
            "autograder_faults",
            "Steps that failed by no fault of a student",
            ["step"],
            registry=self._registry,
        )
        for step in STEPS:  # shown as 0 before the first
            self._seconds.labels(step)
            self._faults.labels(step)
        ProcessCollector(registry=self._registry)

    def webhook(self, kind: str, outcome: str) -> None:
        """Count a webhook. `outcome` is one of ours, never a stranger's text."""
        self._webhooks.labels(kind, outcome).inc()

    def step(self, step: str, seconds: float) -> None:
        """Count a step of a job that came to its end."""
        self._seconds.labels(step).observe(seconds)

    def report(self, report: Report) -> None:
        """Count the verdicts of a report."""
        for case in report.cases:
            self._verdicts.labels(report.assignment, case.verdict.value).inc()

    def fault(self, step: str) -> None:
        """Count a step that failed by our fault, or the git host's."""
        self._faults.labels(step).inc()

    def text(self, gauges: Iterable[Metric]) -> bytes:
        """Return everything in Prometheus' text format, with `gauges` as they are now."""
        moment = CollectorRegistry()
        moment.register(_Fixed(gauges))
        return generate_latest(self._registry) + generate_latest(moment)


class _Fixed(Collector):
    """Metrics of one moment."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def gauges(
    *, jobs: Mapping[str, int], queues: Mapping[str, Depth], workers: int, problems: int
) -> Iterator[Metric]:
    """Return what the database says as gauges.

    Args:
        jobs: how many are in each state of the ledger.
        queues: how full each is.
        workers: how many have a lease that holds.
        problems: how many reasons there are why the service is not ready.
    """
    states = GaugeMetricFamily("autograder_jobs", "Jobs in the ledger by state", labels=["state"])
    for state, number in jobs.items():
        states.add_metric([state], number)
    yield states
    waiting = GaugeMetricFamily("autograder_queue_depth", "Jobs that wait", labels=["queue"])
    running = GaugeMetricFamily("autograder_queue_running", "Jobs that run", labels=["queue"])
    oldest = GaugeMetricFamily(
        "autograder_queue_oldest_seconds", "How long the oldest job has waited", labels=["queue"]
    )
    for queue, depth in queues.items():
        waiting.add_metric([queue], depth.waiting)
        running.add_metric([queue], depth.running)
        oldest.add_metric([queue], depth.oldest)
    yield from (waiting, running, oldest)
    yield GaugeMetricFamily("autograder_workers", "Workers that are alive", value=workers)
    yield GaugeMetricFamily("autograder_problems", "Reasons why the service is not ready", value=problems)
