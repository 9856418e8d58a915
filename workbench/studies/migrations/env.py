"""What Alembic runs: on the connection, and in the transaction, that `workbench.studies.migrate` hands it."""

from alembic import context

from workbench.studies.tables import VERSION_TABLE, schema

context.configure(
    connection=context.config.attributes["connection"], target_metadata=schema, version_table=VERSION_TABLE
)
context.run_migrations()
