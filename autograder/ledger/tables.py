"""The tables of the ledger, for queries. `migrations` creates the same tables in a database; a test compares the two.

Rows are only inserted, never changed or deleted, except in `jobs`, `workers` and `losses`. Triggers of the database
enforce this. A job may only change its state, and each change adds a row to `job_changes`. `workers` is not a history:
it shows which workers run at the moment. `losses` counts what did not become a push, and forgets it after a month.
"""

from datetime import datetime, timezone

import sqlalchemy as sa


class UtcTime(sa.types.TypeDecorator[datetime]):
    """A moment with a time zone, in UTC for callers and in the database. SQLite stores text that sorts by time."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        """Refuse a time without a time zone, since it could mean several moments."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError(f"{value} has no time zone")
        value = value.astimezone(timezone.utc)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """Return the moment in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=timezone.utc) if value.tzinfo is None else value.astimezone(timezone.utc)


metadata = sa.MetaData()

repositories = sa.Table(
    "repositories",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    sa.UniqueConstraint("host", "owner", "name", name="uq_repositories_name"),
)

submissions = sa.Table(
    "submissions",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("repository_id", sa.ForeignKey("repositories.id"), nullable=False),
    sa.Column("commit_sha", sa.Text, nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    sa.UniqueConstraint("repository_id", "commit_sha", name="uq_submissions_commit"),
)

pushes = sa.Table(
    "pushes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("submission_id", sa.ForeignKey("submissions.id"), nullable=False),
    sa.Column("host", sa.Text, nullable=False),  # a copy of the repository's host, for the constraint below
    sa.Column("delivery_id", sa.Text),
    sa.Column("ref", sa.Text, nullable=False),
    sa.Column("before_sha", sa.Text, nullable=False),
    sa.Column("sender", sa.Text, nullable=False),
    sa.Column("payload_digest", sa.Text, nullable=False),
    sa.Column("received", UtcTime, nullable=False),
    sa.Column("source", sa.Text, nullable=False),  # how `received` is known, see `records.Source`
    sa.Column("position", sa.Double, nullable=False),  # in the order of the moves of one branch
    sa.Column("recorded", UtcTime, nullable=False),
    sa.UniqueConstraint("host", "delivery_id", name="uq_pushes_delivery"),
    sa.Index("ix_pushes_recorded", "recorded"),
    sa.Index("ix_pushes_submission", "submission_id"),
)

push_times = sa.Table(  # what was learned later about the time of a push; the last row of a push holds
    "push_times",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("push_id", sa.ForeignKey("pushes.id"), nullable=False),
    sa.Column("received", UtcTime, nullable=False),
    sa.Column("source", sa.Text, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Index("ix_push_times_push", "push_id"),
)

own_commits = sa.Table(
    "own_commits",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("commit_sha", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("recorded", UtcTime, nullable=False),
    sa.UniqueConstraint("commit_sha", name="uq_own_commits_commit"),
)

losses = sa.Table(
    "losses",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("first", UtcTime, nullable=False),
    sa.Column("last", UtcTime, nullable=False),
    sa.UniqueConstraint("kind", "subject", "reason", name="uq_losses_loss"),
)

jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("submission_id", sa.ForeignKey("submissions.id"), nullable=False),
    sa.Column("assignment", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("may_lower", sa.Boolean, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("created", UtcTime, nullable=False),
    sa.Column("updated", UtcTime, nullable=False),
    sa.Column("started", UtcTime),
    sa.Column("finished", UtcTime),
    sa.UniqueConstraint("submission_id", "assignment", "attempt", name="uq_jobs_attempt"),
    sa.Index("ix_jobs_state", "state", "assignment"),
)

job_changes = sa.Table(
    "job_changes",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("state_before", sa.Text),
    sa.Column("state_after", sa.Text, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("worker", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.Index("ix_job_changes_job", "job_id"),
)

reports = sa.Table(
    "reports",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("format", sa.Integer, nullable=False),
    sa.Column("points", sa.Integer, nullable=False),
    sa.Column("max_points", sa.Integer, nullable=False),
    sa.Column("provenance", sa.JSON, nullable=False),
    sa.Column("digest", sa.Text, nullable=False),
    sa.Column("recorded", UtcTime, nullable=False),
    sa.UniqueConstraint("job_id", name="uq_reports_job"),
)

report_cases = sa.Table(
    "report_cases",
    metadata,
    sa.Column("report_id", sa.ForeignKey("reports.id"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("verdict", sa.Text, nullable=False),
    sa.Column("points", sa.Integer, nullable=False),
    sa.Column("max_points", sa.Integer, nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("seconds", sa.Double, nullable=False),
    sa.Column("cpu_seconds", sa.Double, nullable=False),
    sa.Column("peak_bytes", sa.BigInteger, nullable=False),
)

feedback_commits = sa.Table(
    "feedback_commits",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job_id", sa.ForeignKey("jobs.id"), nullable=False),
    sa.Column("branch", sa.Text, nullable=False),
    sa.Column("commit_sha", sa.Text, nullable=False),
    sa.Column("published", UtcTime, nullable=False),
    sa.Column(
        "shows", sa.Text, nullable=False
    ),  # sha256 of the feedback files, hex; empty in rows before r0004
    sa.UniqueConstraint("job_id", "commit_sha", name="uq_feedback_commits_commit"),
)

adjustments = sa.Table(  # what staff decide about the score of a repository, see `records.Adjustment`
    "adjustments",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("repository_id", sa.ForeignKey("repositories.id"), nullable=False),
    sa.Column("assignment", sa.Text, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("points", sa.Integer),
    sa.Column("commit_sha", sa.Text, nullable=False),
    sa.Column("undoes", sa.ForeignKey("adjustments.id")),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("at", UtcTime, nullable=False),
    sa.UniqueConstraint("undoes", name="uq_adjustments_undoes"),
    sa.Index("ix_adjustments_repository", "repository_id", "assignment"),
)

audit_lines = sa.Table(
    "audit_lines",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", UtcTime, nullable=False),
    sa.Column("who", sa.Text, nullable=False),
    sa.Column("what", sa.Text, nullable=False),
    sa.Column("why", sa.Text, nullable=False),
    sa.Column("subject", sa.Text, nullable=False),
    sa.Column("details", sa.JSON, nullable=False),
    sa.Index("ix_audit_lines_subject", "subject"),
)

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("executor", sa.Text, primary_key=True),  # the worker's name
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("queues", sa.Text, nullable=False),
    sa.Column("version", sa.Text, nullable=False),
    sa.Column("beats", sa.BigInteger, nullable=False),
    sa.Column("started", UtcTime, nullable=False),
    sa.Column("seen", UtcTime, nullable=False),
    sa.Column("problems", sa.Text, nullable=False),  # a list in JSON: what keeps this machine from grading
)

ONLY_GROW = (
    "repositories",
    "submissions",
    "pushes",
    "push_times",
    "own_commits",
    "job_changes",
    "reports",
    "report_cases",
    "feedback_commits",
    "adjustments",
    "audit_lines",
)
