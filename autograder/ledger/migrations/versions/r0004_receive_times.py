"""How we know when a push was received, our own commits, the order of moves, and what did not become a push.

Revision: r0004. Pushes that were found on a branch without any report were dated by the moment of the finding. Their
receive time is now unknown: they have no delivery, no sender and no commit before.
"""

import sqlalchemy as sa
from alembic import op

revision = "r0004"
down_revision = "r0003"

SOURCE = (
    "CASE WHEN delivery_id LIKE 'hook:%' THEN 'hook' WHEN delivery_id IS NOT NULL THEN 'webhook' "
    "WHEN sender = 'a CI job' THEN 'ci' WHEN sender = '' AND before_sha = '' THEN 'unknown' ELSE 'webhook' END"
)
POSITIONS = (
    "SELECT pushes.id AS id, row_number() OVER (PARTITION BY repository_id ORDER BY received, pushes.id) "
    "AS position FROM pushes JOIN submissions ON submissions.id = pushes.submission_id"
)
OLD = "id, submission_id, host, delivery_id, ref, before_sha, sender, payload_digest, received"
ONLY_GROW = ("push_times", "own_commits")


def upgrade() -> None:
    """Add the columns and tables; `pushes` loses its constraint, since a branch may make the same move again."""
    on_sqlite = op.get_bind().dialect.name == "sqlite"
    if on_sqlite:
        _rebuild_pushes()
    else:
        _alter_pushes()
    op.create_index("ix_pushes_recorded", "pushes", ["recorded"])
    op.create_index("ix_pushes_submission", "pushes", ["submission_id"])
    op.add_column("feedback_commits", sa.Column("shows", sa.Text, nullable=False, server_default=""))
    _create_tables()
    for table in (*ONLY_GROW, *(["pushes"] if on_sqlite else [])):
        _refuse_changes(table, on_sqlite=on_sqlite)


def _rebuild_pushes() -> None:
    """SQLite cannot remove a constraint. Triggers and indexes go with the old table."""
    time = sa.DateTime(timezone=True)
    op.drop_index("ix_pushes_received", "pushes")
    op.execute("ALTER TABLE pushes RENAME TO pushes_before")
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
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("position", sa.Double, nullable=False),
        sa.Column("recorded", time, nullable=False),
        sa.UniqueConstraint("host", "delivery_id", name="uq_pushes_delivery"),
    )
    positions = POSITIONS.replace("pushes", "pushes_before")
    columns = ", ".join(f"pushes_before.{name}" for name in OLD.split(", "))
    op.execute(
        f"INSERT INTO pushes ({OLD}, source, position, recorded) SELECT {columns}, {SOURCE}, place.position, received "  # noqa: S608
        f"FROM pushes_before JOIN ({positions}) AS place ON place.id = pushes_before.id"
    )
    op.execute("DROP TABLE pushes_before")


def _alter_pushes() -> None:
    op.drop_index("ix_pushes_received", "pushes")
    op.drop_constraint("uq_pushes_move", "pushes", type_="unique")
    op.add_column("pushes", sa.Column("source", sa.Text))
    op.add_column("pushes", sa.Column("position", sa.Double))
    op.add_column("pushes", sa.Column("recorded", sa.DateTime(timezone=True)))
    op.execute("ALTER TABLE pushes DISABLE TRIGGER pushes_no_update")
    op.execute(
        f"UPDATE pushes SET source = {SOURCE}, position = place.position, recorded = received "  # noqa: S608
        f"FROM ({POSITIONS}) AS place WHERE place.id = pushes.id"
    )
    op.execute("ALTER TABLE pushes ENABLE TRIGGER pushes_no_update")
    for column in ("source", "position", "recorded"):
        op.alter_column("pushes", column, nullable=False)


def _create_tables() -> None:
    time = sa.DateTime(timezone=True)
    op.create_table(
        "push_times",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("push_id", sa.Integer, sa.ForeignKey("pushes.id"), nullable=False),
        sa.Column("received", time, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("why", sa.Text, nullable=False),
        sa.Column("at", time, nullable=False),
    )
    op.create_index("ix_push_times_push", "push_times", ["push_id"])
    op.create_table(
        "own_commits",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("commit_sha", sa.Text, nullable=False),
        sa.Column("what", sa.Text, nullable=False),
        sa.Column("recorded", time, nullable=False),
        sa.UniqueConstraint("commit_sha", name="uq_own_commits_commit"),
    )
    op.create_table(
        "losses",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("first", time, nullable=False),
        sa.Column("last", time, nullable=False),
        sa.UniqueConstraint("kind", "subject", "reason", name="uq_losses_loss"),
    )


def _refuse_changes(table: str, *, on_sqlite: bool) -> None:
    for act in ("update", "delete"):
        name, when = f"{table}_no_{act}", f"BEFORE {act.upper()} ON {table}"
        if on_sqlite:
            message = f"the ledger only grows: {table}"
            op.execute(f"CREATE TRIGGER {name} {when} BEGIN SELECT RAISE(ABORT, '{message}'); END")
        else:
            op.execute(f"CREATE TRIGGER {name} {when} FOR EACH ROW EXECUTE FUNCTION ledger_only_grows()")
    if not on_sqlite:
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION ledger_only_grows()"
        )
