"""What devices answered gets a table; earlier workbenches refuse the study from here on."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0003", "0002"


def upgrade() -> None:
    """Make the table, and tell earlier workbenches, which read the number from here."""
    connection = op.get_bind()
    # As in the first revision: in a file it may be there already; on a server it would be another program's.
    if connection.dialect.name != "sqlite" or "devices" not in sa.inspect(connection).get_table_names():
        columns = sa.Column("id", sa.Text, primary_key=True), sa.Column("content", sa.Text, nullable=False)
        op.create_table("devices", *columns)
    op.execute(sa.text("UPDATE study SET value = '3' WHERE key = 'version'"))
