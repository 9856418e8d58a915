"""Studies as they are stored, without their networks and data: listed, shown, compared, tidied up, taken elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select

from workbench.devices.answered import by_age
from workbench.diagnosis.comparison import Contrast, figures
from workbench.errors import BadFile, BadValue, WorkbenchError, unknown
from workbench.files.disk import told
from workbench.frames.frame import to_frame
from workbench.keeping import answered, finished, shared_home, studies_folder, unreadable
from workbench.studies.copying import copy_study
from workbench.studies.database import Database, File
from workbench.studies.naming import Names
from workbench.studies.records import Damaged, stored_devices, stored_labels, stored_rows
from workbench.studies.server import Server, hidden, is_url
from workbench.studies.storage import Storage
from workbench.studies.tables import study
from workbench.untrusted.quota import stored_bytes
from workbench.variant import Finished

if TYPE_CHECKING:
    import pandas as pd

#: How a table is written, by the end of the file's name.
TABLES = (".csv", ".parquet", ".json")


@dataclass(frozen=True)
class Entry:
    """A study in a list. `problem` says why it cannot be read, "" where it can."""

    study: str
    model: str = ""
    data: str = ""
    variants: int = 0
    bytes: int = 0
    changed: str = ""  # when the newest variant was made: ISO 8601, UTC
    problem: str = ""


class Kept:
    """A study by its place: a folder, the address of a database, or the name of one among the user's own.

    Looking at it writes nothing, also where an earlier workbench made it.
    Raises: `UnknownName`, `BadFile` where there is no study, `StorageFailed`.
    """

    def __init__(self, place: str) -> None:
        self.address = place if is_url(place) else ""
        self._folder = None if self.address else _found(place)
        self.name = hidden(place) if self.address else str(self._folder)
        self._database: Database = File(self._folder) if self._folder else Server(self.address)
        self._database.only_read()
        self._names = Names()
        #: What could not be read, a sentence each.
        self.notes: list[str] = []
        self.variants = self._read()

    @cached_property
    def about(self) -> dict[str, str]:
        """What is said of the study: `model_name`, `data_name`, `judged_by`, hashes."""
        with self._database.reading() as connection:
            return {str(key): str(value) for key, value in connection.execute(select(study)).all()}

    @property
    def entry(self) -> Entry:
        """What a list says of the study."""
        size = stored_bytes(self._folder) if self._folder else 0
        name, data = self.about.get("model_name", ""), self.about.get("data_name", "")
        changed = max((one.created for one in self.variants), default="")
        return Entry(self.name, name, data, len(self.variants), size, changed)

    @property
    def place(self) -> str:
        """What `wb.Study(path=...)` opens it by."""
        return str(self._folder) if self._folder is not None else self.address

    def frame(self) -> pd.DataFrame:
        """As `Study.frame`."""
        frame = to_frame(self.variants)
        frame.attrs["judged_by"] = self.about.get("judged_by", "accuracy")
        return frame

    def variant(self, name: str) -> Finished:
        """A variant by its id, the beginning of one, or its name. Raises: `UnknownName`, `BadValue` for several."""
        exact = [one for one in self.variants if name in (one.id, one.name)]
        found = exact or [one for one in self.variants if name and one.id.startswith(name)]
        if not found:
            raise unknown("variant", name, [text for one in self.variants for text in (one.name, one.id)])
        if len(found) > 1:
            raise BadValue(f"{name!r} may be {' or '.join(one.id for one in found)}. Give more of the id.")
        return found[0]

    def compare(self, first: str, second: str) -> list[Contrast]:
        """What becomes of every figure from one variant to another, paired on the same inputs where that was kept."""
        return figures(self.variant(first), self.variant(second))

    def tidy(self, *, remove: bool) -> dict[str, int]:
        """The files that no variant has, with their bytes; with `remove` they are deleted."""
        return self._storage().unused(remove=remove)

    def save(self, target: Path) -> list[str]:
        """Write the table to a file of `TABLES`, or the whole study to a folder or a .zip; gives what is missing there.

        Raises: `BadFile` where a study is to go and something is there, `StorageFailed`.
        """
        if target.suffix not in TABLES:
            return copy_study(self._storage(), target)
        frame = self.frame()
        frame.attrs = {}  # what only comparisons read
        with told(target, "Writing the table"):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                _write(frame, target)
            except ImportError as error:
                raise BadFile(f"{target} needs pyarrow: pip install 'nn-workbench[tables]'. Or write .csv.") from error
        return []

    def _storage(self) -> Storage:
        if self._folder is not None:
            return Storage(self._folder)
        about = self.about
        name = f"{about.get('model_name', '')}-{about.get('data_name', '')}"
        folder = shared_home(name, self.name, about.get("model", ""), about.get("data", ""))
        return Storage(folder, self.address)

    def _read(self) -> list[Finished]:
        with self._database.reading() as connection:
            rows, self._names.labels = stored_rows(connection), stored_labels(connection)
            devices, notes = answered(stored_devices(connection))
        self.notes += notes
        #: What devices answered, the oldest first.
        self.devices = by_age(devices)
        found = []
        for row in rows:
            try:
                if isinstance(row, Damaged):
                    raise row.error
                found.append(finished(row, self._names, devices=self.devices))
            except (WorkbenchError, RecursionError) as error:
                self.notes.append(unreadable(row.id, row.recipe, error))
        self._names.update({one.id: one.recipe for one in found})
        return found


def listed(place: str = "") -> list[Entry]:
    """The studies in a folder, or at an address; without one, those among the user's own. The newest come first."""
    if place and (is_url(place) or _holds(Path(place))):
        return [Kept(place).entry]
    folder = Path(place) if place else studies_folder()
    if place and not Path(place).is_dir():
        raise BadFile(f"There is no folder {place}. Give one that holds studies, or the address of a database.")
    return sorted(_entries(folder), key=lambda one: one.changed, reverse=True) if folder else []


def _entries(folder: Path) -> Iterator[Entry]:
    for one in sorted(folder.iterdir()) if folder.is_dir() else ():
        if _holds(one):
            try:
                yield Kept(str(one)).entry
            except WorkbenchError as error:
                yield Entry(str(one), problem=str(error))


def _found(place: str) -> Path:
    """The folder of a study that is named by its path, or by its name among the user's own."""
    if place and _holds(Path(place)):
        return Path(place)
    own = studies_folder()
    known = [one.name for one in own.iterdir() if _holds(one)] if own and own.is_dir() else []
    found = [name for name in known if name == place] or [name for name in known if place and name.startswith(place)]
    if own and len(found) == 1:
        return own / found[0]
    if found:
        raise BadValue(f"{place!r} may be {' or '.join(sorted(found))}. Give more of the name.")
    if place and Path(place).exists():
        raise BadFile(f"There is no study in {place}. `workbench study ls` lists those of yours.")
    raise unknown("study", place, known)


def _holds(folder: Path) -> bool:
    return (folder / "study.sqlite").is_file()


def _write(frame: pd.DataFrame, target: Path) -> None:
    if target.suffix == ".csv":
        frame.to_csv(target, index=False)
    elif target.suffix == ".json":
        frame.to_json(target, orient="records", indent=2)
    else:
        frame.to_parquet(target, index=False)
