"""What devices answered gets a table; earlier workbenches refuse the study from here on."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0003", "0002"


def upgrade() -> None:
    """Make the table, and tell earlier workbenches, which read the number from here."""
    op.create_table(
        "devices",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("content", sa.Text, nullable=False),
    )
    op.execute(sa.text("UPDATE study SET value = '3' WHERE key = 'version'"))
