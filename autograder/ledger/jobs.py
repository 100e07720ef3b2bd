"""The jobs: opening them, moving them from state to state, listing them."""

from collections.abc import Collection
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from autograder.ledger import rows, tables
from autograder.ledger.faults import Conflict, IllegalTransition, Unknown
from autograder.ledger.names import RepositoryName, checked_assignment, job_id
from autograder.ledger.part import Part
from autograder.ledger.records import Job, Recorded
from autograder.ledger.states import TRANSITIONS, WAITING, WAITS, WORKER_LOST, JobState
from autograder.ledger.values import storable

_s, _p, _j, _c = tables.submissions.c, tables.pushes.c, tables.jobs.c, tables.job_changes.c


class Jobs(Part):
    """The methods about jobs."""

    def open_job(
        self,
        repository: RepositoryName,
        commit: str,
        assignment: str,
        *,
        attempt: int = 1,
        may_lower: bool = False,
        reason: str = "",
    ) -> Recorded[Job]:
        """Open the job that grades a pushed commit for an assignment. It starts in the state `queued`.

        Args:
            repository, commit: a recorded push.
            assignment: for which assignment.
            attempt: 1 for the push itself; a regrade takes the number after the last attempt.
            may_lower: let this regrade count even if it gives fewer points than the attempt before.
            reason: why it is opened, for the history.

        Raises:
            Unknown: no push of that commit is recorded.
            Conflict: attempts before this one are missing, or the job exists with another `may_lower`.
        """
        checked_assignment(assignment)
        now = self._now()
        name = job_id(repository, commit, assignment, attempt)
        with self.database.writing() as connection:
            submission = _locked_submission(connection, repository, commit)
            known = connection.execute(rows.JOBS.where(_j.id == name)).one_or_none()
            if known is not None:
                if known.may_lower != may_lower:
                    raise Conflict(f"{name} is open with may_lower={known.may_lower}; take the next attempt")
                return Recorded(rows.job(known), new=False)
            before = _last_attempt(connection, submission, assignment)
            if attempt != before + 1:
                raise Conflict(f"{name}: the last attempt is {before}, so the next is {before + 1}")
            connection.execute(
                tables.jobs.insert().values(
                    id=name,
                    submission_id=submission,
                    assignment=assignment,
                    attempt=attempt,
                    may_lower=may_lower,
                    state=JobState.QUEUED.value,
                    reason=storable(reason),
                    worker="",
                    tries=0,
                    created=now,
                    updated=now,
                )
            )
            _add_change(connection, name, None, JobState.QUEUED, reason, "", now)
            return Recorded(rows.job(rows.find_job(connection, name)), new=True)

    def move(self, job: str, state: JobState, *, reason: str = "", worker: str = "") -> Job:
        """Move a job to another state. Nothing happens if it is in that state already.

        Only `running` may be entered again: a worker took the job over, and starts another try.

        Args:
            job: its id.
            state: the new state.
            reason: why; a final job without a report must have a reason.
            worker: the worker that moves it, `host:number`.

        Raises:
            Unknown: there is no such job.
            IllegalTransition: `TRANSITIONS` does not allow the move; or the job would be superseded although it has a
                report; or the job would be final without a report and without a reason.
        """
        with self.database.writing() as connection:
            row = rows.find_job(connection, job, lock=True)
            return self._move(connection, row, state, reason, worker)

    def _move(
        self, connection: sa.Connection, row: sa.Row[Any], state: JobState, reason: str, worker: str
    ) -> Job:
        before = JobState(row.state)
        if before is state and state is not JobState.RUNNING:
            return rows.job(row)
        _require_legal(connection, row.id, before, state, reason)
        now = self._now()
        changes: dict[str, Any] = {"state": state.value, "reason": storable(reason), "updated": now}
        if worker:
            changes["worker"] = storable(worker)
        if state is JobState.RUNNING:
            changes |= {"started": now, "finished": None, "tries": row.tries + 1}
        else:
            changes["finished"] = None if state is JobState.QUEUED else now
        connection.execute(tables.jobs.update().where(_j.id == row.id).values(**changes))
        _add_change(connection, row.id, before, state, reason, worker, now)
        return rows.job(rows.find_job(connection, row.id))

    def supersede_older(self, job: str, *, reason: str = "") -> list[Job]:
        """Supersede the waiting jobs that have the repository and assignment of `job`, and an older push.

        Regrades are not superseded, since staff asked for them. Returns the jobs that were superseded.

        Raises:
            Unknown: there is no such job.
        """
        with self.database.writing() as connection:
            newest = rows.find_job(connection, job)
            mark = _last_position(connection, newest.submission_id)
            waiting = connection.execute(
                rows.JOBS.where(
                    rows.named(rows.repository(newest)),
                    _j.assignment == newest.assignment,
                    _j.attempt == 1,
                    _j.id != job,
                    _j.state.in_([state.value for state in WAITING]),
                )
                .order_by(_j.created, _j.id)
                .with_for_update(of=tables.jobs)
            ).all()
            why = reason or f"superseded by {job}"
            return [
                self._move(connection, row, JobState.SUPERSEDED, why, "")
                for row in waiting
                if _last_position(connection, row.submission_id) < mark
                and not _has_report(connection, row.id)
            ]

    def job(self, job: str) -> Job:
        """Return one job.

        Raises:
            Unknown: there is no such job.
        """
        with self.database.reading() as connection:
            return rows.job(rows.find_job(connection, job))

    def jobs(
        self,
        *,
        states: Collection[JobState] | None = None,
        assignment: str | None = None,
        repository: RepositoryName | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Job]:
        """Return jobs in the order in which they were opened; `limit` and `offset` select a page of them."""
        query = rows.JOBS.order_by(_j.created, _j.id).limit(limit).offset(offset)
        if states is not None:
            query = query.where(_j.state.in_([state.value for state in states]))
        if assignment is not None:
            query = query.where(_j.assignment == assignment)
        if repository is not None:
            query = query.where(rows.named(repository))
        with self.database.reading() as connection:
            return [rows.job(row) for row in connection.execute(query)]

    def ungraded(self) -> list[Job]:
        """Return the final jobs without a report that are the last attempts at their commits."""
        later = tables.jobs.alias()
        query = rows.JOBS.where(
            _j.state == JobState.FINAL.value,
            ~sa.exists().where(tables.reports.c.job_id == _j.id).correlate(tables.jobs),
            ~sa.exists()
            .where(
                later.c.submission_id == _j.submission_id,
                later.c.assignment == _j.assignment,
                later.c.attempt > _j.attempt,
            )
            .correlate(tables.jobs),
        )
        with self.database.reading() as connection:
            return [rows.job(row) for row in connection.execute(query.order_by(_j.created, _j.id))]

    def recent_tries(self, job: str) -> int:
        """Return how often workers have started a job since it was last queued."""
        return self._recent_changes(job, _c.state_after == JobState.RUNNING.value)

    def recent_failures(self, job: str) -> int:
        """Return how many tries of a job have failed since it was last queued.

        Tries whose worker was lost do not count, nor do those after which the job waited for staff.
        """
        return self._recent_changes(
            job,
            _c.state_after == JobState.FAILED.value,
            _c.reason != WORKER_LOST,
            ~_c.reason.startswith(WAITS, autoescape=True),
        )

    def recent_ends(self, job: str) -> int:
        """Return how often a worker was lost while it ran a job, since the job was last queued."""
        taken_over = sa.and_(
            _c.state_before == JobState.RUNNING.value, _c.state_after == JobState.RUNNING.value
        )
        lost = sa.and_(_c.state_after == JobState.FAILED.value, _c.reason == WORKER_LOST)
        return self._recent_changes(job, sa.or_(taken_over, lost))

    def _recent_changes(self, job: str, *conditions: sa.ColumnElement[bool]) -> int:
        """Return how many changes of a job since it was last queued meet the conditions."""
        own = _c.job_id == job
        queued = (
            sa.select(sa.func.coalesce(sa.func.max(_c.id), 0))
            .where(own, _c.state_after == JobState.QUEUED.value)
            .scalar_subquery()
        )
        query = sa.select(sa.func.count()).where(own, _c.id > queued, *conditions)
        with self.database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def count_jobs(self) -> dict[JobState, int]:
        """Return how many jobs are in each state."""
        query = sa.select(_j.state, sa.func.count()).group_by(_j.state)
        with self.database.reading() as connection:
            found = {JobState(state): count for state, count in connection.execute(query)}
        return {state: found.get(state, 0) for state in JobState}


