"""Backup, restore and check of a ledger.

A backup is one SQLite file, copied page by page while the service goes on (SQLite's online backup), verified, and
put in place by a rename: there is a whole backup or none. PostgreSQL has tools of its own for this, `pg_dump` and
`pg_restore`; `check` works on both.
"""

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from autograder.ledger import tables
from autograder.ledger.database import BUSY_SECONDS, HEAD, VERSION_TABLE, Database, revisions
from autograder.ledger.faults import LedgerError
from autograder.ledger.rows import TRANSITIONS, JobState, RepositoryName, job_id
from autograder.ledger.store import report_data, report_digest

_PAGES = 1000  # copied at a time; others may write in between
_SHOWN = 5  # findings named in one message


@dataclass(frozen=True)
class Check:
    """One invariant and what speaks against it."""

    name: str
    problems: tuple[str, ...]

    @property
    def ok(self) -> bool:
        """Whether it holds."""
        return not self.problems

    @property
    def detail(self) -> str:
        """What to show: a few of the problems."""
        more = len(self.problems) - _SHOWN
        shown = "; ".join(self.problems[:_SHOWN])
        return (shown + (f"; and {more} more" if more > 0 else "")) or "holds"


# backup and restore ------------------------------------------------------------------------------------------


def backup(url: sa.URL, target: Path, *, force: bool = False) -> int:
    """Copy the ledger at `url` to the file `target`, while others use it. Returns the size in bytes.

    Raises:
        LedgerError: it is on PostgreSQL, `target` is there and not `force`, or the copy is not sound.
    """
    source = _file_of(url, f"pg_dump --format=custom --file={target} DATABASE")
    if not source.is_file():
        raise LedgerError(f"there is no ledger {source}; autograder serve makes it, or check the URL")
    if target.exists() and (not force or target.samefile(source)):
        raise LedgerError(f"{target} is there already; name another file, or pass --force to replace it")
    with _copied(
        source, target.parent, mode="rw"
    ) as copy:  # rw: what WAL mode needs beside the file is removed
        _verify(copy)
        copy.replace(target)
        _sync_folder(target.parent)
    return target.stat().st_size


def restore(url: sa.URL, source: Path, *, force: bool = False) -> Path | None:
    """Make the ledger at `url` what the backup `source` holds. Returns where the ledger that was there is now.

    Nobody may be using the ledger: stop the service first. What is there is never thrown away, but set aside in
    the same folder.

    Raises:
        LedgerError: it is on PostgreSQL; there is a ledger and not `force`; `source` is no sound backup, or a
            newer autograder's. Then nothing has changed.
    """
    target = _file_of(url, "pg_restore --dbname=DATABASE FILE")
    if not source.is_file():
        raise LedgerError(f"there is no backup {source}; name a file that autograder ledger backup wrote")
    there = target.exists() and target.stat().st_size > 0
    if there and source.samefile(target):
        raise LedgerError(f"{source} is the ledger itself; name a backup")
    if there and not force:
        raise LedgerError(
            f"there is a ledger {target}; stop the service, then pass --force: it is set aside, not deleted"
        )
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LedgerError(f"cannot restore to {target}: {error}") from error
    with _copied(
        source, target.parent, mode="ro"
    ) as copy:  # ro: it may lie on a medium that cannot be written
        _verify(copy)
        aside = _set_aside(target) if there else None
        try:
            copy.replace(target)
        except OSError as error:
            raise LedgerError(f"cannot restore to {target}: {error}; the old ledger is {aside}") from error
        _sync_folder(target.parent)
    return aside


def _file_of(url: sa.URL, instead: str) -> Path:
    if not url.drivername.startswith("sqlite"):
        raise LedgerError(f"a ledger on PostgreSQL is saved with its own tools: {instead}")
    return Path(str(url.database))


@contextlib.contextmanager
def _copied(source: Path, folder: Path, *, mode: str) -> Iterator[Path]:
    """A private copy of the database `source` in `folder`; it is removed unless it was renamed."""
    copy = None
    uri = f"{source.resolve().as_uri()}?mode={mode}"
    try:
        descriptor, name = tempfile.mkstemp(prefix=".ledger-", suffix=".part", dir=folder)
        os.close(descriptor)
        copy = Path(name)
        with (
            contextlib.closing(sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS)) as old,
            contextlib.closing(sqlite3.connect(copy)) as new,
        ):
            old.backup(new, pages=_PAGES)
            new.execute("PRAGMA journal_mode = DELETE")  # one file, that can be moved
        with copy.open("rb") as file:
            os.fsync(file.fileno())
        yield copy
    except (sqlite3.Error, OSError) as error:
        raise LedgerError(
            f"cannot copy {source} to {folder}: {error}; look at both: df -h {folder}"
        ) from error
    finally:
        if copy:
            for leftover in (copy, Path(f"{copy}-journal"), Path(f"{copy}-wal"), Path(f"{copy}-shm")):
                leftover.unlink(missing_ok=True)


