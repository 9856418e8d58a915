"""The forms that a study's tables had, one file each, for Alembic."""
