"""The metrics for Prometheus: counters of this process, and gauges read from the database at each scrape.

Each process counts its own webhooks, steps, verdicts and faults. The gauges are the same in every process.
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
        waiting: the number of jobs that could start now, or wait for their next try.
        running: the number of jobs that a worker has taken.
        oldest: how long the oldest job that could start now has waited, in seconds; 0 if there is no such job.
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
            "Webhooks by result",
            ["kind", "result"],
            registry=self._registry,
        )
        self._seconds = Histogram(
            "autograder_step_seconds",
            "Duration of a step of a job",
            ["step"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._verdicts = Counter(
            "autograder_verdicts", "Cases by verdict", ["assignment", "verdict"], registry=self._registry
        )
        self._faults = Counter(
            "autograder_faults",
            "Steps that failed through no fault of a student",
            ["step"],
            registry=self._registry,
        )
        self._suite_faults = Counter(
            "autograder_suite_faults",
            "Draws of a case that the reference failed; the case was drawn again",
            ["assignment", "case"],
            registry=self._registry,
        )
        for step in STEPS:  # so that each step is exported as 0 from the start
            self._seconds.labels(step)
            self._faults.labels(step)
        ProcessCollector(registry=self._registry)

    def webhook(self, kind: str, result: str) -> None:
        """Count a webhook. Both arguments become labels, so neither may contain text from the request."""
        self._webhooks.labels(kind, result).inc()

    def step(self, step: str, seconds: float) -> None:
        """Count a step that ended, with the seconds that it took."""
        self._seconds.labels(step).observe(seconds)

    def report(self, report: Report) -> None:
        """Count the verdicts of a report, and the faults of the suite."""
        for case in report.cases:
            self._verdicts.labels(report.assignment, case.verdict.value).inc()
        for fault in report.suite_faults:
            self._suite_faults.labels(report.assignment, fault.case).inc()

    def fault(self, step: str) -> None:
        """Count a step that failed because of the service or the git host, not because of the student."""
        self._faults.labels(step).inc()

    def text(self, gauges: Iterable[Metric]) -> bytes:
        """Return the counters and `gauges` in Prometheus' text format."""
        snapshot = CollectorRegistry()
        snapshot.register(_Snapshot(gauges))
        return generate_latest(self._registry) + generate_latest(snapshot)


class _Snapshot(Collector):
    """Metrics that were read before, for one scrape."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


def gauges(
    *,
    jobs: Mapping[str, int] | None,
    queues: Mapping[str, Depth] | None,
    workers: int | None,
    problems: int,
) -> Iterator[Metric]:
    """Return the state in the database as gauges. What is None could not be read, and has no gauge.

    Args:
        jobs: number of jobs by state in the ledger.
        queues: how full each queue is.
        workers: number of workers that are alive.
        problems: number of reasons why the service is not ready.
    """
    if jobs is not None:
        states = GaugeMetricFamily("autograder_jobs", "Jobs in the ledger by state", labels=["state"])
        for state, number in jobs.items():
            states.add_metric([state], number)
        yield states
    if queues is not None:
        yield from _queue_gauges(queues)
    if workers is not None:
        yield GaugeMetricFamily("autograder_workers", "Workers alive", value=workers)
    yield GaugeMetricFamily("autograder_problems", "Reasons why the service is not ready", value=problems)


def _queue_gauges(queues: Mapping[str, Depth]) -> Iterator[Metric]:
    waiting = GaugeMetricFamily("autograder_queue_depth", "Jobs waiting", labels=["queue"])
    running = GaugeMetricFamily("autograder_queue_running", "Jobs running", labels=["queue"])
    oldest = GaugeMetricFamily(
        "autograder_queue_oldest_seconds", "How long the oldest job has waited", labels=["queue"]
    )
    for queue, depth in queues.items():
        waiting.add_metric([queue], depth.waiting)
        running.add_metric([queue], depth.running)
        oldest.add_metric([queue], depth.oldest)
    yield from (waiting, running, oldest)