def _verify(copy: Path) -> None:
    """Refuse a file that is no sound ledger of this or an older schema."""
    with contextlib.closing(sqlite3.connect(copy)) as raw:
        problems = [*_integrity(raw.execute), *_foreign_keys(raw.execute)]
        if problems:
            raise LedgerError(f"this copy is not sound: {problems[0]}; take another backup")
        try:
            row = raw.execute(f"SELECT version_num FROM {VERSION_TABLE}").fetchone()  # noqa: S608
        except sqlite3.OperationalError:
            row = None
    if row is None:
        raise LedgerError("this file is a database, but no ledger; name a file of autograder ledger backup")
    if row[0] not in revisions():
        raise LedgerError(
            f"this file has schema {row[0]}, and this autograder knows up to {HEAD}: install the newer one"
        )


def _set_aside(target: Path) -> Path:
    """Rename the ledger at `target` and what belongs to it. Refuse while somebody uses it."""
    try:
        with contextlib.closing(sqlite3.connect(target, timeout=1.0)) as raw:
            # Leaving WAL mode needs the file for oneself alone, and brings all of the WAL into it.
            raw.execute("PRAGMA journal_mode = DELETE")
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise LedgerError(f"{target} is in use; stop the service: fuser -v {target}") from error
    except sqlite3.DatabaseError:
        pass  # damaged, which may be why there is a restore; the files are kept as they are
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = target.with_name(f"{target.name}.before-restore-{stamp}")
    for suffix in ("-wal", "-shm", ""):
        part = Path(f"{target}{suffix}")
        if part.exists():
            shutil.move(part, f"{aside}{suffix}")
    return aside


def _sync_folder(folder: Path) -> None:
    """Bring a rename to the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


# check -------------------------------------------------------------------------------------------------------


def check(url: sa.URL) -> list[Check]:
    """Look at everything that must hold in the ledger at `url`; changes nothing.

    Raises:
        LedgerError: there is no ledger, or it cannot be read at all.
    """
    database = Database(url, create=False)
    try:
        return check_database(database)
    finally:
        database.close()


def check_database(database: Database) -> list[Check]:
    """Do what `check` does with an open database."""
    revision = database.revision()
    if revision != HEAD:
        problem = f"is {revision}, and {HEAD} is needed: the next start of the service does it"
        return [Check("schema", (problem,))]
    with database.reading() as connection:
        return [
            Check(name, tuple(problems(connection)))
            for name, problems in _CHECKS.items()
            if database.file or name not in _SQLITE_ONLY
        ]


Execute = Callable[[str], Any]


def _integrity(execute: Execute) -> list[str]:
    return [row[0] for row in execute("PRAGMA integrity_check") if row[0] != "ok"]


def _foreign_keys(execute: Execute) -> list[str]:
    return [
        f"row {row[1]} of {row[0]} refers to a row of {row[2]} that is not there"
        for row in execute("PRAGMA foreign_key_check")
    ]


def _only_grows(connection: sa.Connection) -> Iterator[str]:
    wanted = {f"{table}_no_{act}" for table in tables.ONLY_GROW for act in ("update", "delete")}
    wanted |= {"jobs_no_delete", "jobs_keep_name", "jobs_final"}
    source = (
        "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        if connection.dialect.name == "sqlite"
        else "SELECT tgname FROM pg_trigger WHERE tgenabled = 'O'"
    )
    there = {row[0] for row in connection.exec_driver_sql(source)}
    yield from (f"the trigger {name} is missing" for name in sorted(wanted - there))


def _references(connection: sa.Connection) -> Iterator[str]:
    """Every reference leads somewhere; the database holds this too, unless somebody told it not to."""
    for table in tables.metadata.sorted_tables:
        for key in table.foreign_keys:
            parent = key.column.table
            query = (
                sa.select(key.parent)
                .select_from(table.outerjoin(parent, key.parent == key.column))
                .where(key.column.is_(None))
            )
            for (value,) in connection.execute(query):
                yield f"a row of {table.name} refers to {value!r}, which is not in {parent.name}"


def _points(connection: sa.Connection) -> Iterator[str]:
    reports, cases = tables.reports.c, tables.report_cases.c
    points = sa.func.coalesce(sa.func.sum(cases.points), 0)
    of = sa.func.coalesce(sa.func.sum(cases.max_points), 0)
    query = (
        sa.select(reports.job_id, reports.points, reports.max_points, points, of)
        .select_from(tables.reports.outerjoin(tables.report_cases, cases.report_id == reports.id))
        .group_by(reports.id, reports.job_id, reports.points, reports.max_points)
        .having(sa.or_(points != reports.points, of != reports.max_points))
    )
    for row in connection.execute(query):
        yield f"{row[0]} says {row[1]} / {row[2]}, its cases {row[3]} / {row[4]}"


def _digests(connection: sa.Connection) -> Iterator[str]:
    assignment = tables.jobs.c.assignment
    query = sa.select(tables.reports, assignment).join(
        tables.jobs, tables.reports.c.job_id == tables.jobs.c.id
    )
    for row in connection.execute(query):
        if report_digest(report_data(connection, row)) != row.digest:
            yield f"the report of {row.job_id} is not what was recorded"


def _finals(connection: sa.Connection) -> Iterator[str]:
    jobs, reports = tables.jobs.c, tables.reports.c
    query = sa.select(jobs.id, jobs.state, jobs.reason, reports.id.label("report")).outerjoin(
        tables.reports, reports.job_id == jobs.id
    )
    for row in connection.execute(query):
        if row.state == JobState.FINAL.value and row.report is None and not row.reason:
            yield f"{row.id} is final without a report or a reason"
        if row.state == JobState.SUPERSEDED.value and row.report is not None:
            yield f"{row.id} is superseded, and has a report"


def _lives(connection: sa.Connection) -> Iterator[str]:
    """A job's changes are a way that a job may go, and lead to the state it is in."""
    changes = tables.job_changes.c
    states: dict[str, str | None] = {}
    for row in connection.execute(sa.select(tables.job_changes).order_by(changes.id)):
        before = states.get(row.job_id)
        legal = (
            JobState(row.state_after) in TRANSITIONS[JobState(before)]
            if before
            else row.state_after == JobState.QUEUED.value
        )
        if row.state_before != before or not legal:
            yield f"{row.job_id} went from {before} to {row.state_after}"
        states[row.job_id] = row.state_after
    for job, state in connection.execute(sa.select(tables.jobs.c.id, tables.jobs.c.state)):
        if states.get(job) != state:
            yield f"{job} is {state}, and its last change is to {states.get(job)}"


