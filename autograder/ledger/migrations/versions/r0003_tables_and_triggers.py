"""The first schema that was released: the tables, and the triggers that refuse to change or delete what was recorded.

Revision: r0003. The revisions before it were never released. A ledger that is at r0003 already opens unchanged.
"""

import sqlalchemy as sa
from alembic import op

revision = "r0003"
down_revision = None

ONLY_GROW = (
    "repositories",
    "submissions",
    "pushes",
    "job_changes",
    "reports",
    "report_cases",
    "feedback_commits",
    "audit_lines",
)
JOB_KEY = "id, submission_id, assignment, attempt, may_lower, created"


def upgrade() -> None:
    """Create the tables and the triggers."""
    _create_pushes()
    _create_jobs()
    _create_reports()
    _create_staff_and_workers()
    if op.get_bind().dialect.name == "sqlite":
        _create_triggers_on_sqlite()
    else:
        _create_triggers_on_postgresql()


def _create_pushes() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "repositories",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("created", time, nullable=False),
        sa.UniqueConstraint("host", "owner", "name", name="uq_repositories_name"),
    )
    op.create_table(
        "submissions",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("repository_id", sa.Integer, sa.ForeignKey("repositories.id"), nullable=False),
        sa.Column("commit_sha", sa.Text, nullable=False),
        sa.Column("created", time, nullable=False),
        sa.UniqueConstraint("repository_id", "commit_sha", name="uq_submissions_commit"),
    )
    op.create_table(
        "pushes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("submission_id", sa.Integer, sa.ForeignKey("submissions.id"), nullable=False),
        sa.Column("host", sa.Text, nullable=False),
        sa.Column("delivery_id", sa.Text),
        sa.Column("ref", sa.Text, nullable=False),
        sa.Column("before_sha", sa.Text, nullable=False),
        sa.Column("sender", sa.Text, nullable=False),
        sa.Column("payload_digest", sa.Text, nullable=False),
        sa.Column("received", time, nullable=False),
        sa.UniqueConstraint("host", "delivery_id", name="uq_pushes_delivery"),
        sa.UniqueConstraint("submission_id", "ref", "before_sha", name="uq_pushes_move"),
    )
    op.create_index("ix_pushes_received", "pushes", ["received"])


def _create_jobs() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "jobs",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("submission_id", sa.Integer, sa.ForeignKey("submissions.id"), nullable=False),
        sa.Column("assignment", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("may_lower", sa.Boolean, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("created", time, nullable=False),
        sa.Column("updated", time, nullable=False),
        sa.Column("started", time),
        sa.Column("finished", time),
        sa.UniqueConstraint("submission_id", "assignment", "attempt", name="uq_jobs_attempt"),
    )
    op.create_index("ix_jobs_state", "jobs", ["state", "assignment"])
    op.create_table(
        "job_changes",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("state_before", sa.Text),
        sa.Column("state_after", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("worker", sa.Text, nullable=False),
        sa.Column("at", time, nullable=False),
    )
    op.create_index("ix_job_changes_job", "job_changes", ["job_id"])


def _create_reports() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "reports",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("format", sa.Integer, nullable=False),
        sa.Column("points", sa.Integer, nullable=False),
        sa.Column("max_points", sa.Integer, nullable=False),
        sa.Column("provenance", sa.JSON, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("recorded", time, nullable=False),
        sa.UniqueConstraint("job_id", name="uq_reports_job"),
    )
    op.create_table(
        "report_cases",
        sa.Column("report_id", sa.Integer, sa.ForeignKey("reports.id"), primary_key=True),
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
    op.create_table(
        "feedback_commits",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("job_id", sa.Text, sa.ForeignKey("jobs.id"), nullable=False),
        sa.Column("branch", sa.Text, nullable=False),
        sa.Column("commit_sha", sa.Text, nullable=False),
        sa.Column("published", time, nullable=False),
        sa.UniqueConstraint("job_id", "commit_sha", name="uq_feedback_commits_commit"),
    )


def _create_staff_and_workers() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "audit_lines",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("at", time, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("details", sa.JSON, nullable=False),
    )
    op.create_index("ix_audit_lines_subject", "audit_lines", ["subject"])
    op.create_table(
        "workers",
        sa.Column("executor", sa.Text, primary_key=True),
        sa.Column("origin", sa.Text, nullable=False),
        sa.Column("queues", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("beats", sa.BigInteger, nullable=False),
        sa.Column("started", time, nullable=False),
        sa.Column("seen", time, nullable=False),
    )


def _create_triggers_on_sqlite() -> None:
    def refuse(name: str, when: str, message: str) -> None:
        op.execute(f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{message}'); END")

    for table in ONLY_GROW:
        refuse(f"{table}_no_update", f"BEFORE UPDATE ON {table}", f"the ledger only grows: {table}")
    for table in (*ONLY_GROW, "jobs"):
        refuse(f"{table}_no_delete", f"BEFORE DELETE ON {table}", f"the ledger only grows: {table}")
    refuse("jobs_keep_name", f"BEFORE UPDATE OF {JOB_KEY} ON jobs", "the ledger only grows: jobs")
    refuse("jobs_final", "BEFORE UPDATE ON jobs WHEN OLD.state = 'final'", "a final job stays final")


def _create_triggers_on_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION ledger_only_grows() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the ledger only grows: %', TG_TABLE_NAME; END $$"
    )

    def refuse(name: str, when: str, each: str = "FOR EACH ROW") -> None:
        op.execute(f"CREATE TRIGGER {name} {when} {each} EXECUTE FUNCTION ledger_only_grows()")

    for table in ONLY_GROW:
        refuse(f"{table}_no_update", f"BEFORE UPDATE ON {table}")
    for table in (*ONLY_GROW, "jobs"):
        refuse(f"{table}_no_delete", f"BEFORE DELETE ON {table}")
        refuse(f"{table}_no_truncate", f"BEFORE TRUNCATE ON {table}", "FOR EACH STATEMENT")
    refuse("jobs_keep_name", f"BEFORE UPDATE OF {JOB_KEY} ON jobs")
    refuse("jobs_final", "BEFORE UPDATE ON jobs", "FOR EACH ROW WHEN (OLD.state = 'final')")
