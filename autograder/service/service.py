"""One running service as the HTTP server sees it: its parts, their state, and the method that takes a push."""

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone

from autograder.course.course import Course
from autograder.errors import GraderError
from autograder.hosts.push import Push
from autograder.ledger import Ledger
from autograder.ledger.workers import Worker, workers
from autograder.service.intake.intake import Intake, Later, Receipt
from autograder.service.jobs.queue import QUEUES, Entry, Queue
from autograder.service.metrics import Depth, Metrics
from autograder.service.readiness import elsewhere, is_alive, unserved


def depths(entries: list[Entry], now: datetime) -> dict[str, Depth]:
    """Return how full each queue is."""
    found: dict[str, Depth] = {}
    for queue in QUEUES:
        own = [entry for entry in entries if entry.queue == queue]
        waiting = [entry for entry in own if not entry.running]
        due = [entry.since for entry in waiting if entry.due is None or entry.due <= now]
        oldest = max(0.0, (now - min(due)).total_seconds()) if due else 0.0
        found[queue] = Depth(len(waiting), len(own) - len(waiting), oldest)
    return found


@dataclass(frozen=True)
class Service:
    """The parts of one service. Threads may share it, and its methods may block.

    Attributes:
        ledger, course, queue, intake: the parts.
        metrics: the counters of this process.
        lease_seconds: how long a worker's lease lasts, see `is_alive`.
        later: opens the jobs of recorded pushes after the response is sent; None: jobs are opened before that.
        checks: further sources of problems, besides the workers and the queue.
        clock: returns the present moment, with a time zone.
        monotonic: returns the seconds of a clock that does not go back.
    """

    ledger: Ledger
    course: Course
    queue: Queue
    intake: Intake
    metrics: Metrics = field(default_factory=Metrics)
    lease_seconds: float = 30.0
    later: Later | None = None
    checks: list[Callable[[], list[str]]] = field(default_factory=list)
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)
    monotonic: Callable[[], float] = time.monotonic
    _watched: dict[str, tuple[object, float, bool]] = field(default_factory=dict, repr=False)

    def receive(self, push: Push, received: datetime) -> Receipt:
        """Record a push and make sure that it is graded, see `Intake.receive`.

        Raises:
            GraderError: the push could not be recorded; its sender should send it again.
        """
        return self.intake.receive(push, received, later=self.later)

    def lost(self, kind: str, subject: str, reason: str) -> None:
        """Count a delivery that did not become a push. If the ledger cannot be written, nothing is counted."""
        with suppress(GraderError):
            self.ledger.add_loss(
                "delivery", f"webhook of {subject}" if subject != kind else f"webhook {kind}", reason
            )

    def depths(self) -> Mapping[str, Depth]:
        """Return how full each queue is.

        Raises:
            GraderError: the queue's database cannot be read.
        """
        return depths(self.queue.entries(), self.clock())

    def workers(self) -> int:
        """Return how many workers are alive.

        Raises:
            GraderError: the ledger cannot be read.
        """
        return len(self._alive())

    def _alive(self) -> list[Worker]:
        return [worker for worker in workers(self.ledger.database) if self._is_alive(worker)]

    def _is_alive(self, worker: Worker) -> bool:
        """Whether a worker renews its row. The time in the row counts only until the row was watched."""
        now = self.monotonic()
        seen = (worker.started, worker.beats)
        before, since, renewed = self._watched.get(worker.name, (None, now, False))
        if before != seen:
            since, renewed = now, before is not None
        self._watched[worker.name] = seen, since, renewed
        if now - since > 2 * self.lease_seconds:
            return False
        return renewed or is_alive(worker, self.ledger.database.now(), self.lease_seconds)

    def problems(self) -> list[str]:
        """Return the reasons why pushes are not accepted or graded properly; an empty list if there is no problem."""
        found: list[str] = []
        alive: list[Worker] = []
        try:
            alive = self._alive()
            if alive:
                found += unserved(self.course, alive)
            else:
                found.append("no worker is alive; start one: autograder worker")
            found += self.course.misnamed(self.ledger.repositories())
            self.queue.check()
        except GraderError as error:
            found.append(str(error))
        for check in self.checks:
            found += check()
        return found + elsewhere(alive, found)
