"""Where a diagnosis tries recipes: artefacts without a timing, scored image by image on the validation split."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from workbench.building import build
from workbench.errors import BadValue
from workbench.estimate import Estimate, wilson
from workbench.jobs import Reporter
from workbench.measure.accuracy import outputs
from workbench.measure.metrics import bootstrap
from workbench.quantization.sensitivity import paired_drop
from workbench.recipe import Recipe
from workbench.tasks.unlabelled import nearness

if TYPE_CHECKING:
    from workbench.data import Data, Split
    from workbench.models import Model
    from workbench.tasks import Task

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Evaluator:
    """One model, one split, and how a study makes its variants.

    `known` finds the artefact of a recipe that has been run, and must know the original's. A score is 1
    where an image is classified rightly and 0 elsewhere; for other tasks it is the share of an image's answers that
    agree with the original's, and where outputs are values how near they are to the original's, at best 1.
    """

    model: Model
    data: Data
    recalibrate: bool
    known: Callable[[Recipe], Path | None]
    split_name: str = "validation"

    @cached_property
    def split(self) -> Split:
        """The images to look at. Raises: `BadValue` where the data have no such split."""
        found = self.data.get(self.split_name)
        if found is None:
            raise BadValue(
                f"{self.data.name} has no split {self.split_name!r}. A diagnosis leads to choices, and these must not "
                "be made on the test split: give wb.data a 'validation' split, or a 'train' split to take it from."
            )
        return found

    @cached_property
    def original(self) -> Array:
        """The original's outputs (N, ...)."""
        artefact = self.known(Recipe())
        assert artefact is not None  # a study measures it before any variant
        return outputs(artefact, self.split)

    @cached_property
    def task(self) -> Task:
        """What is asked of the network."""
        return build.asked(self.model, self.data)

    @property
    def chooses(self) -> bool:
        """Whether an output (N, classes) is a choice among classes, one an image."""
        return self.task.by_class and self.original.ndim == 2

    @property
    def labels(self) -> Array | None:
        """Class numbers (N,); None where the data have none, or the task is no classification."""
        known = self.task.name == "classification" and self.split.labelled
        return np.asarray(self.split.labels) if known else None

    @property
    def metric_name(self) -> str:
        """What the scores are: accuracy, agreement or nearness."""
        if self.labels is not None:
            return "accuracy"
        return "nearness" if self.task.answers is None else "agreement"

    def outputs(self, recipe: Recipe, report: Reporter) -> Array:
        """The outputs (N, ...) of a recipe's artefact, which is made where no study has it.

        Raises: what the steps raise, `MeasurementFailed`, `Cancelled`.
        """
        if not recipe.steps:
            return self.original
        found = self.known(recipe)
        if found is not None:
            return outputs(found, self.split, progress=report)
        with tempfile.TemporaryDirectory() as folder:
            path = self.make(recipe, Path(folder) / "model.onnx", report.part(0.0, 0.8))
            return outputs(path, self.split, progress=report.part(0.8, 1.0))

    def make(self, recipe: Recipe, target: Path, report: Reporter) -> Path:
        """Write a recipe's artefact to `target`. Raises: what the steps raise; `Cancelled`."""
        module = build.rewrite(self.model, recipe, self.data, report.part(0.0, 0.7), recalibrate=self.recalibrate)
        return build.lower(module, self.model, recipe, self.data, target, report.part(0.7, 1.0))

    def scores(self, values: Array) -> Array:
        """One score an image (N,). Outputs that are not finite are wrong."""
        if values.shape != self.original.shape:
            raise BadValue(f"The variant returns shape {values.shape}, the original {self.original.shape}.")
        n = len(values)
        finite = np.isfinite(values).reshape(n, -1).all(axis=1)
        if self.labels is not None:
            right: Array = (values.argmax(axis=1) == self.labels) & finite
            return right
        if self.task.answers is None:
            return nearness(values, self.original)
        same: Array = (self.task.answers(values) == self.task.answers(self.original)).reshape(n, -1).mean(axis=1)
        return same * finite


def mean_score(scores: Array) -> Estimate:
    """The mean of scores (N,): Wilson's interval for a share of images, a bootstrap otherwise."""
    n = len(scores)
    if np.isin(scores, (0, 1)).all():
        return wilson(int(scores.sum()), n)
    return bootstrap(scores[:, None], lambda sums: sums[..., 0] / n)


def loss(before: Array, after: Array) -> Estimate:
    """How much is lost from scores `before` to `after` (N,) of the same images."""
    n = len(before)
    if before.dtype == after.dtype == bool:
        return paired_drop(before, after)
    return bootstrap((before - after)[:, None].astype(np.float64), lambda sums: sums[..., 0] / n)
