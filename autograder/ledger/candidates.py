"""The pushes with a final report, from which scores follow."""

import sqlalchemy as sa

from autograder.ledger import rows, tables
from autograder.ledger.names import RepositoryName
from autograder.ledger.own import IS_OWN
from autograder.ledger.part import Part
from autograder.ledger.records import Source
from autograder.ledger.scores import Candidate
from autograder.ledger.states import JobState

_s, _p, _j, _re = tables.submissions.c, tables.pushes.c, tables.jobs.c, tables.reports.c
_CANDIDATES = sa.select(
    *rows.NAME,
    _p.id.label("push_id"),
    rows.RECEIVED,
    rows.SOURCE,
    _p.position,
    rows.COMMIT,
    _j.id.label("job_id"),
    _j.attempt,
    _j.may_lower,
    _j.state,
    _re.points,
    _re.max_points,
).select_from(
    rows.TIMED_PUSHES.join(tables.jobs, _j.submission_id == _s.id).join(tables.reports, _re.job_id == _j.id)
)


class Candidates(Part):
    """The methods about what scores are derived from."""

    def revision(self) -> tuple[int, ...]:
        """Return numbers that change whenever something is recorded from which scores follow."""
        of = (
            *(tables.pushes, tables.push_times, tables.own_commits),
            *(tables.job_changes, tables.reports, tables.adjustments),
        )
        query = sa.select(*(sa.select(sa.func.max(table.c.id)).scalar_subquery() for table in of))
        with self.database.reading() as connection:
            return tuple(number or 0 for number in connection.execute(query).one())

    def max_points(self, assignment: str) -> int:
        """Return the points that an assignment is worth, by the report that was recorded last; 0 without a report."""
        query = (
            sa.select(_re.max_points)
            .join_from(tables.reports, tables.jobs, _re.job_id == _j.id)
            .where(_j.assignment == assignment)
            .order_by(_re.id.desc())
            .limit(1)
        )
        with self.database.reading() as connection:
            return int(connection.execute(query).scalar() or 0)

    def candidates(self, assignment: str, *, repository: RepositoryName | None = None) -> list[Candidate]:
        """Return every push that has a final report, once for each report. Scores are derived from these candidates.

        Pushes of our own commits are no candidates.

        Args:
            assignment: for which assignment.
            repository: this repository only.
        """
        query = _CANDIDATES.where(_j.assignment == assignment, ~IS_OWN)
        if repository is not None:
            query = query.where(rows.named(repository))
        with self.database.reading() as connection:
            return [
                rows.record(Candidate, row, repository=rows.repository(row), source=Source(row.source))
                for row in connection.execute(query)
                # This is not a condition of the query, because SQLite would then search through all final jobs.
                if row.state == JobState.FINAL.value
            ]
