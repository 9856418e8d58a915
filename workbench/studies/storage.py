"""Where a study keeps its variants: rows in a database (`database.py`), and files known by their content.

A variant's files are moved into place and its row is inserted in one transaction, so that killing the process at any
moment loses no finished variant and leaves no half one. What is finished while a shared database is away waits here
(`pending.py`). No row can lock the others out: one that cannot be read is told of and left as it is. Rows are written
once; what users change later (names, tags) has a table of its own.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from sqlalchemy import Connection, delete, insert, or_, select, update

from workbench.errors import BadFile, BadValue, StorageFailed
from workbench.files.content import content_name, problem
from workbench.files.disk import keep_on_disk, told
from workbench.studies.artefacts import NAMED, Artefacts, artefacts_at
from workbench.studies.database import Database, File
from workbench.studies.naming import Label
from workbench.studies.pending import Pending
from workbench.studies.records import Damaged, Record, stored_devices, stored_labels, stored_rows, write_row
from workbench.studies.server import Away, Server, hidden, is_url
from workbench.studies.tables import devices, labels, study, variants
from workbench.untrusted import quota

_LOOKED_AT = 8  # rows whose files tell that a place is the study's


class Storage:
    """One study. Safe to use from several threads and processes at once.

    `folder` holds the database and the files. With `address` the database is PostgreSQL, and the folder is for what
    this machine works on; with `artefacts`, another folder or an address that fsspec knows, the files are there, for
    whoever opens the study. A folder that cannot be written, or a full disk, can still be read.
    Raises: `BadFile` where there is something else than a study, `BadValue` for an address, `StorageFailed`.
    """

    def __init__(self, folder: Path, address: str = "", artefacts: str | Path | None = None) -> None:
        self.folder = folder
        self.database: Database = Server(address) if address else File(folder)
        #: What messages call the study.
        self.name = self.database.name
        #: The address of its database, without a password; "" where that is in the folder.
        self.address = hidden(address)
        #: The folder from which files are used.
        self.artefacts = folder / "artefacts"
        self.database.prepare()  # first: where it cannot be reached, nothing is made here
        try:
            with told(folder, "Opening the study"):
                self.artefacts.mkdir(parents=True, exist_ok=True)
        except StorageFailed:
            if address:
                raise
        self._pending = Pending(folder)
        self._away = False  # what is shared, when it was last needed
        self._files = self._place(artefacts)
        self.artefacts = self._files.folder

    def claim(self, **belonging: str) -> None:
        """Write what the study is about, or check that the folder is about the same.

        Raises: `BadFile` when it holds another study.
        """
        for key, value in belonging.items():
            stored = self._claimed(key, value)
            if stored != value:
                raise BadFile(
                    f"{self.name} holds a study of another {key} ({stored}, this one is {value}). "
                    "Choose another path, or load the model and data it was made with."
                )

    def describe(self, **words: str) -> None:
        """Write what the study is called, for lists, where that is not written yet and may be."""
        try:
            for key, value in words.items():
                self._claimed(key, value)
        except StorageFailed:  # it may be read and not written
            return

    @property
    def about(self) -> dict[str, str]:
        """What `claim` and `describe` wrote, and the version."""
        with self.database.reading() as connection:
            return {str(key): str(value) for key, value in connection.execute(select(study)).all()}

    @property
    def waiting(self) -> str:
        """A sentence where finished variants wait in the folder for what is shared to be back; else ""."""
        count = len(self._pending.entries())
        return count * "." and (
            f"{self.name} or the place of its files cannot be reached. Finished variants are kept in "
            f"{self._pending.folder} ({count} now), and written there once it is back: before the next run, or when "
            "the study is opened again."
        )

    def store(self, record: Record, onnx: Path, state: Path) -> Record:
        """Take in a variant and its files, in one step; gives what is stored of it then.

        Where another process was first with the same variant, that one is kept. A row whose files are damaged
        or that cannot be read is replaced, and its content set aside. Where a shared database cannot be reached the
        variant waits in the folder, and is written as soon as it can be.
        Raises: `OverQuota` where a visitor of this page may not store so much, `StorageFailed`.
        """
        quota.here().check_room()
        for file in (onnx, state):
            keep_on_disk(file)
        record = replace(record, onnx=content_name(onnx), state=content_name(state))
        files = {record.onnx: onnx, record.state: state}
        try:
            return self._commit(record, files)
        except Away:
            with told(self.folder, "Keeping a variant until its database is back"):
                self._pending.add(record, files, self.artefacts)
            self._tell()
            return record

    def records(self) -> list[Record | Damaged]:
        """Every variant, in order of creation; while a shared database is away, those that wait for it."""
        found: list[Record | Damaged] = []
        try:
            with self.database.reading() as connection:
                found = stored_rows(connection)
            if self._pending.flush(self._commit):
                with self.database.reading() as connection:
                    found = stored_rows(connection)
            self._away = False
        except Away:
            self._tell()
        known = {one.id for one in found}
        return [*found, *(one for one in self._pending.records() if one.id not in known)]

    def whole(self, record: Record) -> bool:
        """Whether both files are there, with the content that they were stored with."""
        return not any(self._files.problem(name) for name in (record.onnx, record.state))

    def problem(self, file: Path) -> str:
        """Why a file of `artefacts` is not to be used; "" where it is whole. One that is elsewhere is fetched."""
        return self._files.problem(file.name) if file.parent == self.artefacts else problem(file)

    def labels(self) -> dict[str, Label]:
        """What users wrote on variants, by id; what cannot be read is left out."""
        with self.database.reading() as connection:
            return stored_labels(connection)

    def label(self, identity: str, label: Label) -> None:
        """Keep what a user wrote on a variant."""
        with self._writing() as connection:
            connection.execute(delete(labels).where(labels.c.id == identity))
            connection.execute(insert(labels).values(id=identity, label=label.to_json()))

    def devices(self) -> dict[str, str]:
        """What devices answered, by their ids; nothing while a shared database is away."""
        with suppress(Away), self.database.reading() as connection:
            return stored_devices(connection)
        return {}

    def keep_device(self, identity: str, content: str) -> None:
        """Keep what a device answered, in the place of what it answered before."""
        with self._writing() as connection:
            connection.execute(delete(devices).where(devices.c.id == identity))
            connection.execute(insert(devices).values(id=identity, content=content))

    def forget_device(self, identity: str) -> None:
        """Take out what a device answered."""
        with self._writing() as connection:
            connection.execute(delete(devices).where(devices.c.id == identity))

    def delete(self, identity: str) -> None:
        """Take a variant out, then its files that no other variant has."""
        with self._writing() as connection:
            mine = variants.c.id == identity
            names = connection.execute(select(variants.c.onnx, variants.c.state).where(mine)).first() or ()
            connection.execute(delete(variants).where(mine))
            connection.execute(delete(labels).where(labels.c.id == identity))
        with self._writing() as connection:  # killed before this, files are left over: none is missing
            for name in filter(NAMED.fullmatch, map(str, names)):
                users = select(variants.c.id).where(or_(variants.c.onnx == name, variants.c.state == name))
                if connection.execute(users).first() is None:
                    self._files.remove(name)

    def unused(self, *, remove: bool = False) -> dict[str, int]:
        """The files that no variant has, with their bytes; with `remove` they are deleted.

        Nobody stores a variant meanwhile, so none that is being written is among them.
        """
        with self._writing() if remove else self.database.reading() as connection:
            rows = connection.execute(select(variants.c.onnx, variants.c.state)).all()
            used = {str(name) for row in rows for name in row}
            with told(self.artefacts, "Looking for files that no variant has"):
                found = {name: size for name, size in self._files.sizes().items() if name not in used}
                for name in found if remove else ():
                    self._files.remove(name)
        return found

    def _place(self, given: str | Path | None) -> Artefacts:
        """Where the files are: in the study's own folder, or where it or its user says.

        Raises: `BadFile` where the files of its variants are not there.
        """
        if given is None and isinstance(self.database, File) and "artefacts" not in self.about:
            return Artefacts(self.artefacts)
        said = None if given is None else _checked(given)
        recorded = self._claimed("artefacts", said or str(self.artefacts.absolute()))
        files = artefacts_at(said or recorded, self.artefacts)
        with self.database.reading() as connection:
            names = connection.execute(select(variants.c.onnx).limit(_LOOKED_AT)).scalars().all()
        if names and not any(files.has(str(name)) for name in names):
            raise BadFile(
                f"The files of this study are not in {hidden(files.place)}: they were kept in {hidden(recorded)}. Give "
                "artefacts= the folder or the address where they are; `workbench study show` shows figures without "
                "them."
            )
        with told(files.folder, "Making the folder of the files"):
            files.open()
        if not names and recorded != files.place:  # nothing is there yet: from here on it is kept where the user says
            with self.database.writing() as connection:
                mine = study.c.key == "artefacts"
                connection.execute(update(study).where(mine).values(value=files.place))
        return files

    def _commit(self, record: Record, files: Mapping[str, Path]) -> Record:
        with told(self.artefacts, "Keeping the files of a variant"):
            self._files.send(files)
        with self.database.writing() as connection:
            found = stored_rows(connection, record.id)
            if found and isinstance(found[0], Record) and self.whole(found[0]):
                return found[0]
            self._files.settle(files)
            write_row(connection, record.row)
        return record

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        self._pending.flush(self._commit)
        with self.database.writing() as connection:
            yield connection

    def _tell(self) -> None:
        """Warn once that what is shared is away."""
        if not self._away and self.waiting:
            self._away = True
            warnings.warn(self.waiting, stacklevel=4)

    def _claimed(self, key: str, value: str) -> str:
        query = select(study.c.value).where(study.c.key == key)
        with self.database.reading() as connection:
            found = connection.execute(query).scalar()
        if found is None:
            with self.database.writing() as connection:
                found = connection.execute(query).scalar()
                if found is None:
                    connection.execute(insert(study).values(key=key, value=value))
                    found = value
        return str(found)


def _checked(place: str | Path) -> str:
    if not isinstance(place, (str, Path)) or place == "":
        raise BadValue(f"artefacts is {place!r}. Give a folder, or an address such as s3://bucket/folder.")
    return str(place) if is_url(place) else str(Path(place).absolute())
