"""The order of jobs in the queue: pushes before regrades, and students with fewer open jobs first.

A job waits for the jobs of students who have fewer jobs in the queue. So a student who pushes many times delays mainly
the student's own jobs.
"""

from autograder.ledger import OPEN, Job, Ledger

PUSHES, REGRADES = 1_000, 1_000_000
"""The lowest priorities of pushes and of regrades. The job with the lowest priority is taken first."""


def priority(ledger: Ledger, job: Job) -> int:
    """Return the job's priority: a lower one is taken first."""
    waiting = ledger.jobs(states=OPEN, repository=job.repository)
    backlog = sum(other.id != job.id and other.created <= job.created for other in waiting)
    return (PUSHES if job.attempt == 1 else REGRADES) + backlog
