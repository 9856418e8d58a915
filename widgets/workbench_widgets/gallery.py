"""The models and data of one visitor: bundled, of the big collections, uploaded, or named by a path."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import workbench as wb
from workbench.data import Data
from workbench.data.matching import misfit
from workbench.errors import BadFile, BadValue
from workbench.models import Model
from workbench.models.architectures import BUNDLED
from workbench.recipe import Recipe
from workbench.study import Study
from workbench.untrusted import check_apart
from workbench.variant import Variant
from workbench_widgets import desk, uploads
from workbench_widgets.desk import Kept, Origin
from workbench_widgets.noise import NOISE, noise
from workbench_widgets.store import Card

DATA = "fashion-mnist"


class Gallery:
    """Loads what is chosen, once, and keeps the studies of what was looked at."""

    def __init__(self) -> None:
        self._models: dict[str, Model] = {}
        self._studies: dict[tuple[str, str], Study] = {}
        self._home: Data | None = None  # of the study that was given
        self._data: Data | None = None  # what was opened
        self._opened_from: Origin = ()  # where these come from
        self._origins: dict[Path, Origin] = {}  # where a study's data come from, by its folder

    def study(self, name: str) -> Study:
        """The study of a model by its card's name, on the data that were opened last and fit it.

        Raises: as `wb.load` and `Study`.
        """
        model = self._model(name)
        data = self._fitting(model) or noise(model)
        key = (name, data.hash)
        if key not in self._studies:
            study = self._studies.setdefault(key, Study(model, data))
            if data is self._data:
                self._origins[study.path] = self._opened_from
        return self._studies[key]

    def reopen(self, kept: Kept) -> Card:
        """Take up a study of before, with its data. Raises: as `desk.study_of`."""
        study = desk.study_of(kept)
        self._models[study.model.name] = study.model
        self._data, self._opened_from = study.data, kept.data_from
        self._origins[study.path] = kept.data_from
        self._studies[study.model.name, study.data.hash] = study
        return card(study.model, study.find(Recipe()))

    def origin(self, study: Study) -> Origin:
        """Where a study's data come from; () where only a notebook has them."""
        if study.data.name == NOISE:
            return (NOISE, "")
        if study.path not in self._origins:
            self._origins[study.path] = desk.bundled(study.data)
        return self._origins[study.path]

    def _model(self, name: str) -> Model:
        """The network is the same one each time, so that its study is."""
        if name not in self._models:
            self._models[name] = wb.load(name)
        return self._models[name]

    def _fitting(self, model: Model) -> Data | None:
        """What variants of a model are measured on: of what was opened, given or bundled the first that fits it."""
        own = (data for data in (self._data, self._home) if data is not None)
        return next((data for data in (*own, wb.data(trained_on(model))) if fits(model, data)), None)

    def keep(self, study: Study) -> Card:
        """Take a study that is there already."""
        self._models[study.model.name] = study.model
        self._home = study.data
        self._studies[study.model.name, study.data.hash] = study
        return card(study.model, study.find(Recipe()))

    def open(self, path: Path, *, uploaded: bool) -> Card | Data:
        """A file's model as a card, or its data, which are used from then on. Raises: `BadFile`, `BadValue`."""
        if not uploaded and not path.exists():
            raise BadFile(f"There is no file or folder {path}. Type the whole path.")
        if uploaded and uploads.published():
            check_apart(f"{uploads.__name__}:read", path)
        found = uploads.read(path) if uploaded or path.suffix.lower() in uploads.DATA_FILES else wb.load(path)
        if isinstance(found, Model):
            return self.add(found)
        self._data = found
        self._opened_from = desk.keep_upload(path) if uploaded else ("path", str(path.resolve()))
        return found

    def add(self, model: Model) -> Card:
        """Put a loaded model among the cards."""
        self._models[model.name] = model
        return card(model)

    def go_home(self) -> None:
        """Measure on the data of before again."""
        self._data = None


def card(model: Model, original: Variant | None = None) -> Card:
    """A model's card; the accuracy is known once the original was measured."""
    totals = model.network.totals
    accuracy = original.estimates.get("accuracy") if original else None
    return Card(model.name, accuracy.value if accuracy else None, totals.macs, totals.params)


def trained_on(model: Model) -> str:
    """The bundled data that a bundled network belongs to; for any other network the usual ones."""
    return BUNDLED[model.source].data if model.source in BUNDLED else DATA


def fits(model: Model, data: Data) -> bool:
    """Whether the inputs are those that the model takes."""
    try:
        return not misfit(data["test"].like(model.example).example, model.example)
    except BadValue:
        return False


def from_zoo(zoo: str, name: str, trained: bool) -> Model:
    """A network of torchvision or timm, under the name that `wb.load` takes. Raises: as `wb.load`, `BadValue`."""
    if not name.strip():
        raise BadValue(f"Type the name of a network of {zoo}, such as resnet18.")
    source = f"{zoo}:{name.strip()}"
    return dataclasses.replace(wb.load(source, weights="DEFAULT" if trained else None), name=source)
