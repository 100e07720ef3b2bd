"""Alembic's entry point. It runs the steps on the connection that `schema` passes, in its open transaction."""

from alembic import context

from autograder.ledger.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transactional_ddl=True,  # on SQLite too, because the ledger begins its transactions itself
)
with context.begin_transaction():
    context.run_migrations()