def _locked_submission(connection: sa.Connection, repository: RepositoryName, commit: str) -> int:
    """Return the id of a pushed commit, and lock its repository."""
    query = sa.select(_s.id).select_from(rows.SUBMISSIONS)
    query = query.where(rows.named(repository), _s.commit_sha == commit)
    found: int | None = connection.execute(query.with_for_update(of=tables.repositories)).scalar()
    if found is None:
        raise Unknown(f"no push of {commit} to {repository} is recorded; record it first")
    return found


def _last_attempt(connection: sa.Connection, submission_id: int, assignment: str) -> int:
    query = sa.select(sa.func.max(_j.attempt))
    query = query.where(_j.submission_id == submission_id, _j.assignment == assignment)
    return connection.execute(query).scalar() or 0


def _last_position(connection: sa.Connection, submission_id: int) -> tuple[float, int]:
    query = sa.select(_p.position, _p.id).where(_p.submission_id == submission_id)
    row = connection.execute(query.order_by(_p.position.desc(), _p.id.desc()).limit(1)).one()
    return row.position, row.id


def _has_report(connection: sa.Connection, job: str) -> bool:
    query = sa.select(tables.reports.c.id).where(tables.reports.c.job_id == job)
    return connection.execute(query).first() is not None


def _require_legal(
    connection: sa.Connection, job: str, before: JobState, after: JobState, reason: str
) -> None:
    if after not in TRANSITIONS[before]:
        raise IllegalTransition(
            f"{job} is {before.value} and cannot become {after.value}; see autograder jobs show {job}"
        )
    if after is JobState.FINAL and not reason and not _has_report(connection, job):
        raise IllegalTransition(f"{job} has no report: give the reason why it is final without one")
    if after is JobState.SUPERSEDED and _has_report(connection, job):
        raise IllegalTransition(f"{job} has a report, which counts: publish it instead of superseding it")


def _add_change(
    connection: sa.Connection,
    job: str,
    before: JobState | None,
    after: JobState,
    reason: str,
    worker: str,
    at: datetime,
) -> None:
    connection.execute(
        tables.job_changes.insert().values(
            job_id=job,
            state_before=before.value if before else None,
            state_after=after.value,
            reason=storable(reason),
            worker=storable(worker),
            at=at,
        )
    )
