"""The tables of a study, alike in SQLite and PostgreSQL; `migrations/` brings earlier forms to this one."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Integer, MetaData, Table, Text

#: The form of the tables, and the revision in `migrations/` that makes it. Both grow together.
FORMAT, REVISION = 3, "0003"
#: Where the revision stands; a name of its own, since other programs keep theirs in `alembic_version`.
VERSION_TABLE = "workbench_version"

schema = MetaData()
#: What the study is about, and where its files are.
study = Table(
    "study", schema,
    Column("key", Text, primary_key=True),
    Column("value", Text, nullable=False),
)  # fmt: skip
#: One row a variant, in order of creation. Everything is text, so that no row, whatever it holds, locks others out.
variants = Table(
    "variants", schema,
    Column("position", BigInteger().with_variant(Integer(), "sqlite"), primary_key=True, autoincrement=True),
    Column("id", Text, unique=True, nullable=False),
    Column("created", Text, nullable=False),
    Column("recipe", Text, nullable=False),
    Column("estimates", Text, nullable=False),
    Column("notes", Text, nullable=False),
    Column("onnx", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("metadata", Text, nullable=False, server_default="{}"),
    Column("seal", Text, nullable=False, server_default=""),
    Column("version", Text, nullable=False, server_default="1"),
    sqlite_autoincrement=True,
)  # fmt: skip
#: What users wrote on variants: unlike rows it changes later.
labels = Table("labels", schema, Column("id", Text, primary_key=True), Column("label", Text, nullable=False))
#: Rows that gave way to others of their id.
replaced = Table("replaced", schema, Column("id", Text, nullable=False), Column("content", Text, nullable=False))
#: What a device answered when variants were measured on it: see `workbench.devices.answered`.
devices = Table("devices", schema, Column("id", Text, primary_key=True), Column("content", Text, nullable=False))
