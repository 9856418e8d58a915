"""A whole study copied into a folder of its own, from wherever its rows and files are."""

from __future__ import annotations

import shutil
from pathlib import Path

from sqlalchemy import insert, select

from workbench.errors import BadFile
from workbench.files.disk import told, workspace
from workbench.studies.records import Record, stored_rows
from workbench.studies.storage import Storage
from workbench.studies.tables import schema

#: What a study says of the place where it is, which a copy is not in.
_OWN = frozenset({"version", "workbench", "artefacts"})


def copy_study(source: Storage, target: Path) -> list[str]:
    """Copy rows and files into a new folder, or a `.zip` of one, whole or not at all; gives what could not come along.

    Raises: `BadFile` where there is something already, `StorageFailed`.
    """
    if target.exists():
        raise BadFile(f"{target} is there already. Give a folder, or a .zip, that is not.")
    with told(target, "Copying the study"), workspace(_made(target.absolute().parent)) as place:
        made = Storage(place / "study")
        _copy_rows(source, made)
        missing = _copy_files(source, made)
        if target.suffix == ".zip":
            Path(shutil.make_archive(str(place / "packed"), "zip", made.folder)).replace(target)
        else:
            made.folder.rename(target)
    return missing


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _copy_rows(source: Storage, made: Storage) -> None:
    with source.database.reading() as theirs, made.database.writing() as ours:
        for table in schema.sorted_tables:
            rows = [dict(row) for row in theirs.execute(select(table)).mappings()]
            rows = [row for row in rows if row.get("key") not in _OWN]
            if rows:
                ours.execute(insert(table), rows)


def _copy_files(source: Storage, made: Storage) -> list[str]:
    """Copy what the rows name; a sentence for each variant whose files are not what was measured."""
    missing = []
    with made.database.reading() as connection:
        records = [one for one in stored_rows(connection) if isinstance(one, Record)]
    for record in records:
        files = [source.artefacts / name for name in (record.onnx, record.state)]
        wrong = next(filter(None, map(source.problem, files)), "")
        if wrong:
            missing.append(f"A file of the variant {record.id} {wrong}; it is made again when its recipe is run.")
            continue
        for file in files:
            shutil.copyfile(file, made.artefacts / file.name)
    return missing
