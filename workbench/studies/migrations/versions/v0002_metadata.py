"""`facts` becomes `metadata`, what it is called everywhere else; earlier workbenches refuse the study from here on."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0002", "0001"


def upgrade() -> None:
    """Rename the column, and tell earlier workbenches, which read the number from here."""
    op.alter_column("variants", "facts", new_column_name="metadata")
    op.execute(sa.text("UPDATE study SET value = '2' WHERE key = 'version'"))
