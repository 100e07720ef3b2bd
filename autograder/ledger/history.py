"""Everything that is recorded about a repository or a job."""

from typing import Any

import sqlalchemy as sa

from autograder.ledger import rows, tables
from autograder.ledger.feedback import feedback_of
from autograder.ledger.names import RepositoryName
from autograder.ledger.part import Part
from autograder.ledger.records import History, JobChange, JobHistory
from autograder.ledger.reports import report_of
from autograder.ledger.states import JobState

_p, _j, _c = tables.pushes.c, tables.jobs.c, tables.job_changes.c


class Histories(Part):
    """The methods that return everything about one repository or one job."""

    def history(self, repository: RepositoryName, *, limit: int | None = None, offset: int = 0) -> History:
        """Return everything that is recorded about a repository. The result is empty if no push of it is recorded.

        Args:
            repository: which repository.
            limit, offset: select a page of `limit` pushes, counted from the last push backwards. The jobs of their
                commits are returned with them.
        """
        query = rows.PUSHES.where(rows.named(repository)).order_by(_p.position.desc(), _p.id.desc())
        jobs = rows.JOBS.where(rows.named(repository)).order_by(_j.created, _j.id)
        with self.database.reading() as connection:
            pushes = connection.execute(query.limit(limit).offset(offset)).all()
            if limit is not None or offset:
                jobs = jobs.where(_j.submission_id.in_({row.submission_id for row in pushes}))
            return History(
                repository,
                tuple(rows.push(row) for row in reversed(pushes)),
                tuple(_job_history(connection, row) for row in connection.execute(jobs).all()),
            )

    def job_history(self, job: str) -> JobHistory:
        """Return everything that is recorded about one job.

        Raises:
            Unknown: there is no such job.
        """
        with self.database.reading() as connection:
            return _job_history(connection, rows.find_job(connection, job))


def _job_history(connection: sa.Connection, row: sa.Row[Any]) -> JobHistory:
    changes = sa.select(tables.job_changes).where(_c.job_id == row.id).order_by(_c.id)
    return JobHistory(
        rows.job(row),
        tuple(map(_change, connection.execute(changes))),
        report_of(connection, row.id),
        feedback_of(connection, row.id),
    )


def _change(row: sa.Row[Any]) -> JobChange:
    before = JobState(row.state_before) if row.state_before else None
    return rows.record(JobChange, row, before=before, after=JobState(row.state_after))
