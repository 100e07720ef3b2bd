"""The feedback commits that were published for jobs."""

from datetime import datetime

import sqlalchemy as sa

from autograder.ledger import rows, tables
from autograder.ledger.database import insert_new
from autograder.ledger.faults import IllegalTransition
from autograder.ledger.names import RepositoryName, checked_commit
from autograder.ledger.part import Part
from autograder.ledger.records import FeedbackCommit, Recorded
from autograder.ledger.states import JobState
from autograder.ledger.values import storable, utc

_f, _j, _s = tables.feedback_commits.c, tables.jobs.c, tables.submissions.c
_p, _t, _r, _a = tables.pushes.c, tables.push_times.c, tables.repositories.c, tables.adjustments.c


class Feedback(Part):
    """The methods about feedback commits."""

    def add_feedback(
        self, job: str, *, commit: str, branch: str, shows: str = ""
    ) -> Recorded[FeedbackCommit]:
        """Record that `commit` on the feedback branch shows the report of a job.

        Args:
            job: its id.
            commit: on the feedback branch.
            branch: the feedback branch.
            shows: sha256 of the feedback files, hex.

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
                "shows": shows,
            }
            added = insert_new(connection, tables.feedback_commits, values)
            (found,) = (feedback for feedback in feedback_of(connection, job) if feedback.commit == commit)
            return Recorded(found, new=added is not None)

    def last_feedback(self, repository: RepositoryName, assignment: str) -> FeedbackCommit | None:
        """Return the feedback commit that was published last for a repository and assignment, None without one."""
        query = (
            sa.select(tables.feedback_commits, _f.commit_sha.label("commit"))
            .select_from(tables.feedback_commits.join(tables.jobs, _f.job_id == _j.id).join(rows.SUBMISSIONS))
            .where(rows.named(repository), _j.assignment == assignment)
            .order_by(_f.id.desc())
            .limit(1)
        )
        with self.database.reading() as connection:
            row = connection.execute(query).one_or_none()
        return None if row is None else rows.record(FeedbackCommit, row)

    def unanswered(self, *, since: datetime | None = None) -> list[tuple[RepositoryName, datetime]]:
        """Return the repositories of which something changed after the last feedback.

        A push was recorded or dated, a job ended, or staff adjusted the score.

        Args:
            since: leave out what happened earlier.

        Returns:
            Each repository with the moment of the last of these events.
        """
        events = (
            (tables.pushes.join(tables.submissions), _s.repository_id, _p.recorded),
            (tables.push_times.join(tables.pushes).join(tables.submissions), _s.repository_id, _t.at),
            (tables.jobs.join(tables.submissions), _s.repository_id, _j.updated),
            (tables.adjustments, _a.repository_id, _a.at),
        )
        happened = sa.union_all(
            *(
                sa.select(repository.label("repository"), at.label("at"))
                .select_from(where)
                .where(*([at >= utc(since)] if since else []))
                for where, repository, at in events
            )
        ).subquery()
        published = (
            sa.select(sa.func.max(_f.published))
            .select_from(tables.feedback_commits.join(tables.jobs).join(tables.submissions))
            .where(_s.repository_id == _r.id)
            .correlate(tables.repositories)
            .scalar_subquery()
        )
        last = sa.func.max(happened.c.at, type_=tables.UtcTime())
        query = (
            sa.select(*rows.NAME, last.label("at"))
            .join(happened, happened.c.repository == _r.id)
            .group_by(_r.id, *rows.NAME)
            .having(sa.or_(published.is_(None), last > published))
            .order_by(*rows.NAME)
        )
        with self.database.reading() as connection:
            return [(rows.repository(row), row.at) for row in connection.execute(query)]


def feedback_of(connection: sa.Connection, job: str) -> tuple[FeedbackCommit, ...]:
    """Return the feedback commits of a job in the order of their publication."""
    query = sa.select(tables.feedback_commits, _f.commit_sha.label("commit")).where(_f.job_id == job)
    return tuple(rows.record(FeedbackCommit, row) for row in connection.execute(query.order_by(_f.id)))
