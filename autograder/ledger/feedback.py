"""The feedback commits that were published for jobs."""

import sqlalchemy as sa

from autograder.ledger import rows, tables
from autograder.ledger.database import insert_new
from autograder.ledger.faults import IllegalTransition
from autograder.ledger.names import checked_commit
from autograder.ledger.part import Part
from autograder.ledger.records import FeedbackCommit, Recorded
from autograder.ledger.states import JobState
from autograder.ledger.values import storable

_f = tables.feedback_commits.c


class Feedback(Part):
    """The methods about feedback commits."""

    def add_feedback(self, job: str, *, commit: str, branch: str) -> Recorded[FeedbackCommit]:
        """Record that `commit` on the feedback branch shows the report of a job.

        Raises:
            Unknown: there is no such job.
            IllegalTransition: the job is neither running nor final.
        """
        checked_commit(commit)
        with self.database.writing() as connection:
            row = rows.find_job(connection, job, lock=True)
            if JobState(row.state) not in (JobState.RUNNING, JobState.FINAL):
                raise IllegalTransition(f"{job} is {row.state}: only a running or final job has feedback")
            values = {
                "job_id": job,
                "branch": storable(branch, 200),
                "commit_sha": commit,
                "published": self._now(),
            }
            added = insert_new(connection, tables.feedback_commits, values)
            (found,) = (feedback for feedback in feedback_of(connection, job) if feedback.commit == commit)
            return Recorded(found, new=added is not None)


def feedback_of(connection: sa.Connection, job: str) -> tuple[FeedbackCommit, ...]:
    """Return the feedback commits of a job in the order of their publication."""
    query = sa.select(tables.feedback_commits, _f.commit_sha.label("commit")).where(_f.job_id == job)
    return tuple(rows.record(FeedbackCommit, row) for row in connection.execute(query.order_by(_f.id)))
