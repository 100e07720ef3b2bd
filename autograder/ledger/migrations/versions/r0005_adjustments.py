"""What staff decide about the score of a repository.

Revision: r0005.
"""

import sqlalchemy as sa
from alembic import op

revision = "r0005"
down_revision = "r0004"


def upgrade() -> None:
    """Add the table, and the triggers that refuse to change or delete its rows."""
    op.create_table(
        "adjustments",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("repository_id", sa.Integer, sa.ForeignKey("repositories.id"), nullable=False),
        sa.Column("assignment", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("points", sa.Integer),
        sa.Column("commit_sha", sa.Text, nullable=False),
        sa.Column("undoes", sa.Integer, sa.ForeignKey("adjustments.id")),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.UniqueConstraint("undoes", name="uq_adjustments_undoes"),
    )
    op.create_index("ix_adjustments_repository", "adjustments", ["repository_id", "assignment"])
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    for act in ("update", "delete"):
        name, when = f"adjustments_no_{act}", f"BEFORE {act.upper()} ON adjustments"
        if on_sqlite:
            message = "the ledger only grows: adjustments"
            op.execute(f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{message}'); END")
        else:
            op.execute(f"CREATE TRIGGER {name} {when} FOR EACH ROW EXECUTE FUNCTION ledger_only_grows()")
    if not on_sqlite:
        op.execute(
            "CREATE TRIGGER adjustments_no_truncate BEFORE TRUNCATE ON adjustments "
            "FOR EACH STATEMENT EXECUTE FUNCTION ledger_only_grows()"
        )
