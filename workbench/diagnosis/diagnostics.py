"""What a study can be asked about one variant: what went wrong in it, where, and how it fares elsewhere."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from workbench.certificate import Certificate
from workbench.devices.answered import Device, by_age
from workbench.diagnosis import (
    Bisection,
    Comparison,
    Diagnosis,
    Evaluator,
    Sensitivity,
    bisect,
    compare,
    diagnose,
    layer_errors,
    sensitivity,
)
from workbench.diagnosis.bisection import suspicions
from workbench.diagnosis.certifying import certificate, claim_on
from workbench.diagnosis.diagnose import IMAGES
from workbench.diagnosis.portability import portability, with_devices
from workbench.diagnosis.reducing import reduction
from workbench.errors import BadValue
from workbench.files.disk import told
from workbench.interface.arguments import check_kinds
from workbench.jobs import Gate, Job, Reporter
from workbench.measure.profiler import profile
from workbench.progress import follow
from workbench.recipe import Recipe
from workbench.reduction.reduction import Ask
from workbench.reduction.result import Reduction
from workbench.step import Step
from workbench.variant import Variant

if TYPE_CHECKING:
    import pandas as pd

    from workbench.data import Data
    from workbench.models import Model

T = TypeVar("T")
#: A bar on the terminal (True), nothing (False), or a function of (fraction, stage).
Progress = Callable[[float, str], None] | bool


class Diagnostics(ABC):
    """The part of a `Study` that looks closely at one variant. Each question can be asked as a job too."""

    model: Model
    data: Data
    recalibrate: bool
    path: Path
    _gate: Gate
    _devices: dict[str, Device]  # by id

    @property
    @abstractmethod
    def baseline(self) -> Variant:
        """The original network."""

    @abstractmethod
    def __getitem__(self, id: str) -> Variant:  # noqa: A002  # the column's name
        """The variant of this id."""

    @abstractmethod
    def find(self, recipe: Recipe) -> Variant | None:
        """The finished variant of a recipe, or None."""

    @check_kinds
    def diagnose(self, variant: Variant | str, *, split: str = "validation", progress: Progress = True) -> Diagnosis:
        """What a variant, or its id, does otherwise than the original: layers, steps, classes, images, confidence.

        `split="test"` reports on the test split; choose by what the validation split says.
        Raises: `BadValue` without such a split, what the recipe's steps raise, `Cancelled`.
        """
        return follow(self.submit_diagnosis(variant, split=split), progress)

    @check_kinds
    def submit_diagnosis(self, variant: Variant | str, *, split: str = "validation") -> Job[Diagnosis]:
        """The same without blocking."""
        chosen, evaluator = self._own(variant), self._evaluator(split)
        return self._job(f"diagnosis of {chosen.name}", lambda report: diagnose(chosen, evaluator, report))

    def compare(
        self, first: Variant | str, second: Variant | str, *, split: str = "validation", progress: Progress = True
    ) -> Comparison:
        """Two variants, or their ids, side by side: the figures, layers, classes and images that differ.

        Raises: `BadValue` without such a split, or for a variant and itself; `Cancelled`.
        """
        return follow(self.submit_comparison(first, second, split=split), progress)

    def submit_comparison(
        self, first: Variant | str, second: Variant | str, *, split: str = "validation"
    ) -> Job[Comparison]:
        """The same without blocking."""
        one, two, evaluator = self._own(first), self._own(second), self._evaluator(split)
        name = f"comparison of {one.name} and {two.name}"
        return self._job(name, lambda report: compare(one, two, evaluator, report))

    @check_kinds
    def certify(  # noqa: PLR0913  # a claim has these; all have a default
        self,
        variant: Variant | str,
        *,
        margin: float = 0.01,
        alpha: float = 0.05,
        split: str = "validation",
        metric: str | None = None,
        worst_class: bool = False,
        progress: Progress = True,
    ) -> Certificate:
        """Whether a variant, or its id, surely loses at most `margin` against the original.

        A paired, sequential test on inputs in random order: it ends as soon as the answer is known, and is wrong with
        probability `alpha` at most for inputs like those of the split. `margin` is a share where the metric is one
        (0.01 is one point), else in its unit. With `worst_class` every class must lose at most that.

        `metric` names another of the task's than the one that decides. `split="test"` confirms; choose on validation.
        Raises: `BadValue`, `UnknownName`, `MeasurementFailed`, `Cancelled`.
        """
        job = self.submit_certificate(
            variant, margin=margin, alpha=alpha, split=split, metric=metric, worst_class=worst_class
        )
        return follow(job, progress)

    @check_kinds
    def submit_certificate(
        self,
        variant: Variant | str,
        *,
        margin: float = 0.01,
        alpha: float = 0.05,
        split: str = "validation",
        metric: str | None = None,
        worst_class: bool = False,
    ) -> Job[Certificate]:
        """The same without blocking."""
        chosen, evaluator = self._own(variant), self._evaluator(split)
        claim = claim_on(evaluator, metric, margin, alpha)
        pair = self.baseline, chosen

        def work(report: Reporter) -> Certificate:
            return certificate(pair, evaluator, claim, report, worst_class=worst_class)

        return self._job(f"certificate of {chosen.name}", work)

    @check_kinds
    def bisect(self, variant: Variant | str, *, share: float = 0.9, progress: Progress = True) -> Bisection:
        """The least set of layers whose restoration takes away `share` of what a variant loses on the validation split.

        `.recipe` has them restored. Raises: `BadValue`, `StepFailed`, `Cancelled`, as `workbench.diagnosis.bisect`.
        """
        return follow(self.submit_bisection(variant, share=share), progress)

    @check_kinds
    def submit_bisection(self, variant: Variant | str, *, share: float = 0.9) -> Job[Bisection]:
        """The same without blocking."""
        chosen, evaluator = self._own(variant), self._evaluator("validation")

        def work(report: Reporter) -> Bisection:
            original = evaluator.known(Recipe())
            assert original is not None  # `_own` has seen a variant, so the original is measured
            errors = layer_errors(original, chosen.onnx, evaluator.split.first(IMAGES), report.part(0.0, 0.1))
            order = suspicions({one.layer: one.own_sqnr_db for one in errors})
            return bisect(evaluator, chosen.recipe, order, share=share, report=report.part(0.1, 1.0))

        return self._job(f"bisection of {chosen.name}", work)

    @check_kinds
    def sensitivity(self, step: Step, *, progress: Progress = True) -> Sensitivity:
        """How much each layer suffers when `step` treats it alone, on the validation split.

        Raises: `BadValue`, `StepFailed`, `Cancelled`, as `workbench.diagnosis.sensitivity`.
        """
        return follow(self.submit_sensitivity(step), progress)

    @check_kinds
    def submit_sensitivity(self, step: Step) -> Job[Sensitivity]:
        """The same without blocking."""
        if not isinstance(step, Step):
            raise BadValue(f"Sensitivity is to one step, such as wb.SVD(rank=0.5), got {step!r:.200}.")
        evaluator, name = self._evaluator("validation"), f"sensitivity to {step.brief}"
        return self._job(name, lambda report: sensitivity(evaluator, step, report))

    @check_kinds
    def submit_profile(self, recipe: Recipe) -> Job[pd.DataFrame]:
        """The time of every operator of a recipe's artefact, which is made where it was not measured.

        Columns: see `workbench.measure.profiler.profile`.
        """
        evaluator = self._evaluator("validation")

        def work(report: Reporter) -> pd.DataFrame:
            with tempfile.TemporaryDirectory() as folder:
                path = evaluator.known(recipe)
                path = path or evaluator.make(recipe, Path(folder) / "model.onnx", report.part(0.0, 0.7))
                report(0.7, "timing every operator")
                return profile(path)

        return self._job(f"time of each layer of {recipe.name}", work)

    @check_kinds
    def portability(
        self,
        variant: Variant | str,
        runtimes: Sequence[str] | None = None,
        threads: Sequence[int] = (1,),
        *,
        images: int = 2000,
        progress: Progress = True,
    ) -> pd.DataFrame:
        """A variant, or its id, in every installed runtime, and on devices that came: answers, speed.

        See `workbench.diagnosis.portability`.
        """
        return follow(self.submit_portability(variant, runtimes, threads, images=images), progress)

    @check_kinds
    def submit_portability(
        self,
        variant: Variant | str,
        runtimes: Sequence[str] | None = None,
        threads: Sequence[int] = (1,),
        *,
        images: int = 2000,
    ) -> Job[pd.DataFrame]:
        """The same without blocking."""
        chosen = self._own(variant)

        def work(report: Reporter) -> pd.DataFrame:
            here = portability(chosen, runtimes, threads, images=images, progress=report)
            return with_devices(here, chosen, by_age(self._devices))

        return self._job(f"portability of {chosen.name}", work)

    @check_kinds
    def reduce(
        self,
        variant: Variant | str,
        layer: str | None = None,
        *,
        fault: str = "",
        tolerance: float | None = None,
        against: str = "original",
        progress: Progress = True,
    ) -> Reduction:
        """The smallest part of a variant's file that shows a fault; `.save("fault.zip")` writes it for a bug report.

        `layer`: one that diagnosis or verdict blames; None searches the whole network. `fault`: "wrong" (outputs off by
        more than `tolerance`, a share of their largest number), "slow" (surely slower than the same part of the
        original), "refused", "ends the process"; "" takes the first that shows. `against`: the "original", or the same
        file run in another way: "unoptimised" or "onnx", see `workbench.reduction.reduction.reduce_file`.
        Raises: `UnknownName` for a layer, `BadValue` where there is no fault, `MeasurementFailed`, `Cancelled`.
        """
        job = self.submit_reduction(variant, layer, fault=fault, tolerance=tolerance, against=against)
        return follow(job, progress)

    @check_kinds
    def submit_reduction(
        self,
        variant: Variant | str,
        layer: str | None = None,
        *,
        fault: str = "",
        tolerance: float | None = None,
        against: str = "original",
    ) -> Job[Reduction]:
        """The same without blocking."""
        chosen, ask = self._own(variant), Ask(fault, tolerance)
        split = self._evaluator("validation").split

        def work(report: Reporter) -> Reduction:
            return reduction(chosen, self.baseline, layer, split, ask, against=against, report=report)

        return self._job(f"smallest fault of {chosen.name}", work)

    def _job(self, name: str, work: Callable[[Reporter], T]) -> Job[T]:
        """Work on a thread of its own, when its turn has come; what the disk refuses becomes a sentence."""

        def on_disk(report: Reporter) -> T:
            with told(self.path, f"The work on {name}"):
                return work(report)

        return Job(on_disk, name=name, gate=self._gate)

    def _own(self, variant: Variant | str) -> Variant:
        """The variant itself, which must be one of this study's."""
        if not isinstance(variant, (str, Variant)):
            raise BadValue(f"This needs a variant of the study, or its id, got {type(variant).__name__}.")
        found = self[variant] if isinstance(variant, str) else self.find(variant.recipe)
        if found is None:
            raise BadValue(f"{variant} is not a variant of this study. Run its recipe here: study.run(variant.recipe).")
        return found

    def _evaluator(self, split: str) -> Evaluator:
        def known(recipe: Recipe) -> Path | None:
            found = self.find(recipe)
            return None if found is None else found.onnx

        return Evaluator(self.model, self.data, self.recalibrate, known, split)
