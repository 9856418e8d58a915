"""`Study`: one model, one data set, and every variant tried, kept in memory or in a folder."""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from workbench import build
from workbench.data import Data
from workbench.data.classes import check_classes
from workbench.errors import BadValue, unknown
from workbench.examination import Examination
from workbench.frame import to_frame, where_rows
from workbench.jobs import Gate, Job, Reporter
from workbench.measure.metrics import Function, Metric, as_metric
from workbench.measure.quality import has_classes, principal
from workbench.measure.variant import facts, measure, notes, predict, prepare
from workbench.models import Model
from workbench.models.structure import save_variant
from workbench.pareto import front
from workbench.recipe import Recipe, as_recipe
from workbench.steps.base import Step
from workbench.storage import Record, Storage
from workbench.variant import Variant

if TYPE_CHECKING:
    import pandas as pd


class Study(Examination):
    """Runs recipes on one model and one data set, and remembers every finished variant.

    A recipe that trains and was killed or cancelled goes on from its last checkpoint when it is run again.

    Args:
        model: the network, from `wb.load`.
        data: the data set, from `wb.data`; its images must have the shape of the model's example.
        path: a folder to keep the study in; reopening it restores every variant. None keeps it until exit.
        recalibrate: re-estimate batch norm after rewriting steps.
        metric: what to measure instead of accuracy: "top5", "miou", a function of (outputs, labels) that returns
            one value an input or one number for all, or a `workbench.measure.metrics.Metric`. Its column bears its
            name. Data without labels are measured by their agreement with the original.

    Raises: `BadValue` when data, metric and model do not fit, `BadFile` when `path` holds another study.
    """

    def __init__(
        self,
        model: Model,
        data: Data,
        path: str | Path | None = None,
        *,
        recalibrate: bool = True,
        metric: Metric | str | Function | None = None,
    ) -> None:
        self.model, self.data, self.recalibrate = model, data, recalibrate
        _check_fit(model, data, classified=metric is None)
        self.metric = None if metric is None else as_metric(metric)
        #: The name of the figure that variants are judged by: accuracy, agreement, or the metric's.
        self.measure = principal(data, self.metric)
        self._temporary = tempfile.TemporaryDirectory(prefix="workbench-") if path is None else None
        self.path = Path(self._temporary.name if self._temporary else path)  # type: ignore[arg-type]
        self._storage = Storage(self.path)
        self._storage.claim(model=model.hash, data=data.hash)
        self._variants: dict[str, Variant] = {}
        self._lock = threading.Lock()
        self._gate = Gate()  # one recipe at a time: two would disturb each other's measurements
        self._restore()

    @property
    def variants(self) -> list[Variant]:
        """Every finished variant, in order of creation."""
        with self._lock:
            return list(self._variants.values())

    @property
    def baseline(self) -> Variant:
        """The original network, measured on first use."""
        return self.run(Recipe())

    def __getitem__(self, id: str) -> Variant:  # noqa: A002  # the column's name
        with self._lock:
            if id not in self._variants:
                raise unknown("variant", id, self._variants)
            return self._variants[id]

    def find(self, recipe: Recipe | Step) -> Variant | None:
        """The finished variant of a recipe, or None."""
        with self._lock:
            return self._variants.get(self.id_of(as_recipe(recipe)))

    def id_of(self, recipe: Recipe) -> str:
        """The id that a recipe's variant has or will have here: a digest of model, data, recipe and settings."""
        facts = [self.model.hash, self.data.hash, recipe.to_list(), self.recalibrate]
        content = json.dumps(facts + ([self.metric.name] if self.metric else []), sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def run(self, recipe: Recipe | Step, *, progress: Callable[[float, str], None] | bool = True) -> Variant:
        """The variant of a recipe: applied, exported to ONNX and measured; from the cache the second time.

        `progress`: a bar on the terminal (True), nothing (False), or a function of (fraction, stage).

        Raises: `BadValue`, `UnknownName`, `StepFailed`, `MeasurementFailed`, `Cancelled`.
        """
        from workbench.progress import follow

        found = self.find(recipe)
        return found if found is not None else follow(self.submit(recipe), progress)

    def submit(self, recipe: Recipe | Step) -> Job[Variant]:
        """The same without blocking: `job.progress`, `job.cancel()`, `job.result()`."""
        recipe = as_recipe(recipe)
        recipe.sketches(self.model)  # a recipe that cannot work is refused here, not on the job's thread
        return Job(lambda report: self._make(recipe, report), name=recipe.name, gate=self._gate)

    def frame(self) -> pd.DataFrame:
        """One row a variant; measured columns have `_low` and `_high` beside them. See `workbench.frame`."""
        frame = to_frame(self.variants)
        if self.metric is not None and self.metric.more_is_better:
            frame.attrs["more_is_better"] = [self.metric.name]
        return frame

    def pareto(self, y: str = "", x: str = "latency_ms", where: str | None = None) -> pd.DataFrame:
        """The rows of `frame()` that no other beats in both `y` and `x`, sorted by `x`.

        `y` is accuracy, or what this study measures in its place. `where` limits the rows first, in pandas'
        query language: `"accuracy >= 0.92"`.
        Raises: `UnknownName` for a column, `BadValue` for a limit that cannot be read.
        """
        return front(where_rows(self.frame(), where), x, y or self.measure)

    def _make(self, recipe: Recipe, report: Reporter) -> Variant:
        found = self.find(recipe)
        if found is not None:
            return found
        if not recipe.steps:
            prepare(report.part(0.0, 0.1))
            report = report.part(0.1, 1.0)
        if recipe.steps and self.find(Recipe()) is None:
            self._make(Recipe(), report.part(0.0, 0.3))
            report = report.part(0.3, 1.0)
        with tempfile.TemporaryDirectory(dir=self.path) as folder:
            variant = self._work(recipe, Path(folder), report)
        with self._lock:
            return self._variants.setdefault(variant.id, variant)

    def _work(self, recipe: Recipe, folder: Path, report: Reporter) -> Variant:
        unfinished = self.path / "unfinished" / self.id_of(recipe)
        module = build.rewrite(
            self.model, recipe, self.data, report.part(0.0, 0.4), recalibrate=self.recalibrate, folder=unfinished
        )
        artefact = build.lower(module, self.model, recipe, self.data, folder / "model.onnx", report.part(0.4, 0.55))
        state = folder / "model.safetensors"
        save_variant(module, self.model, state, recipe=recipe.to_json())
        original = self.find(Recipe()) if recipe.steps else None
        baseline = original.onnx if original else artefact
        estimates = measure(artefact, baseline, self.data, report.part(0.55, 1.0), self.metric)
        network = build.network_of(module, self.model, recipe)
        estimates |= predict(network, self.model.network)
        others = original.estimates if original else None
        texts = facts(estimates, others, (artefact, baseline), network)
        why = texts.pop("reason", "")
        record = Record(
            id=self.id_of(recipe),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            recipe=recipe.to_json(),
            estimates=estimates,
            notes=(
                *_idle(recipe, self.model),
                *report.notes,
                *notes(estimates, others, len(self.data.classes), why),
            ),
            facts=texts,
            onnx=self._storage.adopt(artefact),
            state=self._storage.adopt(state),
        )
        self._storage.put(record)
        shutil.rmtree(unfinished, ignore_errors=True)
        return self._variant(record)

    def _restore(self) -> None:
        for record in self._storage.records():
            self._variants[record.id] = self._variant(record)

    def _variant(self, record: Record) -> Variant:
        folder = self._storage.artefacts
        return Variant(
            id=record.id,
            model=self.model,
            data=self.data,
            recipe=Recipe.from_json(record.recipe),
            estimates=record.estimates,
            onnx=folder / record.onnx,
            state=folder / record.state,
            notes=record.notes,
            created=record.created,
            verdict=record.facts.get("verdict", ""),
            machine=record.facts.get("machine", ""),
        )


def _idle(recipe: Recipe, model: Model) -> list[str]:
    """A sentence for each step that found nothing to do: never a silent no-op."""
    pairs = zip(recipe, recipe.sketches(model), strict=True)
    return [
        f"{step.brief} changed no layer of this model; recipe.plan(model) says why."
        for step, sketch in pairs
        if not any(row.applies for row in sketch.rows)
    ]


def _check_fit(model: Model, data: Data, *, classified: bool) -> None:
    if not isinstance(model, Model):
        raise BadValue(f"A study needs a model from wb.load, got {type(model).__name__}.")
    if not isinstance(data, Data):
        raise BadValue(f"A study needs data from wb.data, got {type(data).__name__}.")
    have, want = tuple(data["test"].inputs.shape[1:]), tuple(model.example.shape[1:])
    if have != want:
        raise BadValue(
            f"The images of {data.name} have shape {have}, the model {model.name} takes {want} "
            "(channels, height, width). Load data of that shape, or the model with example= of the data's shape."
        )
    output, test = model.network.layers[-1].output, data["test"]
    if classified and len(output) == 1 and has_classes(test):  # other splits are looked at where they are used
        check_classes(test.labels, output[0], f"{data.name}, split 'test',")
