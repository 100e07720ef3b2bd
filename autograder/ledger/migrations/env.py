"""Alembic's entry point: runs the steps on the connection, and in the transaction, that `schema` passes."""

from alembic import context

from autograder.ledger.schema import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transactional_ddl=True,  # on SQLite too, because the ledger begins its transactions itself
)
with context.begin_transaction():
    context.run_migrations()
