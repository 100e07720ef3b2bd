"""The service as the HTTP edge and the pages see it: what is there, how it goes, and where a push is handed in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from autograder.course.course import Course
from autograder.errors import GraderError
from autograder.hosts.push import Push
from autograder.ledger import JobState, Ledger
from autograder.ledger.workers import workers
from autograder.service.intake.intake import Intake, Later, Receipt
from autograder.service.jobs.queue import QUEUES, Entry, Queue


@dataclass(frozen=True)
class Depth:
    """How full a queue is.

    Attributes:
        waiting: jobs that could begin, or wait for their next try.
        running: jobs that a slot has.
        oldest: how long the one that waits longest has waited, seconds; 0 where none waits.
    """

    waiting: int = 0
    running: int = 0
    oldest: float = 0.0


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
class Site:
    """Everything of one service. Safe to share between threads.

    Attributes:
        ledger, course, queue, intake: the parts.
        metrics: what is counted in this process, where that is wanted.
        lease_seconds: after which a worker that is not heard of is dead.
        later: opens the jobs of pushes that are recorded; None: before they are answered.
        checks: more of what may be wrong; each returns problems.
        clock: returns the present moment, aware.
    """

    ledger: Ledger
    course: Course
    queue: Queue
    intake: Intake
    metrics: Any = None
    lease_seconds: float = 30.0
    later: Later | None = None
    checks: list[Callable[[], list[str]]] = field(default_factory=list)
    clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc)

    def receive(self, push: Push, received: datetime) -> Receipt:
        """Take a push, see `Intake.receive`."""
        return self.intake.receive(push, received, later=self.later)

    def depths(self) -> Mapping[str, Depth]:
        """Return how full each queue is.

        Raises:
            GraderError: the queue's database cannot be read.
        """
        return depths(self.queue.entries(), self.clock())

    def workers(self) -> int:
        """Return how many worker slots were heard of lately.

        Raises:
            GraderError: the ledger cannot be read.
        """
        since = self.clock() - timedelta(seconds=2 * self.lease_seconds)
        return sum(row.seen >= since for row in workers(self.ledger.database))

    def ready(self) -> list[str]:
        """Return the reasons why pushes are not taken or graded as they should be; none when all is well."""
        found: list[str] = []
        try:
            if self.workers() == 0:
                found.append("no worker is alive; start one: autograder worker")
            self.queue.check()
        except GraderError as error:
            found.append(str(error))
        for check in self.checks:
            found += check()
        return found

    def dead(self) -> int:
        """Return how many jobs wait for staff."""
        return self.ledger.count_jobs()[JobState.DEAD]
