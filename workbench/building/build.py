"""Carry out a recipe: a copy of the module through every rewrite, then the artefact through every lowering."""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from workbench.building.rewritten import check_rewritten
from workbench.cost.network import Network
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.data import Data
from workbench.data.batches import batches
from workbench.errors import BadValue, StepFailed, WorkbenchError
from workbench.jobs import Reporter
from workbench.models import Model
from workbench.models.graph import Graph
from workbench.models.structure import save_variant
from workbench.modules.calling import Inputs, call, flatten, noise_like, tensors_map
from workbench.onnx_file import write_onnx
from workbench.plan import Plan
from workbench.quantization.soundness import check_lowered
from workbench.recipe import Recipe, as_recipe
from workbench.step import Context, Lower, Rewrite, Step
from workbench.steps.recalibrate import Recalibrate
from workbench.tasks import Task, recognise, seen_of
from workbench.tasks.recognition import unclear
from workbench.tasks.unlabelled import UNLABELLED

if TYPE_CHECKING:
    from torch import nn


#: Beside the `effort` of steps.
WRITING, MEASURING = 0.3, 14.0
#: Of measuring, the share that judging takes; the rest is for the clock.
JUDGING = 0.65
#: What these kinds of work are called, beside steps.
WRITES, JUDGES, TIMES = "writing", "judging", "timing"


def compress(
    model: Model | nn.Module,
    recipe: Recipe | Step,
    data: Data | None = None,
    *,
    example: Any = None,
) -> Model:
    """The model after a recipe, without a study or a measurement.

    `model` is a `Model`, or an `nn.Module` with `example=`, one input with a batch of 1. With `data`,
    factorizations fit the layers' outputs and batch norm is re-estimated on its calibration images.

    Raises: `BadValue` when the recipe contains a step such as `Quantize` that exists only in the exported
    artefact, and whatever the steps raise.

    >>> small = wb.compress(model, wb.Tucker(0.25))
    >>> wb.cost(small).macs < wb.cost(model).macs
    True
    """
    from workbench.models import load

    recipe = as_recipe(recipe)
    model = model if isinstance(model, Model) else load(model, example=example)
    if data is not None and not isinstance(data, Data):
        raise BadValue(f"data comes from wb.data, got {type(data).__name__}. Wrap it: wb.data({{'train': ...}}).")
    lowering = [step for step in recipe if isinstance(step, Lower)]
    if lowering:
        raise BadValue(
            f"{lowering[0].expression()} works on the exported artefact, and compress() gives back a torch network. "
            "Use Study.run(recipe), then wb.export(variant, folder)."
        )
    report = Reporter()
    module = rewrite(model, recipe, data.like(model.example) if data is not None else None, report)
    for note in report.notes:
        warnings.warn(note, stacklevel=2)
    assert isinstance(module, Graph)
    return Model(module, model.example, f"{model.name}, {recipe.name}", model.source)


def shares(recipe: Recipe) -> tuple[float, float]:
    """Where in a job's progress the rewriting ends, and the lowering; after that comes the measurement."""
    rewriting = sum(step.effort for step in recipe if isinstance(step, Rewrite))
    lowering = rewriting + WRITING + sum(step.effort for step in recipe if isinstance(step, Lower))
    return rewriting / (lowering + MEASURING), lowering / (lowering + MEASURING)


@torch.inference_mode(False)  # steps take gradients, also within a no_grad of the caller's
def rewrite(
    model: Model,
    recipe: Recipe,
    data: Data | None,
    progress: Reporter | None = None,
    *,
    recalibrate: bool = True,
    folder: Path | None = None,
) -> nn.Module:
    """A new module, in evaluation mode, with every rewriting step applied in turn.

    `folder` is where steps that train keep what a killed process needs to go on.

    Batch-norm statistics are re-estimated after the last rewrite, unless no layer was changed, that step has
    settled them itself, the recipe says `Recalibrate`, `recalibrate` is off, or there are no calibration images.

    Raises: `StepFailed` when the outputs are no longer finite, or change where nothing was approximated; whatever the
    steps raise; `Cancelled`.
    """
    progress = progress or Reporter()
    plan = recipe.plan(model).required()  # what a plan refuses is refused before any work
    steps = rewriting(recipe, plan, recalibrate=recalibrate and data is not None)
    module: nn.Module = model.module
    parts = _parts(progress, [step.effort for step in steps])
    for index, (step, part) in enumerate(zip(steps, parts, strict=True)):
        part(0.0, step.title or step.brief)
        try:
            scene = context(model, data, part, folder / str(index) if folder else None)
            # What was computed from the original weights holds only as long as no step has changed them.
            scene = scene if index == 0 else replace(scene, cache={})
            with part.meter.part(type(step).__name__, step.effort):
                before, module = module, step.apply(module, scene).eval()
                if index < len(plan.parts):
                    check_rewritten(step, plan.parts[index], (before, module), _inputs(scene), part)
                _check_finite(module, scene, step)
        except WorkbenchError:
            raise
        except (RuntimeError, ValueError, ArithmeticError, LookupError, TypeError) as error:
            raise StepFailed(f"{step.expression()} failed on {model.name}: {error}") from error
    return module


