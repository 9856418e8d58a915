"""What is asked of a worker and what it answers: plain values, whose files go by their digests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import workbench
from workbench.data import Data
from workbench.data.travelling import Packed, pack
from workbench.errors import BadValue, StepFailed, WorkbenchError
from workbench.estimate import Estimate
from workbench.files.disk import workspace
from workbench.measure.paired import Sample
from workbench.models.model import Form, Model
from workbench.models.structure import load_form, save_form
from workbench.recipe import Recipe
from workbench.workers.shelf import Shelf


@dataclass(frozen=True)
class Order:
    """A recipe to carry out on a model, and to judge on data.

    Args:
        model: the file of the network, which is known by `content` (`Model.hash`).
        name, source: the model's.
        opened: as `Data.opened`; `data_content` is the data's hash.
        packed: the data as files; None where they are not packed, since workers may open them themselves.
        asked: the task and the metric as the study was told.
        inputs: so many test inputs are drawn to judge by; None for all.
        baseline: the file of the original's artefact; "" where there is none yet.
        recipe: as JSON.
        homes: modules that define the recipe's steps, beside the workbench's own.
        threads: of torch; None leaves what the worker has.
        token: of this try alone.
        version: of the workbench that asks.
    """

    model: str
    content: str
    name: str
    source: str
    opened: tuple[str, Any] | None
    data_content: str
    packed: Packed | None
    asked: tuple[Any, Any]
    recalibrate: bool
    inputs: int | None = None
    baseline: str = ""
    recipe: str = ""
    homes: tuple[str, ...] = ()
    threads: int | None = None
    token: str = ""
    version: str = workbench.__version__

    @property
    def files(self) -> list[str]:
        """The names of all files that it needs."""
        return [self.model, *filter(None, [self.baseline]), *(self.packed.files if self.packed else [])]

    def of(self, recipe: Recipe) -> Order:
        """The same for a recipe."""
        homes = sorted({type(step).__module__ for step in recipe if not type(step).__module__.startswith("workbench.")})
        return replace(self, recipe=recipe.to_json(), homes=tuple(homes))


@dataclass(frozen=True)
class Clocking:
    """An artefact to time against the original's, both files of the shelf; `seconds` as in `measure_latency`."""

    artefact: str
    baseline: str
    seconds: float
    token: str = ""
    version: str = workbench.__version__

    @property
    def files(self) -> list[str]:
        """The names of all files that it needs."""
        return [self.artefact, self.baseline]


@dataclass(frozen=True)
class Missing:
    """The worker lacks files, or data that it was to open itself."""

    files: tuple[str, ...] = ()
    data: bool = False


@dataclass(frozen=True)
class Refused:
    """The worker has another version of the workbench."""

    version: str


@dataclass(frozen=True)
class Failed:
    """What the workbench raised there: the error's class and its sentence."""

    kind: str
    message: str


@dataclass(frozen=True)
class Evaluated:
    """A recipe carried out and judged: the artefact, the network, the figures, and what a user should know."""

    onnx: bytes
    state: bytes
    estimates: Mapping[str, Estimate]
    samples: Mapping[str, Sample]
    notes: tuple[str, ...]
    made_with: Mapping[str, str]


@dataclass(frozen=True)
class Clocked:
    """Times of an artefact, and the machine that they were taken on, in words."""

    figures: Mapping[str, Estimate]
    machine: str


def order_of(
    model: Model, data: Data, asked: tuple[Any, Any], shelf: Shelf, *, recalibrate: bool, inputs: int | None
) -> Order:
    """An order without a recipe; the model's file is put on the shelf, and the data's where nobody else can open them.

    Raises: `BadValue` for a model or data that cannot travel, `StorageFailed`.
    """
    with workspace(shelf.folder) as folder:
        file = shelf.put(_written(model, folder / "model"))
    order = Order(file, model.hash, model.name, model.source, data.opened, data.hash, None, asked, recalibrate, inputs)
    return order if data.opened is not None else with_data(order, data, shelf)


def with_data(order: Order, data: Data, shelf: Shelf) -> Order:
    """The same with the data as files on the shelf. Raises: `BadValue`, `StorageFailed`."""
    with workspace(shelf.folder) as folder:
        packed = pack(data, folder)
        names = {name: shelf.put(folder / name) for name in dict.fromkeys(packed.files)}
    return replace(order, packed=packed.renamed(names))


def _written(model: Model, path: Path) -> Path:
    """The model's file, which reads as the same model. Raises: `BadValue`."""
    try:
        save_form(Form(model.module, model.example, model.notes), path)
        form = load_form(path)
        same = Model(form.graph, form.example, model.name, model.source, form.notes).hash == model.hash
        why = "" if same else "what is read back is another network"
    except (StepFailed, WorkbenchError, KeyError) as error:
        why = str(error)
    if why:
        raise BadValue(
            f"The model {model.name} cannot be sent to workers, since it cannot be written as a file: {why}. "
            "Search without executor=."
        )
    return path
