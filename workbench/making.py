"""The part of a `Study` that makes variants: carried out and judged here or by workers, timed, and stored."""

from __future__ import annotations

import json
import shutil
import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.building import build
from workbench.cost.network import Network
from workbench.estimate import Estimate
from workbench.expectation import Expectation, expected
from workbench.jobs import Reporter
from workbench.keeping import SAMPLES, TAKEN
from workbench.measure.affordable import affordable
from workbench.measure.evaluation import changes
from workbench.measure.figures import Measured, metadata, notes, predict, timed
from workbench.measure.machine import machine as this_machine
from workbench.measure.suspects import near_chance
from workbench.measure.suspects import told as told_suspects
from workbench.models.model import Model
from workbench.models.structure import restore
from workbench.proof.provenance import MADE, provenance
from workbench.recipe import Recipe, Step, as_recipe
from workbench.studies.records import Record
from workbench.studies.storage import Storage
from workbench.workers.evaluating import ONNX, STATE, Subject, judge, make, timing_from
from workbench.workers.order import Order, order_of
from workbench.workers.pool import Gone
from workbench.workers.shelf import shelf

if TYPE_CHECKING:
    from workbench.data import Data
    from workbench.tasks import Task
    from workbench.variant import Variant
    from workbench.workers.crew import Crew

#: Where workers are gone, the threads that waited for them take turns: torch's state is of the whole process.
_HERE = threading.Lock()


@dataclass(frozen=True)
class _Work:
    """A recipe on its way: the folder that its files are written to, the original, and who does it."""

    recipe: Recipe
    folder: Path
    original: Variant | None  # None for the original itself
    report: Reporter
    crew: Crew | None

    @property
    def artefact(self) -> Path:
        """What is measured."""
        return self.folder / ONNX

    @property
    def baseline(self) -> Path:
        """The original's artefact."""
        return self.original.onnx if self.original is not None else self.artefact