def rewriting(recipe: Recipe, plan: Plan, *, recalibrate: bool) -> list[Rewrite]:
    """The steps that rewrite the network, with the one that re-estimates batch norm after them where that is due."""
    steps: list[Rewrite] = [step for step in recipe if isinstance(step, Rewrite)]
    changed = any(part.changes for part in plan.parts[: len(steps)])
    settled = any(isinstance(step, Recalibrate) for step in steps) or (bool(steps) and steps[-1].settles_norms)
    return [*steps, Recalibrate()] if changed and recalibrate and not settled else steps


def parts(recipe: Recipe, plan: Plan, *, recalibrate: bool) -> list[tuple[str, float]]:
    """Every part of a variant's making and measuring: what kind of work it is, and its effort."""
    lowering = [step for step in recipe if isinstance(step, Lower)]
    steps: list[Step] = [*rewriting(recipe, plan, recalibrate=recalibrate), *lowering]
    own = [(type(step).__name__, step.effort) for step in steps]
    return [*own, (WRITES, WRITING), (JUDGES, JUDGING * MEASURING), (TIMES, (1 - JUDGING) * MEASURING)]


def lower(module: nn.Module, model: Model, recipe: Recipe, data: Data | None, target: Path, progress: Reporter) -> Path:
    """Write the ONNX artefact of a rewritten module, with every lowering step applied in turn, to `target`."""
    steps = [step for step in recipe if isinstance(step, Lower)]
    progress(0.0, "Writing ONNX")
    with tempfile.TemporaryDirectory() as folder:
        current = Path(folder) / "0.onnx"
        with progress.meter.part(WRITES, WRITING):
            write_onnx(module, model.example, current)
        parts = _parts(progress, [WRITING, *(step.effort for step in steps)])[1:]
        for index, (step, part) in enumerate(zip(steps, parts, strict=True)):
            part(0.0, step.title or step.brief)
            following = Path(folder) / f"{index + 1}.onnx"
            scene = context(model, data, part)
            with part.meter.part(type(step).__name__, step.effort):
                step.lower(current, following, scene)
                check_lowered(current, following, _inputs(scene), step.brief, part)
            current = following
        shutil.move(current, target)
    return target


def _parts(progress: Reporter, efforts: Sequence[float]) -> list[Reporter]:
    """The progress shared out by the efforts."""
    ends, whole = [0.0, *accumulate(efforts)], sum(efforts)
    return [progress.part(start / whole, end / whole) for start, end in pairwise(ends)]


def network_of(module: nn.Module, model: Model, recipe: Recipe) -> Network:
    """The network of a finished module as it became, with what the recipe's lowering steps make of it."""
    network = trace(module, model.example)
    for step in recipe:
        if isinstance(step, Lower):
            network = step.planned(network, Weights(module)).network
    return network


def context(model: Model, data: Data | None, progress: Reporter, folder: Path | None = None) -> Context:
    """What the steps may see: every split but the test split."""
    return Context(
        example=model.example,
        progress=progress,
        calibration=data.get("calibration") if data is not None else None,
        train=data.get("train") if data is not None else None,
        validation=data.get("validation") if data is not None else None,
        task=asked(model, data) if data is not None else UNLABELLED,
        original=model.module,
        cache=model.weights.cache,
        folder=folder,
        keep=None if folder is None else partial(_keep, model, folder),
    )


def asked(model: Model, data: Data) -> Task:
    """What is asked of a model on data: as a study has it, or what outputs and labels are plainly of.

    Where they are of nothing plain, a task that says so to the step that looks at labels; others never ask.
    """
    if isinstance(data.task, Task):
        return data.task
    looked_at = next((split for name, split in data.splits.items() if name in {"train", "validation"}), None)
    if looked_at is None:  # nobody asks then, and the test split is not for them
        return UNLABELLED
    try:
        return recognise(seen_of(model.module, model.example, looked_at), None)
    except BadValue as error:
        return unclear(str(error))


def _keep(model: Model, folder: Path, module: nn.Module, name: str) -> Path:
    """Write a network so that `wb.load` reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    save_variant(module, model, folder / name)
    return folder / name


def _inputs(scene: Context) -> Inputs:
    """A few real inputs, or noise where there are none."""
    if scene.calibration is not None and len(scene.calibration):
        return next(batches(scene.calibration, 16))
    several = tensors_map(lambda one: torch.cat([one] * 4) if one.shape[0] == 1 else one, scene.example)
    return noise_like(several, scene.seed)


@torch.no_grad()
def _check_finite(module: nn.Module, scene: Context, step: Step) -> None:
    if not all(bool(one.isfinite().all()) for one in flatten(call(module, _inputs(scene)))):
        raise StepFailed(
            f"After {step.expression()} the network gives NaN or infinite outputs. "
            "Use a higher rank or a smaller ratio, or leave out the layers that the plan marks."
        )
