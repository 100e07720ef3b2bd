"""The order of jobs in the queue: pushes before regrades, and students who use less of the workers first.

A job waits for the jobs of students who have fewer jobs in the queue, and for those of students whose jobs took less of
the workers' time in the last hour. So a student who pushes many times, or whose submissions take long, delays mainly
the student's own jobs. A job that runs is not interrupted: nobody waits for more than one submission of a neighbour on
each worker.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone

from autograder.ledger import OPEN, Job, Ledger

PUSHES, REGRADES = 1_000, 1_000_000
"""The lowest priorities of pushes and of regrades. The job with the lowest priority is taken first."""
WINDOW = timedelta(hours=1)
UNIT = timedelta(minutes=1)  # of a worker's time; it counts like one more job in the queue


def priority(ledger: Ledger, job: Job) -> int:
    """Return the job's priority: a lower one is taken first."""
    own = ledger.jobs(repository=job.repository)
    backlog = sum(
        other.state in OPEN and other.id != job.id and other.created <= job.created for other in own
    )
    pushes = [other for other in own if other.attempt == 1]  # nobody waits for what staff asked for
    units = used(pushes, datetime.now(timezone.utc)) // UNIT
    return (PUSHES if job.attempt == 1 else REGRADES) + backlog + units


def used(jobs: Iterable[Job], now: datetime) -> timedelta:
    """Return for how long workers had the last tries of `jobs` in the hour before `now`."""
    total = timedelta(0)
    for job in jobs:
        if job.started is not None:
            end = min(job.finished or now, now)
            total += max(timedelta(0), end - max(job.started, now - WINDOW))
    return min(total, 60 * WINDOW)