class Making(ABC):
    """The part of a `Study` that makes variants."""

    model: Model
    data: Data
    task: Task
    path: Path
    recalibrate: bool
    minutes: float | None
    _given: Data
    _asked: tuple[Any, Any]
    _storage: Storage

    @abstractmethod
    def id_of(self, recipe: Recipe) -> str:
        """The id that a recipe's variant has or will have here."""

    @abstractmethod
    def find(self, recipe: Recipe) -> Variant | None:
        """The finished variant of a recipe, or None."""

    @property
    @abstractmethod
    def variants(self) -> list[Variant]:
        """Every finished variant."""

    def expect(self, recipe: Recipe | Step) -> Expectation | None:
        """What running a recipe will take in time and memory, as ranges, by what jobs of this study took here.

        None before the original is measured on this machine. Raises: `OutOfReach` for a recipe that cannot run.
        """
        recipe = as_recipe(recipe)
        here = f"({this_machine().fingerprint})"
        plan = recipe.plan(self.model).required()
        parts = build.parts(recipe, plan, recalibrate=self.recalibrate)
        return expected(parts, [one.taken for one in self.variants if here in one.machine])

    @abstractmethod
    def _draw(self, inputs: int) -> None:
        """Judge by so many inputs from here on."""

    def _order(self) -> Order:
        """What workers are asked, but for the recipe. Raises: as `order_of`."""
        inputs = None if self.data is self._given else len(self.data["test"])
        return order_of(self.model, self._given, self._asked, shelf(), recalibrate=self.recalibrate, inputs=inputs)

    def _store(self, recipe: Recipe, folder: Path, report: Reporter, crew: Crew | None) -> Record:
        """Make the variant of a recipe with its files in `folder`, and take it into the study."""
        work = _Work(recipe, folder, self.find(Recipe()) if recipe.steps else None, report, crew)
        with report.meter.memory():
            measured, network = self._evaluated(work)
            times, machine = _timed(work)
        before = work.original.samples if work.original else None
        estimates = {**measured.estimates, **times, **changes(measured.samples, before)}
        estimates |= predict(network, self.model.network)
        others = work.original.estimates if work.original else None
        texts = metadata(estimates, others, (work.artefact, work.baseline), network) | machine
        why = texts.pop("reason", "")
        if not recipe.steps and near_chance(estimates.get("accuracy"), self.data):
            report.note(told_suspects(work.artefact, self.data, report))
        record = Record(
            id=self.id_of(recipe),
            created=datetime.now(UTC).isoformat(timespec="seconds"),
            recipe=recipe.to_json(),
            estimates=estimates,
            notes=(
                *_idle(recipe, self.model),
                *filter(None, report.notes),
                *self.data.notes[len(self._given.notes) :],
                *notes(estimates, others, (self.task, len(self.data.classes)), why),
            ),
            metadata=texts | {
                SAMPLES: json.dumps({name: one.write() for name, one in measured.samples.items()}),
                MADE: self._provenance(),
                TAKEN: json.dumps(report.meter.taken),
            },
        )
        record = self._storage.store(record, work.artefact, folder / STATE)
        shutil.rmtree(self._unfinished(recipe), ignore_errors=True)
        return record

    def _provenance(self) -> dict[str, Any]:
        """What somebody needs to make the same again."""
        task, metric = (one if isinstance(one, str) else "" if one is None else "own" for one in self._asked)
        return provenance(
            {"model": self.model.hash, "data": self._given.hash},
            recalibrate=self.recalibrate, task=task, metric=metric,
            inputs=len(self.data["test"]) if self.data is not self._given else None,
        )  # fmt: skip

    def _evaluated(self, work: _Work) -> tuple[Measured, Network]:
        """A recipe carried out and judged, by workers where there are any."""
        if work.crew is None or work.original is None:
            return self._here(work)
        try:
            measured = work.crew.evaluated(work.recipe, work.baseline, work.folder, work.report)
        except Gone:
            with _HERE:
                return self._here(work)
        return measured, build.network_of(restore(work.folder / STATE), self.model, work.recipe)

    def _here(self, work: _Work) -> tuple[Measured, Network]:
        recipe, report = work.recipe, work.report
        module = make(self._subject, recipe, work.folder, report, self._unfinished(recipe))
        if self.minutes is not None and work.original is None:
            lowered = build.shares(recipe)[1]
            self._draw(affordable(work.artefact, self._given, self.minutes, report.part(lowered, lowered)))
        measured = judge(self._subject, recipe, work.artefact, work.baseline, report)
        return measured, build.network_of(module, self.model, recipe)

    @property
    def _subject(self) -> Subject:
        return Subject(self.model, self.data, self.task, self.recalibrate)

    def _unfinished(self, recipe: Recipe) -> Path:
        """Where steps that train keep what a killed process needs to go on."""
        return self.path / "unfinished" / self.id_of(recipe)


def _timed(work: _Work) -> tuple[Mapping[str, Estimate], dict[str, str]]:
    """Times of an artefact, and what there is to know of the machine that they were taken on, if it is another."""
    part = work.report.part(timing_from(work.recipe), 1.0)
    if work.crew is not None and work.crew.times:
        try:
            found = work.crew.timed(work.recipe.name, work.artefact, work.baseline, part)
            return found.figures, {"machine": found.machine}
        except Gone:
            pass
    with part.meter.part(build.TIMES, (1 - build.JUDGING) * build.MEASURING):
        return timed(work.artefact, work.baseline, part), {}


def _idle(recipe: Recipe, model: Model) -> list[str]:
    """A sentence for each step that found nothing to do: never a silent no-op."""
    parts = zip(recipe, recipe.plan(model).parts, strict=True)
    return [
        f"{step.brief} changed no layer of this model; recipe.plan(model) says why."
        for step, part in parts
        if not part.changes
    ]
