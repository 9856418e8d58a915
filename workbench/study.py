"""`Study`: one model, one data set, and every variant tried, kept in memory or in a folder."""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from workbench.data import Data
from workbench.data.classes import check_classes
from workbench.data.matching import misfit
from workbench.devices.asking import Inviting
from workbench.diagnosis.elsewhere import Elsewhere
from workbench.errors import BadFile, BadValue, StorageFailed, unknown
from workbench.files.disk import told, workspace
from workbench.frames.frame import to_frame, where_rows
from workbench.frames.pareto import front
from workbench.interface.arguments import check_kinds
from workbench.interface.neutral import neutrally
from workbench.jobs import Gate, Job, Reporter
from workbench.keeping import Keeping, finished, home, shared_home, shown
from workbench.making import Making
from workbench.measure.affordable import drawn
from workbench.measure.figures import prepare
from workbench.measure.machine import machine
from workbench.models.model import Model, check_model
from workbench.recipe import Recipe, as_recipe
from workbench.search.searching import Searching
from workbench.step import Step
from workbench.studies.naming import Names
from workbench.studies.records import Record
from workbench.studies.server import hidden, is_url
from workbench.studies.storage import Storage
from workbench.tasks import Metric, Task, recognise, seen_of
from workbench.tasks.metric import Function
from workbench.variant import Variant

if TYPE_CHECKING:
    import pandas as pd

    from workbench.workers.crew import Crew


