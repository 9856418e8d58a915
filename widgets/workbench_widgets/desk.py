"""Studies of before: a note beside each kept one says what was on the screen, and how its data come back."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import workbench as wb
from workbench.data import Data
from workbench.data.bundled import BUNDLED as DATA
from workbench.errors import BadFile, WorkbenchError
from workbench.files.content import content_name
from workbench.keeping import shelf
from workbench.models import Model
from workbench.models.architectures import BUNDLED
from workbench.recipe import Recipe
from workbench.study import Study
from workbench_widgets.noise import NOISE, noise

NOTE = "desk.json"
#: A longer note was not written here.
LONGEST = 1 << 20
#: What is noted of the screen beside the study: the fields of the state that are plain values.
VIEWED = ("selected", "x", "y", "size")
#: How data come back: a word and what it is for; () where only a notebook has them.
Origin = tuple[str, str] | tuple[()]
GONE = "Its data came from a notebook: make the study there again, and it is here with all its variants."


@dataclass(frozen=True)
class Kept:
    """A study that is kept in a folder of the shelf, as its note tells of it.

    `network`: the file of the original's weights, "" before it was measured. `data_from`: a bundled name, a path or
    "noise", behind the word for which; () where only a notebook has them.
    """

    folder: Path
    model: str
    data: str
    variants: int
    opened: str
    network: str = ""
    data_from: Origin = ()
    recipe: str = ""
    viewed: Mapping[str, Any] = field(default_factory=dict)

    @property
    def problem(self) -> str:
        """Why it cannot be opened from here; "" where it can."""
        if not self.data_from:
            return GONE
        if self.data_from[0] == "path" and not Path(self.data_from[1]).exists():
            return f"Its data, {self.data_from[1]}, are not there any more."
        if self.model not in BUNDLED and not (self.network and (self.folder / "artefacts" / self.network).is_file()):
            return "Its network was not measured yet, and is not kept here. Load it again."
        return ""


def earlier() -> tuple[Kept, ...]:
    """The studies of before, the latest first; those without a note that can be read are left out."""
    place = shelf()
    if place is None or not place.is_dir():
        return ()
    found = (read(folder) for folder in place.iterdir() if folder.is_dir())
    return tuple(sorted((one for one in found if one is not None), key=lambda one: one.opened, reverse=True))


def read(folder: Path) -> Kept | None:
    """The note of a study's folder; None where there is none, or it is not what was written here."""
    file = folder / NOTE
    try:
        if file.stat().st_size > LONGEST:
            return None
        found = json.loads(file.read_text(encoding="utf-8"))
        return _kept(folder, found)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None


def _kept(folder: Path, found: dict[str, Any]) -> Kept:
    origin: Origin = ()
    if found["data_from"]:
        how, where = (str(one) for one in found["data_from"])
        origin = (how, where)
    return Kept(
        folder,
        model=str(found["model"]),
        data=str(found["data"]),
        variants=int(found["variants"]),
        opened=str(found["opened"]),
        network=Path(str(found["network"])).name,
        data_from=origin,
        recipe=str(found["recipe"]),
        viewed={name: found["viewed"][name] for name in VIEWED if isinstance(found["viewed"].get(name), str)},
    )


def write(study: Study, kept: Kept) -> None:
    """Put a note beside a study, where that is kept on the shelf."""
    if shelf() != study.path.parent:
        return
    content = {name: value for name, value in asdict(kept).items() if name != "folder"}
    new = study.path / f"{NOTE}.{os.getpid()}.new"
    try:
        new.write_text(json.dumps(content), encoding="utf-8")
        new.replace(study.path / NOTE)
    except OSError:  # a full disk, or a folder that was deleted: the variants do not hang on what is noted of them
        new.unlink(missing_ok=True)


def model_of(kept: Kept) -> Model:
    """The network of a study of before. Raises: `BadFile` where it cannot be read any more."""
    if kept.problem:
        raise BadFile(f"{kept.model} on {kept.data} cannot be opened. {kept.problem}")
    if kept.model in BUNDLED:
        return wb.load(kept.model)
    return replace(wb.load(kept.folder / "artefacts" / kept.network), name=kept.model)


def data_of(kept: Kept, model: Model) -> Data:
    """The data of a study of before. Raises: `BadFile` where they are not there any more."""
    how, where = kept.data_from or ("", "")
    return noise(model) if how == NOISE else wb.data(where)


def study_of(kept: Kept) -> Study:
    """A study of before with all its variants.

    Raises: `BadFile` where model or data are gone, or what it was made with is not what a study has by default.
    """
    model = model_of(kept)
    study = Study(model, data_of(kept, model))
    if study.path != kept.folder:
        raise BadFile(
            f"{kept.model} on {kept.data} was made with other settings, data or on another machine: open it in a "
            f"notebook, with wb.Study(model, data, path={str(kept.folder)!r})."
        )
    return study


def keep_upload(path: Path) -> Origin:
    """Put uploaded data where a study of before finds them; () where nothing is kept."""
    place = shelf()
    if place is None:
        return ()
    target = place.parent / "data" / content_name(path) / path.name  # a data set is called by its file
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copyfile(path, target)
    except OSError:
        return ()
    return ("path", str(target))


def recipe_of(kept: Kept) -> Recipe:
    """What was in the editor; nothing where that cannot be read any more."""
    try:
        return Recipe.from_json(kept.recipe)
    except (WorkbenchError, RecursionError):
        return Recipe()


def bundled(data: Data) -> Origin:
    """Where data come from whose name is a bundled one; () for any others."""
    if data.name in DATA and wb.data(data.name).hash == data.hash:
        return ("bundled", data.name)
    return ()
