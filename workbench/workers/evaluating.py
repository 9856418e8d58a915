"""A recipe carried out and judged: it follows from model, data, recipe and settings alone, wherever it is done."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from workbench.building import build
from workbench.data import Data
from workbench.jobs import Reporter
from workbench.measure.figures import Measured, judged
from workbench.models import Model
from workbench.models.structure import restore, save_variant
from workbench.recipe import Recipe
from workbench.tasks import Task

ONNX, STATE = "model.onnx", "model.safetensors"


@dataclass(frozen=True)
class Subject:
    """What recipes are carried out on, and what judges them."""

    model: Model
    data: Data
    task: Task
    recalibrate: bool = True


def make(subject: Subject, recipe: Recipe, folder: Path, report: Reporter, unfinished: Path) -> nn.Module:
    """Carry out a recipe, with the artefact and the network as files in `folder`; gives the network.

    `unfinished` is where steps that train keep what a killed process needs to go on. A network that is in `folder`
    already has gone through the steps that rewrite it.
    Raises: whatever the steps raise; `Cancelled`.
    """
    rewritten, lowered = build.shares(recipe)
    model, data, state = subject.model, subject.data, folder / STATE
    if state.exists():
        module: nn.Module = restore(state)
    else:
        part = report.part(0.0, rewritten)
        module = build.rewrite(model, recipe, data, part, recalibrate=subject.recalibrate, folder=unfinished)
        save_variant(module, model, state, recipe=recipe.to_json())
    build.lower(module, model, recipe, data, folder / ONNX, report.part(rewritten, lowered))
    return module


def judge(subject: Subject, recipe: Recipe, artefact: Path, baseline: Path, report: Reporter) -> Measured:
    """The figures of an artefact that do not depend on the machine. Raises: as `figures.judged`."""
    lowered = build.shares(recipe)[1]
    with report.meter.part(build.JUDGES, build.JUDGING * build.MEASURING):
        return judged(artefact, baseline, subject.data, report.part(lowered, timing_from(recipe)), subject.task)


def timing_from(recipe: Recipe) -> float:
    """Where in a job's progress the clock begins."""
    lowered = build.shares(recipe)[1]
    return lowered + build.JUDGING * (1 - lowered)