class Study(Elsewhere, Keeping, Inviting, Making, Searching):
    """Runs recipes on one model and one data set, and remembers every finished variant.

    A recipe that trains and was killed or cancelled goes on from its last checkpoint when it is run again. A
    variant whose files are missing or were changed is made and measured anew when its recipe is run again.

    Args:
        model: the network, from `wb.load`.
        data: the data set, from `wb.data`; its images must have the shape of the model's example.
        path: a folder to keep the study in; reopening it restores every variant. None takes a folder by model, data,
            settings and machine among the user's own (`study.path`; `WORKBENCH_HOME` names another place), so that
            the same line later, or in another session, finds what was measured. The address of a PostgreSQL database,
            `postgresql+psycopg://user@host/database`, shares the study; a password is better left to PGPASSWORD or
            ~/.pgpass. What is finished while the database cannot be reached is kept here and written when it is back.
        recalibrate: re-estimate batch norm after rewriting steps.
        task: what is asked of the network: "classification", "multi-label", "segmentation", "detection",
            "regression", "images", "sequences", "ctc", "embeddings". It decides how answers are judged, what is
            trained on, and the words on the screen. None recognises it from outputs and labels. Data without labels
            are measured by their agreement with the original.
        metric: what to judge by instead of the task's own figure: a name such as "top5" or "miou", a metric of
            torchmetrics, a function of (outputs, labels) that returns one value an input or one number for all, or a
            `workbench.tasks.Metric`. Its column bears its name.
        minutes: how long one network may take over the inputs that it is judged by. Of many, so many are drawn at
            random as the original gets through in this time, the same for every variant; intervals are those of so
            many. None takes all.
        keep: False forgets a study without a path at exit; one with a metric function of one's own is never kept
            without a path, since the function may have changed by then.
        artefacts: where the variants' files are: a folder, or an address that fsspec knows (`s3://bucket/folder`).
            The study remembers it for whoever opens it next. None: in the study's folder; those of a shared study
            in one of this machine.

    Raises: `BadValue` when data, metric and model do not fit, `BadFile` when `path` holds another study,
    `StorageFailed` where it cannot be written.

    >>> study = wb.Study(model, data)
    >>> variant = study.run(wb.Quantize("int8"), progress=False)
    >>> study.frame()["name"].tolist()
    ['original', 'int8']
    """

    @neutrally
    def __init__(  # noqa: PLR0913  # what a study is; all but the first two have a default
        self,
        model: Model,
        data: Data,
        path: str | Path | None = None,
        *,
        recalibrate: bool = True,
        task: Task | str | None = None,
        metric: Metric | str | Function | None = None,
        minutes: float | None = None,
        keep: bool = True,
        artefacts: str | Path | None = None,
    ) -> None:
        _check_fit(model, data)
        #: What is asked of the network.
        seen = seen_of(model.module, model.example, data["test"])
        self.task = recognise(seen, task, metric)
        if self.task.name == "classification" and metric is None:  # other splits are looked at where they are used
            check_classes(data["test"].labels, seen.output[0], f"{data.name}, split 'test',")
        self.model, self.recalibrate = model, recalibrate
        self.data = self._given = _told(data.like(model.example), self.task, said=task is None and metric is None)
        self.minutes = _checked(minutes)
        self._asked = task, metric
        #: The name of the figure that variants are judged by.
        self.metric_name = self.task.principal.name
        self._judged = None if metric is None else self.metric_name
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        #: What should be known about the study as a whole: variants that could not be read, where it is kept.
        self.notes: list[str] = []
        own = not (metric is None or isinstance(metric, str)) or isinstance(task, Task)
        self._storage = self._open(path, artefacts, keep and not own)
        self.path = self._storage.folder
        self._variants: dict[str, Variant] = {}
        self._unreadable: dict[str, str] = {}
        self._names = Names()
        self._lock = threading.Lock()
        self._gate = Gate()  # one recipe at a time: two would disturb each other's measurements
        self._recall()
        self._restore()
        self.notes += self._unreadable.values()
        for note in self.notes:
            warnings.warn(note, stacklevel=2)
        self._said = path is not None or self._temporary is not None  # where it is kept: the user knows, or nowhere

    @property
    def variants(self) -> list[Variant]:
        """Every finished variant, in order of creation."""
        with self._lock:
            return list(self._variants.values())

    @property
    def kept(self) -> str:
        """Where it is kept, as its user knows the place; "" where it goes at exit."""
        return self._storage.address or ("" if self._temporary is not None else shown(self.path))

    @property
    def baseline(self) -> Variant:
        """The original network, measured on first use."""
        return self.run(Recipe())

    def __getitem__(self, id: str) -> Variant:  # noqa: A002  # the column's name
        with self._lock:
            if not isinstance(id, str) or id not in self._variants:
                raise unknown("variant", id, self._variants)
            return self._variants[id]

    def find(self, recipe: Recipe | Step) -> Variant | None:
        """The finished variant of a recipe, or None."""
        with self._lock:
            return self._variants.get(self.id_of(as_recipe(recipe)))

    @check_kinds
    def id_of(self, recipe: Recipe) -> str:
        """The id that a recipe's variant has or will have here: a digest of model, data, recipe and settings."""
        content = [self.model.hash, self._given.hash, recipe.to_list(), self.recalibrate, *self._differs]
        text = json.dumps(content, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def _differs(self) -> list[str]:
        """What it measures where that does not follow from model and data: part of what tells its variants apart."""
        usual = self._judged is None and self.task.name in {"none", "classification"}
        named = [] if usual else [self._judged] if self._judged else [self.task.name, self.metric_name]
        return named if self.minutes is None else [*named, f"in {self.minutes:g} min"]

    def run(self, recipe: Recipe | Step, *, progress: Callable[[float, str], None] | bool = True) -> Variant:
        """The variant of a recipe: applied, exported to ONNX and measured; from the cache the second time.

        `progress`: a bar on the terminal (True), nothing (False), or a function of (fraction, stage).

        Raises: `BadValue`, `UnknownName`, `StepFailed`, `MeasurementFailed`, `Cancelled`.
        """
        from workbench.progress import follow

        if progress is True and not self._said:
            self._said = True
            print(f"This study is kept in {shown(self.path)}.", file=sys.stderr)
        return self._whole(as_recipe(recipe)) or follow(self.submit(recipe), progress)

    def submit(self, recipe: Recipe | Step) -> Job[Variant]:
        """The same without blocking: `job.progress`, `job.cancel()`, `job.result()`."""
        recipe = as_recipe(recipe)
        recipe.plan(self.model).required()  # a recipe that cannot work is refused here, not on the job's thread
        return self._job(recipe.name, lambda report: self._make(recipe, report))

    def frame(self) -> pd.DataFrame:
        """One row a variant; measured columns have `_low` and `_high` beside them. See `workbench.frames.frame`."""
        frame = to_frame(self.variants)
        frame.attrs["judged_by"] = self.metric_name
        frame.attrs["more_is_better"] = [one.name for one in self.task.metrics if one.more_is_better]
        return frame

    @check_kinds
    def pareto(self, y: str = "", x: str = "speedup", where: str | None = None) -> pd.DataFrame:
        """The rows of `frame()` that no other beats in both `y` and `x`, sorted by `x`.

        `y` is accuracy, or what this study measures in its place. `where` limits the rows first, in pandas'
        query language: `"accuracy >= 0.92"`.
        Raises: `UnknownName` for a column, `BadValue` for a limit that cannot be read.
        """
        return front(where_rows(self.frame(), where), x, y or self.metric_name)

    def _make(self, recipe: Recipe, report: Reporter, crew: Crew | None = None) -> Variant:
        self._restore()  # what another process may have finished in the meantime
        found = self._whole(recipe)
        if found is not None:
            return found
        if not recipe.steps:
            prepare(report.part(0.0, 0.1))
            report = report.part(0.1, 1.0)
        elif self._whole(Recipe()) is None:
            self._make(Recipe(), report.part(0.0, 0.3))
            report = report.part(0.3, 1.0)
        report = report.alone()  # several variants may be made in one job, as by a search
        if self.find(recipe) is not None:
            report.note(f"The files of {recipe.name} were missing or changed, so it was made and measured again.")
        try:
            with told(self.path, f"Running {recipe.name}", self._need), workspace(self.path) as folder:
                variant = self._variant(self._store(recipe, folder, report, crew))
        except StorageFailed:
            self._restore()  # another process that was first with it has tidied up what both were working on
            if (found := self._whole(recipe)) is None:
                raise
            return found
        self._take(variant)
        return variant

    def _restore(self) -> None:
        super()._restore()
        original = self.find(Recipe())
        if self.minutes is not None and original is not None and self.data is self._given:
            self._draw(original.estimates[self.metric_name].n)

    def _draw(self, inputs: int) -> None:
        """Judge by so many inputs from here on."""
        self.data = drawn(self._given, inputs)
        with self._lock:
            self._variants = {key: replace(one, data=self.data) for key, one in self._variants.items()}

    @property
    def _need(self) -> int:
        """About how many bytes a variant takes on the disk: its weights, in the artefact and as they are."""
        return 2 * 4 * self.model.network.totals.params

    def _open(self, path: str | Path | None, artefacts: str | Path | None, keep: bool) -> Storage:
        """The study's place; where none is given and the usual one cannot be used, a folder that goes at exit."""
        name = f"{self.model.name}-{self.data.name}"
        if is_url(path):
            folder = shared_home(name, hidden(str(path)), self.model.hash, self._given.hash)
            return self._claimed(folder, artefacts, str(path))
        if path is None and keep:
            about = self.id_of(Recipe()), machine().fingerprint
            usual = home(name, *about)
            try:
                if usual is not None:
                    return self._claimed(usual, artefacts)
            except (BadFile, StorageFailed) as error:
                self.notes.append(f"This study is not kept beyond this session. {error}")
        if path is None:
            with told(Path(tempfile.gettempdir()), "Making a folder for the study"):
                self._temporary = tempfile.TemporaryDirectory(prefix="workbench-")
            path = self._temporary.name
        if not isinstance(path, (str, Path)) or path == "":
            raise BadValue(f"path is {path!r}. Give the name of a folder, or leave it out.")
        return self._claimed(Path(path), artefacts)

    def _claimed(self, folder: Path, artefacts: str | Path | None, address: str = "") -> Storage:
        storage = Storage(folder, address, artefacts)
        storage.claim(model=self.model.hash, data=self._given.hash)
        storage.describe(model_name=self.model.name, data_name=self._given.name, judged_by=self.metric_name)
        return storage

    def _variant(self, record: Record) -> Variant:
        found = finished(record, self._names, self._storage, self.devices)
        return Variant(model=self.model, data=self.data, **vars(found))


def _check_fit(model: Model, data: Data) -> None:
    check_model(model, "A study needs")
    if not isinstance(data, Data):
        raise BadValue(f"A study needs data from wb.data, got {type(data).__name__}.")
    wrong = misfit(data["test"].like(model.example).example, model.example)
    if wrong:
        raise BadValue(
            f"The images of {data.name}{wrong} "
            "(channels, height, width). Load data of that shape, or the model with example= of the data's shape."
        )


def _checked(minutes: float | None) -> float | None:
    if minutes is None or (isinstance(minutes, (int, float)) and not isinstance(minutes, bool) and 0 < minutes < 1e6):
        return minutes
    raise BadValue(f"minutes is {minutes!r}. Give how long one network may take, such as 2, or None for all inputs.")


def _told(data: Data, task: Task, *, said: bool) -> Data:
    """The data of a study: they know what is asked on them, and say so where it was recognised and is not usual."""
    usual = task.name in {"none", "classification"} or not said
    metric = task.principal
    how = f" (its interval from {metric.draws} draws of the inputs)" if metric.whole else ""
    note = () if usual else (f"Taken for {task.title}, judged by {metric.word}{how}; task= says otherwise.",)
    return replace(data, task=task, notes=data.notes + note)
