"""The invariants of every ledger, as queries that find violations."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from autograder.ledger import rows, tables
from autograder.ledger.adjustments import checked
from autograder.ledger.faults import LedgerError
from autograder.ledger.names import job_id
from autograder.ledger.records import AdjustmentKind
from autograder.ledger.reports import REPORTS, report_data, report_digest
from autograder.ledger.states import TRANSITIONS, JobState

_SHOWN = 5  # problems shown in one message
_r, _s, _p, _j = tables.repositories.c, tables.submissions.c, tables.pushes.c, tables.jobs.c
_re, _rc, _c = tables.reports.c, tables.report_cases.c, tables.job_changes.c


@dataclass(frozen=True)
class Invariant:
    """An invariant, and the problems that violate it."""

    name: str
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether the invariant holds."""
        return not self.problems

    @property
    def detail(self) -> str:
        """A few of the problems, as text for people, or `holds`."""
        more = len(self.problems) - _SHOWN
        shown = "; ".join(self.problems[:_SHOWN])
        return (shown + (f"; and {more} more" if more > 0 else "")) or "holds"


def examine(connection: sa.Connection) -> list[Invariant]:
    """Return all invariants, each with the problems that violate it. The ledger must have the current schema."""
    on_sqlite = connection.dialect.name == "sqlite"
    return [
        Invariant(name, tuple(problems(connection)))
        for name, problems in _INVARIANTS.items()
        if on_sqlite or name not in _SQLITE_ONLY
    ]


def file_problems(execute: Callable[[str], Any]) -> list[str]:
    """Return the problems that SQLite finds in its file."""
    return [row[0] for row in execute("PRAGMA integrity_check") if row[0] != "ok"]


def foreign_key_problems(execute: Callable[[str], Any]) -> list[str]:
    """Return the rows that refer to a missing row, according to SQLite."""
    return [
        f"row {row[1]} of {row[0]} refers to a missing row of {row[2]}"
        for row in execute("PRAGMA foreign_key_check")
    ]


def _triggers(connection: sa.Connection) -> Iterator[str]:
    wanted = {f"{table}_no_{act}" for table in tables.ONLY_GROW for act in ("update", "delete")}
    wanted |= {"jobs_no_delete", "jobs_keep_name", "jobs_final"}
    source = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if connection.dialect.name == "sqlite"
        else "SELECT tgname FROM pg_trigger WHERE tgenabled = 'O'"
    )
    found = {row[0] for row in connection.exec_driver_sql(source)}
    yield from (f"the trigger {name} is missing" for name in sorted(wanted - found))


def _references(connection: sa.Connection) -> Iterator[str]:
    """Every foreign key leads to a row. The database enforces this too, unless somebody has switched that off."""
    for table in tables.metadata.sorted_tables:
        for key in table.foreign_keys:
            name = key.column.table.name
            parent = key.column.table.alias()  # a table may refer to itself
            column = parent.c[key.column.name]
            query = (
                sa.select(key.parent)
                .select_from(table.outerjoin(parent, key.parent == column))
                .where(key.parent.is_not(None), column.is_(None))
            )
            for (value,) in connection.execute(query):
                yield f"a row of {table.name} refers to {value!r}, which is missing in {name}"


def _points(connection: sa.Connection) -> Iterator[str]:
    points = sa.func.coalesce(sa.func.sum(_rc.points), 0)
    of = sa.func.coalesce(sa.func.sum(_rc.max_points), 0)
    query = (
        sa.select(_re.job_id, _re.points, _re.max_points, points, of)
        .select_from(tables.reports.outerjoin(tables.report_cases, _rc.report_id == _re.id))
        .group_by(_re.id, _re.job_id, _re.points, _re.max_points)
        .having(sa.or_(points != _re.points, of != _re.max_points))
    )
    for row in connection.execute(query):
        yield f"{row[0]} says {row[1]} / {row[2]}, its cases {row[3]} / {row[4]}"


def _digests(connection: sa.Connection) -> Iterator[str]:
    for row in connection.execute(REPORTS):
        if report_digest(report_data(connection, row)) != row.digest:
            yield f"the report of {row.job_id} differs from what was recorded"


def _ended(connection: sa.Connection) -> Iterator[str]:
    query = sa.select(_j.id, _j.state, _j.reason, _re.id.label("report")).outerjoin(
        tables.reports, _re.job_id == _j.id
    )
    for row in connection.execute(query):
        if row.state == JobState.FINAL.value and row.report is None and not row.reason:
            yield f"{row.id} is final without a report or a reason"
        if row.state == JobState.SUPERSEDED.value and row.report is not None:
            yield f"{row.id} is superseded although it has a report"


