"""How much each layer suffers from a step when it is treated alone: where to hold back, and where to go further."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from workbench.data import Data
from workbench.diagnosis.evaluator import Evaluator
from workbench.errors import BadValue
from workbench.estimate import Estimate
from workbench.jobs import Reporter
from workbench.measure.divergence import diverge
from workbench.recipe import Recipe
from workbench.step import Step

#: Images of the split that each layer is tried on: enough to rank layers.
IMAGES = 500
#: Images that data-aware steps look at for each layer: statistics of more hardly differ.
CALIBRATION = 200


@dataclass(frozen=True)
class Sensitivity:
    """What a step does to the outputs when it treats one layer alone.

    `layers`: by layer, in execution order, the mean Kullback-Leibler divergence of the class probabilities from the
    original's, in nats; where outputs are no scores of classes the size of their change over their own, unit "".
    """

    step: Step
    layers: Mapping[str, Estimate]
    images: int
    unit: str = "nats"

    def frame(self) -> pd.DataFrame:
        """One row a layer, the most sensitive first. Columns: layer, divergence, divergence_low, divergence_high."""
        rows = [(name, one.value, one.low, one.high) for name, one in self.layers.items()]
        columns = ["layer", "divergence", "divergence_low", "divergence_high"]
        return pd.DataFrame(rows, columns=columns).sort_values("divergence", ascending=False, ignore_index=True)


def sensitivity(evaluator: Evaluator, step: Step, report: Reporter) -> Sensitivity:
    """Treat each layer that `step` would change alone, and compare the outputs with the original's.

    One artefact a layer, on the first `IMAGES` images of the evaluator's split, before batch norm is re-estimated:
    that hides what a layer suffers, and takes longer than all the rest.
    Raises: `BadValue` where the step changes no layer, `StepFailed` where it cannot leave out single layers,
    `Cancelled`.
    """
    recipe, model = Recipe((step,)), evaluator.model
    names = recipe.changed(model)
    if not names:
        raise BadValue(f"{step.expression()} changes no layer of this model; its plan(model) says why for each.")
    trial, found = replace(evaluator, recalibrate=False, data=_less(evaluator.data)), {}
    images = evaluator.split.first(IMAGES)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        original = evaluator.known(Recipe())
        original = original or evaluator.make(Recipe(), folder / "original.onnx", report.part(0.0, 0.0))
        for index, layer in enumerate(names):
            stage = _stage(report, index, len(names), layer)
            alone = recipe.without(tuple(one for one in names if one != layer), model)
            path = trial.make(alone, folder / f"{index}.onnx", stage.part(0.0, 0.8))
            apart = diverge(original, path, images, stage.part(0.8, 1.0))
            found[layer] = apart.kl_divergence if evaluator.task.by_class else apart.logit_error
            path.unlink()
    return Sensitivity(step, found, len(images), "nats" if evaluator.task.by_class else "")


def _less(data: Data) -> Data:
    """The data with fewer calibration images, from which each layer's fit and ranges are taken anew."""
    few = {name: split for name, split in data.splits.items() if name != "calibration"}
    known = data.get("calibration")
    if known is not None:
        few["calibration"] = known.first(CALIBRATION)
    return replace(data, splits=few)


def _stage(report: Reporter, index: int, number: int, layer: str) -> Reporter:
    """A reporter of one layer's part of the work, which says how many there are."""
    said = f"layer {index + 1} of {number}: {layer}"
    stage = Reporter(lambda share, _: report((index + share) / number, said))
    stage.cancelled = report.cancelled
    return stage
