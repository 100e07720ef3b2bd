"""For tests of the ledger's schema: a ledger with every kind of row, dumps of it, and a schema after today's."""

import contextlib
import dataclasses
import shutil
import sqlite3
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path

import sqlalchemy as sa

from autograder.ledger import (
    Cutoffs,
    JobState,
    RecordedPush,
    RepositoryName,
    Score,
    ScorePolicy,
    Source,
    schema,
    workers,
)
from autograder.ledger.database import parse_url
from autograder.report import Report
from tests.support.ledgers import MAIN, NOON, commit, current_scores, repository

DUMPS = Path(__file__).parent / "ledger_dumps"  # each was written by the version that had its schema
DUMPED = ("r0003", "r0004")
LATER = {
    RecordedPush: ("recorded",),
    Score: ("push_id",),
    workers.Worker: ("problems",),
}  # what they did not tell
NEXT = "r9001"
OLD_PUSH = "INSERT INTO pushes VALUES (1, 1, 'git.uni.example', 'd', :ref, '', 'ann', '', :time)"
NEW_PUSH = (
    "INSERT INTO pushes (id, submission_id, host, delivery_id, ref, before_sha, sender, payload_digest, received, "
    "source, position, recorded) VALUES (1, 1, 'git.uni.example', 'd', :ref, '', 'ann', '', :time, 'webhook', 1, :time)"
)


def load(name, url):
    """Make the database at `url` what a dump holds."""
    parsed = parse_url(url)
    statements = (DUMPS / f"{name}.{parsed.get_backend_name()}.sql").read_text()
    if parsed.get_backend_name() == "sqlite":
        Path(parsed.database).parent.mkdir()
        with contextlib.closing(sqlite3.connect(parsed.database)) as connection:
            connection.executescript(statements)
    else:
        engine = sa.create_engine(parsed, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.connection.driver_connection.execute(statements)
        engine.dispose()


def make(url, revision):
    """Bring a new database to a revision, and insert a push as that revision would."""
    parsed = parse_url(url)
    if parsed.get_backend_name() == "sqlite":
        Path(parsed.database).parent.mkdir()
    engine = sa.create_engine(parsed)
    time = "'2026-09-10 12:00:00.000000'"
    sha = commit("one")
    with engine.begin() as connection:
        schema.upgrade(connection, revision)
        for statement in (
            "INSERT INTO repositories VALUES (1, 'git.uni.example', 'dls', 'a0-ann', :time)",
            "INSERT INTO submissions VALUES (1, 1, :sha, :time)",
            OLD_PUSH if revision == "r0003" else NEW_PUSH,
        ):
            connection.exec_driver_sql(
                statement.replace(":time", time).replace(":sha", f"'{sha}'").replace(":ref", f"'{MAIN}'")
            )
    engine.dispose()


def add_step(monkeypatch, folder):
    """Give the schema one more step, which adds a table: today's ledgers are then of an older schema."""
    migrations = folder / "migrations"
    shutil.copytree(schema.MIGRATIONS, migrations)
    (migrations / "versions" / f"{NEXT}_notes.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        f"revision, down_revision = {NEXT!r}, {schema.HEAD!r}\n"
        "def upgrade():\n"
        "    op.create_table('notes', sa.Column('id', sa.Integer, primary_key=True))\n"
    )
    monkeypatch.setattr(schema, "MIGRATIONS", migrations)
    monkeypatch.setattr(schema, "HEAD", NEXT)


def fill(semester, revision):
    """Put rows into every table of a revision: jobs in every state, regrades, a push without a job, odd characters."""
    ledger = semester.ledger
    semester.push("one", delivery_id="d-1", payload_digest="ab" * 32)
    semester.grade("one", 70)
    semester.grade("one", 60, attempt=2)
    semester.grade("one", 50, attempt=3, may_lower=True)
    semester.push("two", delivery_id="d-2", before="")
    ledger.move(semester.run("two").id, JobState.FAILED, reason="git host: 502")
    semester.push("three", sender="ünï\u202e\0")
    ledger.move(semester.open("three").id, JobState.SUPERSEDED, reason="a newer push")
    semester.push("four")
    semester.open("four")
    semester.push("one", "bob", received=NOON)
    semester.grade("one", 100, "bob", "a1")
    ledger.move(semester.run("one", "bob").id, JobState.DEAD, reason="3 tries")
    semester.push("two", "bob", ref="refs/heads/try")
    semester.push("one", "eve")
    semester.run("one", "eve")
    ledger.move(semester.run("one", "eve", "a1").id, JobState.FINAL, reason="late")
    ledger.audit("okafor", "regrade", why="case 3 was wrong", subject="a0", details={"lower": [True, 1.5]})
    workers.start(
        ledger.database, "host:0", origin="here", queues=["cpu"], version="1", now=semester.clock.now
    )
    workers.beat(ledger.database, "host:0", now=semester.clock.after(seconds=5))
    if revision >= "r0004":
        push = semester.push("five", "eve", before="", source=Source.UNKNOWN).row
        ledger.set_received(push.id, NOON, source=Source.STAFF, who="okafor", why="her mail")
        ledger.add_own_commit(commit("starter"), "starter of a0")
        semester.push("starter", "fay", source=Source.HOST)
        ledger.add_loss("branch", str(repository("gus")), "pushed to try")


def everything(ledger, revision):
    """Return what each reader of a ledger of a revision returns, as plain JSON data."""
    repositories, jobs, assignments = ledger.repositories(), ledger.jobs(), ("a0", "a1")
    later = {"own": ledger.own_commits(), "losses": ledger.losses(), "undated": ledger.undated()}
    return plain(
        {
            "repositories": repositories,
            "pushes": {name: ledger.pushes(name) for name in repositories},
            "unsettled": ledger.unsettled(),
            "jobs": jobs,
            "counts": ledger.count_jobs(),
            "tries": {job.id: ledger.recent_tries(job.id) for job in jobs},
            "reports": {job.id: ledger.report(job.id) for job in jobs},
            "results": ledger.results(limit=100),
            "histories": {name: ledger.history(name) for name in repositories},
            "scores": {
                f"{assignment} {policy.value} {minutes}": current_scores(
                    ledger, assignment, policy, Cutoffs(NOON + timedelta(minutes=minutes))
                )
                for assignment in assignments
                for policy in ScorePolicy
                for minutes in (0, 3, 60)
            },
            "candidates": {
                assignment: sorted(ledger.candidates(assignment), key=lambda c: (c.push_id, c.attempt))
                for assignment in assignments
            },
            "audit": ledger.audit_lines(),
            "workers": workers.workers(ledger.database),
        }
        | (later if revision >= "r0004" else {})
    )


def plain(value):
    """Return a value that readers return as plain JSON data."""
    if isinstance(value, Report):
        return value.to_json()
    if isinstance(value, RepositoryName):
        return str(value)
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, datetime):
        return value.isoformat()
    if dataclasses.is_dataclass(value):
        left_out = LATER.get(type(value), ())
        names = [field.name for field in dataclasses.fields(value) if field.name not in left_out]
        return {name: plain(getattr(value, name)) for name in names}
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
