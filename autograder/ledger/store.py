"""The ledger's API: record a push, open a job, move it, add its report, ask for scores.

Each method is one transaction, and each that writes may be repeated: it answers with what is there and whether
it was new. On PostgreSQL the row of the repository, or of the job, is locked while a method works on it.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from autograder.ledger import scores, tables
from autograder.ledger.database import BUSY_SECONDS, Database, canonical, parse_url
from autograder.ledger.faults import Conflict, IllegalTransition, LedgerError, Unknown
from autograder.ledger.rows import (
    OPEN,
    TRANSITIONS,
    AuditLine,
    FeedbackCommit,
    History,
    Job,
    JobChange,
    JobHistory,
    JobState,
    Recorded,
    RecordedPush,
    RepositoryName,
    Result,
    StoredReport,
    Unanswered,
    checked_assignment,
    checked_commit,
    checked_ref,
    job_id,
    storable,
)
from autograder.ledger.scores import Candidate, Cutoffs, Score, ScorePolicy
from autograder.report import Report, from_json

_r, _s, _p, _j = tables.repositories.c, tables.submissions.c, tables.pushes.c, tables.jobs.c
_NAME = (_r.host, _r.owner, _r.name)
_OF_REPOSITORY = tables.submissions.join(tables.repositories, _s.repository_id == _r.id)
_PUSHES = sa.select(tables.pushes, _s.commit_sha, *_NAME[1:]).select_from(
    tables.pushes.join(_OF_REPOSITORY, _p.submission_id == _s.id)
)
_JOBS = sa.select(tables.jobs, _s.commit_sha, *_NAME).select_from(
    tables.jobs.join(_OF_REPOSITORY, _j.submission_id == _s.id)
)


class Ledger:
    """The ledger at one URL. Safe to share between threads; a forked child may go on using it."""

    def __init__(self, database: Database, clock: Callable[[], datetime]) -> None:
        self.database = database
        self._clock = clock

    @classmethod
    def open(
        cls,
        url: str,
        *,
        folder: Path | None = None,
        create: bool = True,
        busy_seconds: float = BUSY_SECONDS,
        clock: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
    ) -> "Ledger":
        """Open the ledger at `url`, and bring its schema up to date.

        Args:
            url: `sqlite:///FILE` or `postgresql://USER:PASSWORD@HOST/DATABASE`.
            folder: what a relative FILE is relative to; default: the current folder.
            create: make it where there is none; else it must be there, and its schema is left as it is.
            busy_seconds: how long to wait for other writers of an SQLite file.
            clock: returns the present moment, aware.

        Raises:
            LedgerError: it cannot be opened, is no ledger, or was written by a newer autograder.
        """
        return cls(Database(parse_url(url, folder), create=create, busy_seconds=busy_seconds), clock)

    def close(self) -> None:
        """Close all connections."""
        self.database.close()

    def __enter__(self) -> "Ledger":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Ledger({self.database.shown})"

    # pushes ----------------------------------------------------------------------------------------------

    def record_push(
        self,
        repository: RepositoryName,
        *,
        commit: str,
        ref: str,
        before: str = "",
        sender: str = "",
        delivery_id: str | None = None,
        payload_digest: str = "",
        received: datetime | None = None,
    ) -> Recorded[RecordedPush]:
        """Record that `ref` of `repository` moved from `before` to `commit`, once however often we are told.

        Told again is: with the same delivery id; or with the same repository, ref, commit and `before`; or
        without `before` for a commit that is known. A branch that returns to an earlier commit from another
        one is a push of its own: under the policy `last` that commit counts again.

        Args:
            repository: where.
            commit: what the branch is now; a full id.
            ref: full name, refs/heads/main.
            before: what the branch was; empty where that is not known.
            sender: who pushed, as the host says.
            delivery_id: the host's id of the delivery, unique per host.
            payload_digest: sha256 of what we were told with, hex.
            received: when it reached us; default: now. A spool passes the time it noted.

        Raises:
            Conflict: the delivery id belongs to a push of another repository or commit.
            LedgerError: a value is not what it should be, or the database fails.
        """
        checked_commit(commit)
        checked_ref(ref)
        if before:
            checked_commit(before, "before")
        if delivery_id is not None and not 0 < len(delivery_id) <= 200:
            raise LedgerError("a delivery id has 1 to 200 characters; pass None where the host gives none")
        now = self._now()
        values = {
            "delivery_id": None if delivery_id is None else storable(delivery_id),
            "ref": ref,
            "before_sha": before,
            "sender": storable(sender, 200),
            "payload_digest": storable(payload_digest, 200),
            "received": _aware(received or now),
        }
        with self.database.writing() as connection:
            known = self._delivered(connection, repository, commit, values["delivery_id"])
            if known:
                return Recorded(known, new=False)
            owner = _ensure_repository(connection, repository, now)
            known = _same_move(connection, owner, commit, ref, before)
            if known:
                return Recorded(known, new=False)
            submission = _ensure(
                connection,
                tables.submissions,
                {"repository_id": owner, "commit_sha": commit},
                {"created": now},
            )
            added = _insert_new(
                connection,
                tables.pushes,
                values | {"submission_id": submission, "host": repository.host},
            )
            if added is None:  # on PostgreSQL: this delivery id came in for another repository meanwhile
                known = self._delivered(connection, repository, commit, values["delivery_id"])
                if known is None:
                    raise LedgerError("a push could not be recorded; run autograder ledger check")
                return Recorded(known, new=False)
            row = connection.execute(_PUSHES.where(_p.id == added)).one()
            return Recorded(_push(row), new=True)

    def _delivered(
        self, connection: sa.Connection, repository: RepositoryName, commit: str, delivery_id: Any
    ) -> RecordedPush | None:
        """Return the push that this delivery told us of."""
        if delivery_id is None:
            return None
        row = connection.execute(
            _PUSHES.where(_p.host == repository.host, _p.delivery_id == delivery_id)
        ).one_or_none()
        if row is None:
            return None
        push = _push(row)
        if (push.repository, push.commit) != (repository, commit):
            raise Conflict(
                f"delivery {delivery_id!a} of {repository.host} is recorded for {push.repository} at "
                f"{push.commit}, and came again for {repository} at {commit}; see the host's list of deliveries"
            )
        return push

    def pushes(
        self,
        repository: RepositoryName,
        *,
        commit: str | None = None,
        ref: str | None = None,
        after: int | None = None,
    ) -> list[RecordedPush]:
        """Return pushes of a repository, by receive time.

        Args:
            repository: whose.
            commit: of this commit only.
            ref: of this ref only.
            after: only those that were recorded after the push with this id.
        """
        query = _PUSHES.where(_is(repository)).order_by(_p.received, _p.id)
        if commit is not None:
            query = query.where(_s.commit_sha == commit)
        if ref is not None:
            query = query.where(_p.ref == ref)
        if after is not None:
            query = query.where(_p.id > after)
        with self.database.reading() as connection:
            return [_push(row) for row in connection.execute(query)]

    def repositories(
        self, *, part: str = "", limit: int | None = None, offset: int = 0
    ) -> list[RepositoryName]:
        """Return the repositories that ever pushed, by name.

        Args:
            part: only those whose `host/owner/name` has this in it; upper and lower case are the same.
            limit, offset: a page of them.
        """
        whole = _r.host + "/" + _r.owner + "/" + _r.name
        query = sa.select(*_NAME).order_by(*_NAME).limit(limit).offset(offset)
        if part:
            query = query.where(whole.icontains(part, autoescape=True))
        with self.database.reading() as connection:
            return [RepositoryName(*row) for row in connection.execute(query)]

    def unanswered(
        self, *, assignment: str | None = None, since: datetime | None = None, limit: int | None = None
    ) -> list[Unanswered]:
        """Return the pushes without a settled job, by receive time: what a reconciler must look after.

        A job is settled when it is final, superseded or dead. A push is returned when it has no job at all,
        or one that is queued, running or failed.

        Args:
            assignment: look at jobs of this assignment only.
            since: leave out what was received before.
            limit: at most so many.
        """
        own = _j.submission_id == _p.submission_id
        if assignment is not None:
            own = sa.and_(own, _j.assignment == assignment)
        states = [state.value for state in OPEN]
        query = _PUSHES.where(
            sa.or_(
                ~sa.exists().where(own).correlate(tables.pushes),
                sa.exists().where(own, _j.state.in_(states)).correlate(tables.pushes),
            )
        ).order_by(_p.received, _p.id)
        if since is not None:
            query = query.where(_p.received >= _aware(since))
        with self.database.reading() as connection:
            found = []
            for row in connection.execute(query.limit(limit)).all():
                jobs = _JOBS.where(_j.submission_id == row.submission_id).order_by(_j.assignment, _j.attempt)
                if assignment is not None:
                    jobs = jobs.where(_j.assignment == assignment)
                found.append(Unanswered(_push(row), tuple(map(_job, connection.execute(jobs)))))
            return found

    # jobs ------------------------------------------------------------------------------------------------

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
        """Open the job that grades a pushed commit for an assignment; it is queued.

        Args:
            repository, commit: a recorded push.
            assignment: for which.
            attempt: 1 for the push itself; a regrade takes the number after the last.
            may_lower: let this regrade count even where it gives fewer points than the attempt before.
            reason: why, for the history.

        Raises:
            Unknown: no push of that commit is recorded.
            Conflict: attempts before this one are missing, or it is there with another `may_lower`.
        """
        checked_assignment(assignment)
        now = self._now()
        name = job_id(repository, commit, assignment, attempt)
        with self.database.writing() as connection:
            submission = connection.execute(
                sa.select(_s.id)
                .select_from(_OF_REPOSITORY)
                .where(_is(repository), _s.commit_sha == commit)
                .with_for_update(of=tables.repositories)
            ).scalar()
            if submission is None:
                raise Unknown(f"no push of {commit} to {repository} is recorded; record it first")
            known = connection.execute(_JOBS.where(_j.id == name)).one_or_none()
            if known is not None:
                if known.may_lower != may_lower:
                    raise Conflict(f"{name} is open with may_lower={known.may_lower}; take the next attempt")
                return Recorded(_job(known), new=False)
            before = (
                connection.execute(
                    sa.select(sa.func.max(_j.attempt)).where(
                        _j.submission_id == submission, _j.assignment == assignment
                    )
                ).scalar()
                or 0
            )
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
            return Recorded(_job(connection.execute(_JOBS.where(_j.id == name)).one()), new=True)

    def move(self, job: str, state: JobState, *, reason: str = "", worker: str = "") -> Job:
        """Move a job to another state; nothing happens where it is there already.

        Only `running` may be entered again: that is another try, of a worker that took the job over.

        Args:
            job: its id.
            state: where to.
            reason: why; a final job without a report must have one.
            worker: who did it, `host:slot`.

        Raises:
            Unknown: there is no such job.
            IllegalTransition: see `TRANSITIONS`; a job with a report is not superseded, and a job without a
                report and without a reason is not final.
        """
        with self.database.writing() as connection:
            return self._move(connection, _locked_job(connection, job), state, reason, worker)

    def _move(
        self, connection: sa.Connection, row: sa.Row[Any], state: JobState, reason: str, worker: str
    ) -> Job:
        before = JobState(row.state)
        if before is state and state is not JobState.RUNNING:
            return _job(row)
        if state not in TRANSITIONS[before]:
            raise IllegalTransition(
                f"{row.id} is {before.value} and cannot become {state.value}; see autograder jobs show {row.id}"
            )
        if state in (JobState.FINAL, JobState.SUPERSEDED):
            found = sa.select(tables.reports.c.id).where(tables.reports.c.job_id == row.id)
            has_report = connection.execute(found).first() is not None
            if state is JobState.FINAL and not has_report and not reason:
                raise IllegalTransition(
                    f"{row.id} has no report: say in `reason` why it is final without one"
                )
            if state is JobState.SUPERSEDED and has_report:
                raise IllegalTransition(
                    f"{row.id} has a report, which counts: publish it, it is not superseded"
                )
        now = self._now()
        changes: dict[str, Any] = {"state": state.value, "reason": storable(reason), "updated": now}
        if worker:
            changes["worker"] = storable(worker)
        if state is JobState.RUNNING:
            changes |= {"started": now, "finished": None, "tries": row.tries + 1}
        elif state is JobState.QUEUED:
            changes |= {"finished": None}
        else:
            changes |= {"finished": now}
        connection.execute(tables.jobs.update().where(_j.id == row.id).values(**changes))
        _add_change(connection, row.id, before, state, reason, worker, now)
        return _job(connection.execute(_JOBS.where(_j.id == row.id)).one())

    def supersede_older(self, job: str, *, reason: str = "") -> list[Job]:
        """Supersede the jobs of the same repository and assignment that still wait and whose push is older.

        Regrades stay: staff asked for them. Returns the jobs that were superseded.

        Raises:
            Unknown: there is no such job.
        """
        with self.database.writing() as connection:
            newest = connection.execute(_JOBS.where(_j.id == job)).one_or_none()
            if newest is None:
                raise _unknown_job(job)
            mark = _last_push(connection, newest.submission_id)
            waiting = connection.execute(
                _JOBS.where(
                    _is(_repository(newest)),
                    _j.assignment == newest.assignment,
                    _j.attempt == 1,
                    _j.id != job,
                    _j.state.in_([JobState.QUEUED.value, JobState.FAILED.value]),
                )
                .order_by(_j.created, _j.id)
                .with_for_update(of=tables.jobs)
            ).all()
            done = []
            for row in waiting:
                reported = sa.select(tables.reports.c.id).where(tables.reports.c.job_id == row.id)
                if (
                    _last_push(connection, row.submission_id) < mark
                    and not connection.execute(reported).first()
                ):
                    why = reason or f"superseded by {job}"
                    done.append(self._move(connection, row, JobState.SUPERSEDED, why, ""))
            return done

    def job(self, job: str) -> Job:
        """Return one job.

        Raises:
            Unknown: there is no such job.
        """
        with self.database.reading() as connection:
            row = connection.execute(_JOBS.where(_j.id == job)).one_or_none()
        if row is None:
            raise _unknown_job(job)
        return _job(row)

    def jobs(
        self,
        *,
        states: Collection[JobState] | None = None,
        assignment: str | None = None,
        repository: RepositoryName | None = None,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[Job]:
        """Return jobs, those that were opened first first; `limit` and `offset` make a page of them."""
        query = _JOBS.order_by(_j.created, _j.id).limit(limit).offset(offset)
        if states is not None:
            query = query.where(_j.state.in_([state.value for state in states]))
        if assignment is not None:
            query = query.where(_j.assignment == assignment)
        if repository is not None:
            query = query.where(_is(repository))
        with self.database.reading() as connection:
            return [_job(row) for row in connection.execute(query)]

    def recent_tries(self, job: str) -> int:
        """Return how often workers have started a job since it was queued last."""
        changes = tables.job_changes.c
        own = changes.job_id == job
        queued = (
            sa.select(sa.func.coalesce(sa.func.max(changes.id), 0))
            .where(own, changes.state_after == JobState.QUEUED.value)
            .scalar_subquery()
        )
        query = sa.select(sa.func.count()).where(
            own, changes.state_after == JobState.RUNNING.value, changes.id > queued
        )
        with self.database.reading() as connection:
            return int(connection.execute(query).scalar_one())

    def count_jobs(self) -> dict[JobState, int]:
        """Return how many jobs are in each state."""
        query = sa.select(_j.state, sa.func.count()).group_by(_j.state)
        with self.database.reading() as connection:
            found = {JobState(state): count for state, count in connection.execute(query)}
        return {state: found.get(state, 0) for state in JobState}

    # reports and feedback --------------------------------------------------------------------------------

    def add_report(self, job: str, report: Report) -> Recorded[StoredReport]:
        """Record the report of a running job. The first one stays: a second answers with the first.

        Publish what is returned, not what was passed: then what a student reads is what counts.

        Raises:
            Unknown: there is no such job.
            IllegalTransition: the job is not running and has no report.
            Conflict: the report is of another assignment.
            LedgerError: the report is none: points that do not fit, a case twice, provenance that is no JSON.
        """
        data, digest = _checked_report(report)
        with self.database.writing() as connection:
            row = _locked_job(connection, job)
            if report.assignment != row.assignment:
                raise Conflict(f"a report of {report.assignment} does not belong to {job}; check the worker")
            known = _report_of(connection, job)
            if known:
                return Recorded(known, new=False)
            if row.state != JobState.RUNNING.value:
                raise IllegalTransition(f"{job} is {row.state}: only a running job gets a report")
            added = _insert_new(
                connection,
                tables.reports,
                {
                    "job_id": job,
                    "format": data["schema"],
                    "points": data["points"],
                    "max_points": data["max_points"],
                    "provenance": data["provenance"],
                    "digest": digest,
                    "recorded": self._now(),
                },
            )
            if data["cases"]:
                connection.execute(
                    tables.report_cases.insert(),
                    [
                        {"report_id": added, "position": position} | case
                        for position, case in enumerate(data["cases"])
                    ],
                )
            stored = _report_of(connection, job)
            if stored is None:
                raise LedgerError(f"the report of {job} could not be read back; run autograder ledger check")
            return Recorded(stored, new=True)

    def report(self, job: str) -> StoredReport | None:
        """Return the report of a job, None where it has none."""
        with self.database.reading() as connection:
            return _report_of(connection, job)

    def add_feedback(self, job: str, *, commit: str, branch: str) -> Recorded[FeedbackCommit]:
        """Record that `commit` on the feedback branch shows the result of a job.

        Raises:
            Unknown: there is no such job.
            IllegalTransition: the job is neither running nor final.
        """
        checked_commit(commit)
        with self.database.writing() as connection:
            row = _locked_job(connection, job)
            if row.state not in (JobState.RUNNING.value, JobState.FINAL.value):
                raise IllegalTransition(f"{job} is {row.state}: only a running or final job has feedback")
            added = _insert_new(
                connection,
                tables.feedback_commits,
                {
                    "job_id": job,
                    "branch": storable(branch, 200),
                    "commit_sha": commit,
                    "published": self._now(),
                },
            )
            (found,) = (feedback for feedback in _feedback_of(connection, job) if feedback.commit == commit)
            return Recorded(found, new=added is not None)

    def results(self, *, limit: int, offset: int = 0) -> list[Result]:
        """Return what the last reports came to, the latest first; `limit` and `offset` make a page of them."""
        reports = tables.reports.c
        page = sa.select(reports.id).order_by(reports.id.desc()).limit(limit).offset(offset).subquery()
        query = (
            _JOBS.add_columns(reports.points, reports.max_points, reports.recorded)
            .join(tables.reports, reports.job_id == _j.id)
            .where(reports.id.in_(sa.select(page.c.id)))
            .order_by(reports.id.desc())
        )
        with self.database.reading() as connection:
            return [
                Result(_job(row), row.points, row.max_points, row.recorded)
                for row in connection.execute(query)
            ]

    # what counts -----------------------------------------------------------------------------------------

    def current_scores(
        self,
        assignment: str,
        policy: ScorePolicy,
        cutoffs: Cutoffs,
        *,
        repository: RepositoryName | None = None,
    ) -> list[Score]:
        """Return the score of every repository that has one, see `autograder.ledger.scores`.

        Args:
            assignment: for which.
            policy: last or best.
            cutoffs: until when a push counts.
            repository: this one only.
        """
        return scores.current(self.candidates(assignment, repository=repository), assignment, policy, cutoffs)

    def candidates(self, assignment: str, *, repository: RepositoryName | None = None) -> list[Candidate]:
        """Return every push that has a final report, once for each report: what scores are derived from.

        Args:
            assignment: for which.
            repository: this one only.
        """
        reports = tables.reports.c
        query = (
            sa.select(
                *_NAME,
                _p.id,
                _p.received,
                _s.commit_sha,
                _j.id.label("job_id"),
                _j.attempt,
                _j.may_lower,
                _j.state,
                reports.points,
                reports.max_points,
            )
            .select_from(
                tables.pushes.join(_OF_REPOSITORY, _p.submission_id == _s.id)
                .join(tables.jobs, _j.submission_id == _s.id)
                .join(tables.reports, reports.job_id == _j.id)
            )
            .where(_j.assignment == assignment)
        )
        if repository is not None:
            query = query.where(_is(repository))
        with self.database.reading() as connection:
            return [
                Candidate(
                    _repository(row),
                    row.id,
                    row.received,
                    row.commit_sha,
                    row.job_id,
                    row.attempt,
                    row.may_lower,
                    row.points,
                    row.max_points,
                )
                for row in connection.execute(query)
                if row.state
                == JobState.FINAL.value  # asked for in SQL, SQLite would go through all final jobs
            ]

    def history(self, repository: RepositoryName, *, limit: int | None = None, offset: int = 0) -> History:
        """Return everything that is recorded about a repository; empty where it never pushed.

        Args:
            repository: which.
            limit, offset: a page, counted from the last push back: of so many pushes, and the jobs of their
                commits.
        """
        query = _PUSHES.where(_is(repository)).order_by(_p.received.desc(), _p.id.desc())
        jobs = _JOBS.where(_is(repository)).order_by(_j.created, _j.id)
        with self.database.reading() as connection:
            pushes = connection.execute(query.limit(limit).offset(offset)).all()
            if limit is not None or offset:
                jobs = jobs.where(_j.submission_id.in_({row.submission_id for row in pushes}))
            return History(
                repository,
                tuple(_push(row) for row in reversed(pushes)),
                tuple(_job_history(connection, row) for row in connection.execute(jobs).all()),
            )

    def job_history(self, job: str) -> JobHistory:
        """Return everything that is recorded about one job.

        Raises:
            Unknown: there is no such job.
        """
        with self.database.reading() as connection:
            row = connection.execute(_JOBS.where(_j.id == job)).one_or_none()
            if row is None:
                raise _unknown_job(job)
            return _job_history(connection, row)

    # audit -----------------------------------------------------------------------------------------------

    def audit(
        self,
        who: str,
        what: str,
        *,
        why: str,
        subject: str = "",
        details: Mapping[str, Any] | None = None,
    ) -> AuditLine:
        """Record that a member of staff does something, before it is done.

        Args:
            who: the person, never only "admin".
            what: the act: `regrade`, `jobs cancel`, `ledger restore`.
            why: in their words.
            subject: what it is done to: a job's id, `host/owner/name`, an assignment.
            details: plain JSON data. No credentials.

        Raises:
            LedgerError: who, what or why is empty, or `details` is no JSON.
        """
        if not (who.strip() and what.strip() and why.strip()):
            raise LedgerError("an audit line says who did what, and why: none of them may be empty")
        details = dict(details or {})
        _require_json(details, "the details of an audit line")
        values = {
            "at": self._now(),
            "who": storable(who),
            "what": storable(what),
            "why": storable(why),
            "subject": storable(subject),
            "details": details,
        }
        with self.database.writing() as connection:
            added = _insert_new(connection, tables.audit_lines, values)
            query = sa.select(tables.audit_lines).where(tables.audit_lines.c.id == added)
            return _audit_line(connection.execute(query).one())

    def audit_lines(self, *, subject: str | None = None, limit: int | None = None) -> list[AuditLine]:
        """Return what staff did, the latest first."""
        query = sa.select(tables.audit_lines).order_by(tables.audit_lines.c.id.desc()).limit(limit)
        if subject is not None:
            query = query.where(tables.audit_lines.c.subject == subject)
        with self.database.reading() as connection:
            return [_audit_line(row) for row in connection.execute(query)]

    def _now(self) -> datetime:
        return _aware(self._clock())


# writing -----------------------------------------------------------------------------------------------------


def _insert_new(connection: sa.Connection, table: sa.Table, values: Mapping[str, Any]) -> int | None:
    """Insert a row and return its id; None where a unique constraint says that it is there already."""
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(table).values(**values).on_conflict_do_nothing().returning(table.c.id)
    found: int | None = connection.execute(statement).scalar()
    return found


def _ensure(
    connection: sa.Connection, table: sa.Table, key: Mapping[str, Any], rest: Mapping[str, Any]
) -> int:
    """Return the id of the row with this key, which is inserted where it is missing, and lock it."""
    _insert_new(connection, table, {**key, **rest})
    where = [table.c[column] == value for column, value in key.items()]
    found: int = connection.execute(sa.select(table.c.id).where(*where).with_for_update()).scalar_one()
    return found


def _ensure_repository(connection: sa.Connection, repository: RepositoryName, now: datetime) -> int:
    key = {"host": repository.host, "owner": repository.owner, "name": repository.name}
    return _ensure(connection, tables.repositories, key, {"created": now})


def _same_move(
    connection: sa.Connection, repository_id: int, commit: str, ref: str, before: str
) -> RecordedPush | None:
    """Return the push that already tells of this move of the branch, see `record_push`."""
    query = _PUSHES.where(_s.repository_id == repository_id, _s.commit_sha == commit, _p.ref == ref)
    if before:
        query = query.where(_p.before_sha.in_([before, ""]))
    row = connection.execute(query.order_by(_p.received.desc(), _p.id.desc()).limit(1)).one_or_none()
    return _push(row) if row is not None else None


def _locked_job(connection: sa.Connection, job: str) -> sa.Row[Any]:
    row = connection.execute(_JOBS.where(_j.id == job).with_for_update(of=tables.jobs)).one_or_none()
    if row is None:
        raise _unknown_job(job)
    return row


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


def _checked_report(report: Report) -> tuple[dict[str, Any], str]:
    """Return a report as plain data, with its digest."""
    data = report.to_json()
    _require_json(data, "a report")
    names = [case["name"] for case in data["cases"]]
    if len(set(names)) != len(names):
        raise LedgerError("a case is in the report twice; run the suite's own check")
    for case in data["cases"]:
        if not 0 <= case["points"] <= case["max_points"]:
            raise LedgerError(f"{case['name']} has {case['points']} of {case['max_points']} points")
        for key in ("name", "message"):
            case[key] = storable(case[key])
    return data, report_digest(data)


def report_digest(data: Mapping[str, Any]) -> str:
    """Return sha256 over a report's canonical JSON, hex."""
    return hashlib.sha256(canonical(data).encode()).hexdigest()


