"""The version of the ledger's schema: which one a database has, which ones are known, and how to upgrade it."""

import threading
from pathlib import Path

import sqlalchemy as sa

HEAD = "r0006"  # the revision that this version of the code needs
VERSION_TABLE = "ledger_version"
MIGRATIONS = Path(__file__).parent / "migrations"
_ALEMBIC = threading.Lock()  # Alembic keeps its current connection in a global variable


def revision(connection: sa.Connection) -> str | None:
    """Return the revision of a database's schema, or None if there is no ledger."""
    if not sa.inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(sa.text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()  # noqa: S608
    return None if found is None else str(found)


def revisions() -> list[str]:
    """Return all known revisions, oldest first."""
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(str(MIGRATIONS))
    return [step.revision for step in script.walk_revisions()][::-1]


def upgrade(connection: sa.Connection, to: str) -> None:
    """Run the steps that lead to the revision `to`, in the transaction that `connection` is in."""
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    with _ALEMBIC:
        command.upgrade(config, to)
