"""Takes the names of a student out of a ledger. It is the one act that changes what was recorded; only staff run it.

The repositories get other names, on a host that does not exist, so nothing is ever fetched from them or graded again.
Everything that was recorded about them stays: pushes, jobs, reports, points. The names are also replaced in the texts
that staff and hosts wrote. All of it is one transaction, which ends with the same examination as `ledger check`: if an
invariant does not hold afterwards, nothing has changed. The triggers that refuse changes are back when it ends.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from autograder.ledger import invariants, rows, schema, tables
from autograder.ledger.database import Database
from autograder.ledger.faults import LedgerError
from autograder.ledger.names import RepositoryName, job_id
from autograder.ledger.reports import REPORTS, report_data, report_digest
from autograder.ledger.states import OPEN, JobState

HOST = "removed.invalid"  # no host has this name, by RFC 2606
_r, _s, _p, _j = tables.repositories.c, tables.submissions.c, tables.pushes.c, tables.jobs.c
_OF_JOB = (tables.job_changes, tables.reports, tables.feedback_commits)

Scrub = Callable[[str], str]


@dataclass
class Removed:
    """What was changed: the number of rows by table."""

    rows: dict[str, int] = field(default_factory=dict)

    def add(self, table: str, number: int = 1) -> None:
        """Count changed rows of a table."""
        if number:
            self.rows[table] = self.rows.get(table, 0) + number


def remove_names(
    database: Database,
    repositories: Mapping[RepositoryName, RepositoryName],
    words: Mapping[str, str],
    senders: Collection[str],
    *,
    dry_run: bool = False,
) -> Removed:
    """Give repositories other names, and replace words in all texts; return what was changed.

    Args:
        database: of the ledger. No other process may use it.
        repositories: old name -> new name.
        words: what is replaced in texts, whatever the case -> by what.
        senders: login names of the student, which are removed from all pushes.
        dry_run: change nothing.

    Raises:
        LedgerError: a job of these repositories has not ended, a new name is taken, the schema is not that of this
            autograder, or the ledger would not be sound afterwards. Nothing has changed then.
    """
    if database.revision() != schema.HEAD:
        raise LedgerError("the ledger has an older schema: the next start of the service upgrades it")
    scrub, found = _scrubber(words), Removed()
    try:
        with database.writing() as connection:
            restore = _allow_changes(connection)
            for old, new in repositories.items():
                _rename(connection, old, new, scrub, found)
            _remove_senders(connection, senders, found)
            _scrub_texts(connection, scrub, found)
            restore()
            broken = [item for item in invariants.examine(connection) if not item.ok]
            if broken:
                raise LedgerError(f"nothing was changed: {broken[0].name}: {broken[0].detail}")
            if dry_run:
                raise _DryRun
    except _DryRun:
        return found
    _forget_old_pages(database)
    return found


class _DryRun(Exception):
    """Ends a transaction without keeping it."""


def _allow_changes(connection: sa.Connection) -> Callable[[], None]:
    """Switch off the triggers that refuse changes, until the returned function is called or the transaction ends."""
    if connection.dialect.name == "sqlite":
        query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
        triggers = [(row.name, row.sql) for row in connection.execute(sa.text(query))]
        for name, _ in triggers:
            connection.exec_driver_sql(f'DROP TRIGGER "{name}"')

        def restore() -> None:
            for _, statement in triggers:
                connection.exec_driver_sql(statement)

        return restore
    names = [*tables.ONLY_GROW, tables.jobs.name]
    for name in names:
        connection.exec_driver_sql(f"ALTER TABLE {name} DISABLE TRIGGER USER")

    def enable() -> None:
        for name in names:
            connection.exec_driver_sql(f"ALTER TABLE {name} ENABLE TRIGGER USER")

    return enable


def _rename(
    connection: sa.Connection, old: RepositoryName, new: RepositoryName, scrub: Scrub, found: Removed
) -> None:
    row = connection.execute(sa.select(_r.id).where(rows.named(old))).one_or_none()
    if row is None:
        return
    if connection.execute(sa.select(_r.id).where(rows.named(new))).first():
        raise LedgerError(f"{new} is there already; try again")
    jobs = connection.execute(rows.JOBS.where(_s.repository_id == row.id)).all()
    waiting = [job for job in jobs if JobState(job.state) in OPEN]
    if waiting:
        raise LedgerError(
            f"{waiting[0].id} is {waiting[0].state}; wait for it, or end it with autograder jobs cancel"
        )
    connection.execute(
        tables.repositories.update()
        .where(_r.id == row.id)
        .values(host=new.host, owner=new.owner, name=new.name)
    )
    found.add("repositories")
    own = sa.select(_s.id).where(_s.repository_id == row.id)
    changed = connection.execute(
        tables.pushes.update()
        .where(_p.submission_id.in_(own))
        .values(host=new.host, sender="", delivery_id=None)
    )
    found.add("pushes", changed.rowcount)
    for job in jobs:
        _rename_job(connection, job, job_id(new, job.commit, job.assignment, job.attempt), scrub, found)


def _rename_job(connection: sa.Connection, job: sa.Row[Any], name: str, scrub: Scrub, found: Removed) -> None:
    """A job's id holds the repository's name, and other rows refer to it. So they get a job of the new name."""
    values = {column.name: getattr(job, column.name) for column in tables.jobs.columns}
    aside = -job.attempt  # a submission has each attempt once
    connection.execute(tables.jobs.update().where(_j.id == job.id).values(attempt=aside))
    connection.execute(tables.jobs.insert().values(**values | {"id": name, "reason": scrub(job.reason)}))
    for table in _OF_JOB:
        connection.execute(table.update().where(table.c.job_id == job.id).values(job_id=name))
    changes = tables.job_changes.c
    for change in connection.execute(
        sa.select(changes.id, changes.reason).where(changes.job_id == name)
    ).all():
        if (text := scrub(change.reason)) != change.reason:
            connection.execute(tables.job_changes.update().where(changes.id == change.id).values(reason=text))
    connection.execute(tables.jobs.delete().where(_j.id == job.id))
    found.add("jobs")
    report = connection.execute(REPORTS.where(tables.reports.c.job_id == name)).one_or_none()
    if report is not None and _scrub_report(connection, report, scrub):
        found.add("reports")


def _scrub_report(connection: sa.Connection, report: sa.Row[Any], scrub: Scrub) -> bool:
    """Replace words in the messages of a report, which may quote what a student printed; return whether any changed."""
    cases, changed = tables.report_cases, False
    for case in connection.execute(sa.select(cases).where(cases.c.report_id == report.id)).all():
        text = scrub(case.message)
        if text != case.message:
            changed = True
            same = sa.and_(cases.c.report_id == report.id, cases.c.position == case.position)
            connection.execute(cases.update().where(same).values(message=text))
    if changed:
        digest = report_digest(report_data(connection, report))
        connection.execute(
            tables.reports.update().where(tables.reports.c.id == report.id).values(digest=digest)
        )
    return changed


def _remove_senders(connection: sa.Connection, senders: Collection[str], found: Removed) -> None:
    """Remove the student's login from pushes to repositories that are not the student's alone."""
    lower = [sender.lower() for sender in senders]
    changed = connection.execute(
        tables.pushes.update().where(sa.func.lower(_p.sender).in_(lower)).values(sender="")
    )
    found.add("pushes", changed.rowcount)


def _scrub_texts(connection: sa.Connection, scrub: Scrub, found: Removed) -> None:
    """Replace words in what staff wrote and hosts said."""
    columns: dict[sa.Table, tuple[str, ...]] = {
        tables.adjustments: ("why",),
        tables.push_times: ("why",),
        tables.own_commits: ("what",),
        tables.losses: ("subject", "reason"),
        tables.audit_lines: ("subject", "why", "details"),
    }
    for table, names in columns.items():
        for row in connection.execute(sa.select(table)).all():
            new = {}
            for name in names:
                value = getattr(row, name)
                text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
                if (scrubbed := scrub(text)) != text:
                    new[name] = scrubbed if isinstance(value, str) else json.loads(scrubbed)
            if new:
                connection.execute(table.update().where(table.c.id == row.id).values(**new))
                found.add(table.name)


def _scrubber(words: Mapping[str, str]) -> Scrub:
    """Return a function that replaces the words of a text, the longest first. ASCII is only replaced as whole words."""
    by_word = {word.casefold(): new for word, new in words.items() if word.strip()}
    if not by_word:
        return lambda text: text
    parts = [
        rf"(?<![\w.-]){re.escape(word)}(?![\w-])" if word.isascii() else re.escape(word)
        for word in sorted(by_word, key=len, reverse=True)
    ]
    pattern = re.compile("|".join(parts), re.IGNORECASE)
    return lambda text: pattern.sub(lambda match: by_word.get(match[0].casefold(), ""), text)


def _forget_old_pages(database: Database) -> None:
    """Write SQLite's file again, so that the old rows are in no free page and no journal. PostgreSQL does so itself."""
    if database.file is None:
        return
    import sqlite3

    with closing(sqlite3.connect(database.file, isolation_level=None)) as raw:
        raw.execute("PRAGMA secure_delete = ON")
        raw.execute("VACUUM")
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