def _names(connection: sa.Connection) -> Iterator[str]:
    jobs, submissions, repositories = tables.jobs.c, tables.submissions.c, tables.repositories.c
    query = sa.select(
        jobs.id,
        jobs.assignment,
        jobs.attempt,
        submissions.commit_sha,
        repositories.host,
        repositories.owner,
        repositories.name,
    ).select_from(
        tables.jobs.join(tables.submissions, jobs.submission_id == submissions.id).join(
            tables.repositories, submissions.repository_id == repositories.id
        )
    )
    for row in connection.execute(query):
        name = RepositoryName(row.host, row.owner, row.name)
        if row.id != job_id(name, row.commit_sha, row.assignment, row.attempt):
            yield f"{row.id} is not the name of the job for {row.commit_sha} of {name}"
    attempts = (
        sa.select(jobs.submission_id, jobs.assignment)
        .group_by(jobs.submission_id, jobs.assignment)
        .having(sa.or_(sa.func.max(jobs.attempt) != sa.func.count(), sa.func.min(jobs.attempt) != 1))
    )
    for submission, assignment in connection.execute(attempts):
        yield f"an attempt at submission {submission} for {assignment} is missing"


def _hosts(connection: sa.Connection) -> Iterator[str]:
    pushes, submissions, repositories = tables.pushes.c, tables.submissions.c, tables.repositories.c
    query = (
        sa.select(pushes.id)
        .select_from(
            tables.pushes.join(tables.submissions, pushes.submission_id == submissions.id).join(
                tables.repositories, submissions.repository_id == repositories.id
            )
        )
        .where(pushes.host != repositories.host)
    )
    yield from (f"push {row.id} has another host than its repository" for row in connection.execute(query))
    unpushed = (
        sa.select(submissions.id)
        .outerjoin(tables.pushes, pushes.submission_id == submissions.id)
        .where(pushes.id.is_(None))
    )
    yield from (f"submission {row.id} was never pushed" for row in connection.execute(unpushed))


_SQLITE_ONLY = frozenset({"integrity", "foreign keys"})
_CHECKS: dict[str, Callable[[sa.Connection], Any]] = {
    "integrity": lambda connection: _integrity(connection.exec_driver_sql),
    "foreign keys": lambda connection: _foreign_keys(connection.exec_driver_sql),
    "only grows": _only_grows,
    "references": _references,
    "points are the sum of the cases": _points,
    "reports are what was recorded": _digests,
    "final jobs have an answer": _finals,
    "jobs went legal ways": _lives,
    "jobs have their names": _names,
    "pushes belong to submissions": _hosts,
}
