"""The queries from which most other queries are built, and the functions that turn a row into a record."""

import dataclasses
import functools
from typing import TYPE_CHECKING, Any, TypeVar

import sqlalchemy as sa

from autograder.ledger import tables
from autograder.ledger.faults import Unknown
from autograder.ledger.names import RepositoryName
from autograder.ledger.records import Job, RecordedPush, Source
from autograder.ledger.states import JobState

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_r, _s, _p, _j = tables.repositories.c, tables.submissions.c, tables.pushes.c, tables.jobs.c
NAME = (_r.host, _r.owner, _r.name)
SUBMISSIONS = tables.submissions.join(tables.repositories, _s.repository_id == _r.id)
SUBMITTED_PUSHES = tables.pushes.join(SUBMISSIONS, _p.submission_id == _s.id)
COMMIT = _s.commit_sha.label("commit")
_t = tables.push_times.alias().c  # the last row about the time of a push
_last = tables.push_times.alias()
_TIME = sa.and_(
    _t.push_id == _p.id,
    _t.id
    == sa.select(sa.func.max(_last.c.id))
    .where(_last.c.push_id == _p.id)
    .correlate(tables.pushes)
    .scalar_subquery(),
)
TIMED_PUSHES = SUBMITTED_PUSHES.outerjoin(_t.id.table, _TIME)
RECEIVED = sa.func.coalesce(_t.received, _p.received, type_=tables.UtcTime()).label("received")
SOURCE = sa.func.coalesce(_t.source, _p.source).label("source")
ORDER = (_p.position, _p.id)
PUSHES = sa.select(
    *(column for column in _p if column.name not in ("received", "source")),
    RECEIVED,
    SOURCE,
    _p.before_sha.label("before"),
    COMMIT,
    _r.owner,
    _r.name,
).select_from(TIMED_PUSHES)
JOBS = sa.select(tables.jobs, COMMIT, *NAME).select_from(
    tables.jobs.join(SUBMISSIONS, _j.submission_id == _s.id)
)

Record = TypeVar("Record", bound="DataclassInstance")


def record(kind: type[Record], row: Any, /, **values: Any) -> Record:
    """Return a dataclass. `values` gives some of its fields; the others come from the columns of the same name."""
    columns = row._mapping
    return kind(**{name: columns[name] for name in _fields(kind) if name not in values}, **values)


@functools.cache
def _fields(kind: "type[DataclassInstance]") -> tuple[str, ...]:
    return tuple(field.name for field in dataclasses.fields(kind))


def repository(row: Any) -> RepositoryName:
    """Return the repository of a row that has the columns of `NAME`."""
    return _repository(row.host, row.owner, row.name)


_repository = functools.lru_cache(maxsize=1 << 14)(RepositoryName)  # a few names, in the rows of many pushes


def push(row: Any) -> RecordedPush:
    """Return the push in a row of `PUSHES`."""
    return record(RecordedPush, row, repository=repository(row), source=Source(row.source))


def job(row: sa.Row[Any]) -> Job:
    """Return the job in a row of `JOBS`."""
    return record(Job, row, repository=repository(row), state=JobState(row.state))


def named(name: RepositoryName) -> sa.ColumnElement[bool]:
    """Return the condition that a row belongs to this repository."""
    return sa.and_(_r.host == name.host, _r.owner == name.owner, _r.name == name.name)


def find_job(connection: sa.Connection, job: str, *, lock: bool = False) -> sa.Row[Any]:
    """Return the row of `JOBS` with this id. If `lock` is True, lock the row.

    Raises:
        Unknown: there is no such job.
    """
    query = JOBS.where(_j.id == job)
    if lock:
        query = query.with_for_update(of=tables.jobs)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise Unknown(f"there is no job {job!a}; see autograder jobs list --all")
    return row
