"""What keeps the machine of a worker from grading, so that the services of other machines can name it.

Revision: r0006. Workers that run during the upgrade have no problems until they renew their rows.
"""

import sqlalchemy as sa
from alembic import op

revision = "r0006"
down_revision = "r0005"


def upgrade() -> None:
    """Add the column. `workers` is not a history, so no trigger guards it."""
    op.add_column("workers", sa.Column("problems", sa.Text, nullable=False, server_default="[]"))
