"""The tables as they were before their form was numbered, whichever of them and of their columns are there."""

import sqlalchemy as sa
from alembic import op

revision, down_revision = "0001", None

#: Columns that came later, and what they hold in rows from before.
LATER = {"facts": "{}", "seal": "", "version": "1"}


def upgrade() -> None:
    """Make what is missing."""
    connection = op.get_bind()
    # On a server a table of such a name may be another program's: there it is refused, not taken over.
    there = set(sa.inspect(connection).get_table_names()) if connection.dialect.name == "sqlite" else set()
    _make(there, "study", sa.Column("key", sa.Text, primary_key=True), _text("value"))
    _make(there, "labels", sa.Column("id", sa.Text, primary_key=True), _text("label"))
    _make(there, "replaced", _text("id"), _text("content"))
    later = [_text(name, server_default=value) for name, value in LATER.items()]
    if "variants" in there:
        known = {column["name"] for column in sa.inspect(connection).get_columns("variants")}
        for column in later:
            if column.name not in known:
                op.add_column("variants", column)
        return
    number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    texts = [_text(name) for name in ("created", "recipe", "estimates", "notes", "onnx", "state")]
    op.create_table(
        "variants",
        sa.Column("position", number, primary_key=True, autoincrement=True),
        _text("id", unique=True),
        *texts,
        *later,
        sqlite_autoincrement=True,
    )


def _make(there: set[str], name: str, *columns: sa.Column[str]) -> None:
    if name not in there:
        op.create_table(name, *columns)


def _text(name: str, *, unique: bool = False, server_default: str | None = None) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=False, unique=unique, server_default=server_default)
