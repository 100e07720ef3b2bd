"""The database itself refuses to change or delete what was recorded, whoever asks.

Revision: r0002
"""

from alembic import op

revision = "r0002"
down_revision = "r0001"

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
JOB_S_NAME = "id, submission_id, assignment, attempt, may_lower, created"


def upgrade() -> None:
    """Make the triggers."""
    if op.get_bind().dialect.name == "sqlite":
        _sqlite()
    else:
        _postgresql()


def _sqlite() -> None:
    def refuse(name: str, when: str, message: str) -> None:
        op.execute(f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{message}'); END")

    for table in ONLY_GROW:
        refuse(f"{table}_no_update", f"BEFORE UPDATE ON {table}", f"the ledger only grows: {table}")
    for table in (*ONLY_GROW, "jobs"):
        refuse(f"{table}_no_delete", f"BEFORE DELETE ON {table}", f"the ledger only grows: {table}")
    refuse("jobs_keep_name", f"BEFORE UPDATE OF {JOB_S_NAME} ON jobs", "the ledger only grows: jobs")
    refuse("jobs_final", "BEFORE UPDATE ON jobs WHEN OLD.state = 'final'", "a final job stays final")


def _postgresql() -> None:
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
    refuse("jobs_keep_name", f"BEFORE UPDATE OF {JOB_S_NAME} ON jobs")
    refuse("jobs_final", "BEFORE UPDATE ON jobs", "FOR EACH ROW WHEN (OLD.state = 'final')")
