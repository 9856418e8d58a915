"""What an artefact's outputs are worth: the figures of its task, or agreement with the original."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from workbench.data import Data
from workbench.data.dataset import Split
from workbench.estimate import Estimate
from workbench.jobs import Reporter
from workbench.measure.divergence import samples, side_by_side
from workbench.measure.metrics import score
from workbench.measure.paired import Sample
from workbench.tasks import Task
from workbench.tasks.unlabelled import APART

#: What stands before the name of a figure on the validation split, and behind that of a paired difference.
VALIDATION, CHANGE = "validation_", "_change"


def quality(artefact: Path, baseline: Path, data: Data, task: Task, report: Reporter) -> dict[str, Sample]:
    """Each figure of a task on the test split, and with `validation_` before its name on the validation split.

    Without labels `agreement` with the baseline, `kl_divergence` (nats) and `logit_error`.
    Raises: `BadFile`, `BadValue`, `MeasurementFailed`, `Cancelled`.
    """
    test, validation = data["test"], data.get("validation")
    found = _on(artefact, baseline, test, task, report.part(0.0, 0.85))
    if validation is None:
        return found
    more = _on(artefact, baseline, validation, task, report.part(0.85, 1.0))
    return found | {f"{VALIDATION}{name}": one for name, one in more.items() if _decides(name, task)}


def _decides(name: str, task: Task) -> bool:
    """Whether something can be chosen by a figure, so that it is worth having on the validation split."""
    return name not in APART or name == task.principal.name


def changes(found: Mapping[str, Sample], original: Mapping[str, Sample] | None) -> dict[str, Estimate]:
    """How each figure differs from the original's on the same inputs, with `_change` behind its name.

    `original` is None for the original itself, which differs by nothing. Agreement with the original and its like are
    differences already.
    """
    named = {name: one for name, one in found.items() if name.removeprefix(VALIDATION) not in APART}
    if original is None:
        return {f"{name}{CHANGE}": Estimate(0.0, 0.0, 0.0, one.n, one.unit) for name, one in named.items()}
    return {f"{name}{CHANGE}": original[name].change_to(one) for name, one in named.items() if name in original}


def _on(artefact: Path, baseline: Path, split: Split, task: Task, report: Reporter) -> dict[str, Sample]:
    if not split.labelled or task.name == "none":
        found = samples(side_by_side(baseline, artefact, split, report))
        return {name: one for name, one in found.items() if task.by_class or name == task.principal.name}
    return score(artefact, split, task.metrics, report)
