"""Grades the pushes that were late when their job ended, and count now.

Staff granted an extension, or moved a deadline. The job of such a push is final, and has no report. The push gets a
further attempt, which publishes feedback like any other. Under the score policy `last` only the last push that counts
is graded, because an older one cannot change the score.
"""

from collections.abc import Iterator

from autograder.course.course import Target
from autograder.git.names import HEADS
from autograder.ledger import Job, JobState, ScorePolicy
from autograder.service.intake.intake import Intake
from autograder.service.logs import LOG

NOT_GRADED = "not graded: "
"""The reason of a job without a report begins with this if its push did not count."""


def grade_what_counts_now(intake: Intake) -> int:
    """Open a further attempt for each push that counts now and has no report; return how many were opened.

    Raises:
        GraderError: the ledger cannot be used.
    """
    opened = 0
    ended = [job for job in intake.ledger.jobs(states=[JobState.FINAL]) if job.reason.startswith(NOT_GRADED)]
    for repository, assignment in dict.fromkeys((job.repository, job.assignment) for job in ended):
        branch = intake.course.config.assignments.get(assignment)
        target = intake.course.target(repository, branch.branch) if branch else None
        if target is None or target.assignment != assignment:
            continue
        for job in _count_now(intake, target):
            again = intake.ledger.open_job(
                repository,
                job.commit,
                assignment,
                attempt=job.attempt + 1,
                reason="the push counts now: an extension was granted, or the deadline was moved",
            ).row
            LOG.info("a push counts now", extra={"job": again.id})
            intake.dispatch(again)
            opened += 1
    return opened


def _count_now(intake: Intake, target: Target) -> Iterator[Job]:
    """Yield the last job of each commit that can change the score and was not graded because its push did not count."""
    jobs = intake.ledger.jobs(repository=target.repository, assignment=target.assignment)
    last = {job.commit: job for job in sorted(jobs, key=lambda job: job.attempt)}
    seen = set()
    for push in reversed(intake.ledger.pushes(target.repository, ref=HEADS + target.branch)):
        if push.commit in seen or not intake.counts(target, push.received):
            continue
        seen.add(push.commit)
        job = last.get(push.commit)
        if job is not None and job.state is JobState.FINAL and job.reason.startswith(NOT_GRADED):
            yield job
        if intake.course.policy(target.assignment) is ScorePolicy.LAST:
            return
