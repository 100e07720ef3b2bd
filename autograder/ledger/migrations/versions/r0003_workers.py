"""Who works: a row for each worker slot, which it renews while it lives. Not history: rows change and go.

Revision: r0003
"""

import sqlalchemy as sa
from alembic import op

revision = "r0003"
down_revision = "r0002"


def upgrade() -> None:
    """Make the table."""
    time = sa.DateTime(timezone=True)
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