def _require_json(data: Mapping[str, Any], what: str) -> None:
    try:
        text = canonical(data)
    except (TypeError, ValueError) as error:
        raise LedgerError(f"{what} is no plain JSON: {error}") from error
    if "\\u0000" in text:  # PostgreSQL cannot search in it
        raise LedgerError(f"{what} holds a NUL character")


def _aware(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise LedgerError(f"the time {moment} has no time zone; pass one in UTC")
    return moment.astimezone(timezone.utc)


# reading -----------------------------------------------------------------------------------------------------


def _is(repository: RepositoryName) -> sa.ColumnElement[bool]:
    return sa.and_(_r.host == repository.host, _r.owner == repository.owner, _r.name == repository.name)


def _last_push(connection: sa.Connection, submission_id: int) -> tuple[datetime, int]:
    query = sa.select(_p.received, _p.id).where(_p.submission_id == submission_id)
    row = connection.execute(query.order_by(_p.received.desc(), _p.id.desc()).limit(1)).one()
    return row.received, row.id


def _unknown_job(job: str) -> Unknown:
    return Unknown(f"there is no job {job!a}; see autograder jobs list --all")


def _repository(row: Any) -> RepositoryName:
    return RepositoryName(row.host, row.owner, row.name)


def _push(row: sa.Row[Any]) -> RecordedPush:
    return RecordedPush(
        row.id,
        _repository(row),
        row.ref,
        row.commit_sha,
        row.before_sha,
        row.sender,
        row.delivery_id,
        row.payload_digest,
        row.received,
    )


def _job(row: sa.Row[Any]) -> Job:
    return Job(
        row.id,
        _repository(row),
        row.commit_sha,
        row.assignment,
        row.attempt,
        row.may_lower,
        JobState(row.state),
        row.reason,
        row.worker,
        row.tries,
        row.created,
        row.updated,
        row.started,
        row.finished,
    )


def _change(row: sa.Row[Any]) -> JobChange:
    before = JobState(row.state_before) if row.state_before else None
    return JobChange(before, JobState(row.state_after), row.reason, row.worker, row.at)


def _job_history(connection: sa.Connection, row: sa.Row[Any]) -> JobHistory:
    changes = tables.job_changes.c
    steps = sa.select(tables.job_changes).where(changes.job_id == row.id).order_by(changes.id)
    return JobHistory(
        _job(row),
        tuple(map(_change, connection.execute(steps))),
        _report_of(connection, row.id),
        _feedback_of(connection, row.id),
    )


def _report_of(connection: sa.Connection, job: str) -> StoredReport | None:
    query = sa.select(tables.reports, _j.assignment).join(tables.jobs, tables.reports.c.job_id == _j.id)
    row = connection.execute(query.where(tables.reports.c.job_id == job)).one_or_none()
    return read_report(connection, row) if row is not None else None


def read_report(connection: sa.Connection, row: sa.Row[Any]) -> StoredReport:
    """Return the report of one row of `reports` together with the job's assignment.

    Raises:
        LedgerError: it is damaged, or of a format that this autograder does not read.
    """
    try:
        report = from_json(report_data(connection, row))
    except ValueError as error:
        raise LedgerError(f"the report of {row.job_id}: {error}; run autograder ledger check") from error
    return StoredReport(row.id, row.job_id, report, row.digest, row.recorded)


def report_data(connection: sa.Connection, row: sa.Row[Any]) -> dict[str, Any]:
    """Return the plain data that `Report.to_json` gave when this row of `reports` was written."""
    cases = tables.report_cases.c
    columns = [column for column in cases if column.name not in ("report_id", "position")]
    found = connection.execute(sa.select(*columns).where(cases.report_id == row.id).order_by(cases.position))
    return {
        "schema": row.format,
        "assignment": row.assignment,
        "points": row.points,
        "max_points": row.max_points,
        "cases": [dict(case._mapping) for case in found],
        "provenance": row.provenance,
    }


def _feedback_of(connection: sa.Connection, job: str) -> tuple[FeedbackCommit, ...]:
    feedback = tables.feedback_commits.c
    query = sa.select(tables.feedback_commits).where(feedback.job_id == job).order_by(feedback.id)
    return tuple(
        FeedbackCommit(row.id, row.job_id, row.branch, row.commit_sha, row.published)
        for row in connection.execute(query)
    )


def _audit_line(row: sa.Row[Any]) -> AuditLine:
    return AuditLine(row.id, row.who, row.what, row.why, row.subject, row.details, row.at)
