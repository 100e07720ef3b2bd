"""Where Alembic begins: runs the steps on the connection, and in the transaction, that `database` opened."""

from alembic import context

from autograder.ledger.database import VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    version_table=VERSION_TABLE,
    transactional_ddl=True,  # on SQLite too, since we begin transactions ourselves
)
with context.begin_transaction():
    context.run_migrations()