def _changes(connection: sa.Connection) -> Iterator[str]:
    """Each change of a job is allowed and starts where the one before ended. The last one led to the job's state."""
    states: dict[str, str | None] = {}
    for row in connection.execute(sa.select(tables.job_changes).order_by(_c.id)):
        before = states.get(row.job_id)
        legal = (
            JobState(row.state_after) in TRANSITIONS[JobState(before)]
            if before
            else row.state_after == JobState.QUEUED.value
        )
        if row.state_before != before or not legal:
            yield f"{row.job_id} went from {before} to {row.state_after}"
        states[row.job_id] = row.state_after
    for job, state in connection.execute(sa.select(_j.id, _j.state)):
        if states.get(job) != state:
            yield f"{job} is {state}, but its last change is to {states.get(job)}"


def _job_ids(connection: sa.Connection) -> Iterator[str]:
    for row in connection.execute(rows.JOBS):
        name = rows.repository(row)
        if row.id != job_id(name, row.commit, row.assignment, row.attempt):
            yield f"{row.id} is not the id of the job for {row.commit} of {name}"
    attempts = (
        sa.select(_j.submission_id, _j.assignment)
        .group_by(_j.submission_id, _j.assignment)
        .having(sa.or_(sa.func.max(_j.attempt) != sa.func.count(), sa.func.min(_j.attempt) != 1))
    )
    for submission, assignment in connection.execute(attempts):
        yield f"an attempt at submission {submission} for {assignment} is missing"


def _pushes(connection: sa.Connection) -> Iterator[str]:
    query = sa.select(_p.id).select_from(rows.SUBMITTED_PUSHES).where(_p.host != _r.host)
    yield from (f"push {row.id} has another host than its repository" for row in connection.execute(query))
    unpushed = sa.select(_s.id).outerjoin(tables.pushes, _p.submission_id == _s.id).where(_p.id.is_(None))
    yield from (f"submission {row.id} has no push" for row in connection.execute(unpushed))


def _order(connection: sa.Connection) -> Iterator[str]:
    same = (
        sa.select(_s.repository_id, _p.ref, _p.position)
        .select_from(rows.SUBMITTED_PUSHES)
        .group_by(_s.repository_id, _p.ref, _p.position)
        .having(sa.func.count() > 1)
    )
    for row in connection.execute(same):
        yield f"two pushes to {row.ref} of repository {row.repository_id} have the position {row.position}"


def _adjustments(connection: sa.Connection) -> Iterator[str]:
    """Each adjustment has the value of its kind, and undoes an earlier one of the same repository and assignment."""
    known: dict[int, Any] = {}
    for row in connection.execute(sa.select(tables.adjustments).order_by(tables.adjustments.c.id)):
        known[row.id] = row
        try:
            kind = AdjustmentKind(row.kind)
            checked(kind, points=row.points, commit=row.commit_sha, undoes=row.undoes)
        except (ValueError, LedgerError) as error:
            yield f"adjustment {row.id}: {error}"
            continue
        if kind is not AdjustmentKind.UNDO:
            continue
        undone = known.get(row.undoes)
        if undone is None or undone.kind == AdjustmentKind.UNDO.value:
            yield f"adjustment {row.id} undoes {row.undoes}, which is no earlier decision"
        elif (undone.repository_id, undone.assignment) != (row.repository_id, row.assignment):
            yield f"adjustment {row.id} undoes {row.undoes}, which is of another repository or assignment"


_SQLITE_ONLY = frozenset({"integrity", "foreign keys"})
_INVARIANTS: dict[str, Callable[[sa.Connection], Iterable[str]]] = {
    "integrity": lambda connection: file_problems(connection.exec_driver_sql),
    "foreign keys": lambda connection: foreign_key_problems(connection.exec_driver_sql),
    "triggers are in place": _triggers,
    "references": _references,
    "points are the sum of the cases": _points,
    "reports are what was recorded": _digests,
    "final jobs have a report or a reason": _ended,
    "jobs changed state as allowed": _changes,
    "job ids match their submissions": _job_ids,
    "pushes belong to submissions": _pushes,
    "pushes are in order": _order,
    "adjustments fit together": _adjustments,
}
