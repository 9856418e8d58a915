"""What an artefact's outputs are worth: accuracy, a metric of the user's, or agreement with the original."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from workbench.data import Data
from workbench.data.classes import is_class_numbers
from workbench.data.dataset import Split
from workbench.errors import BadValue
from workbench.estimate import Estimate
from workbench.jobs import Reporter
from workbench.measure.accuracy import evaluate
from workbench.measure.divergence import samples, side_by_side
from workbench.measure.metrics import ACCURACY, Metric, score
from workbench.measure.paired import Sample

#: Data without labels are measured by this.
AGREEMENT = "agreement"
#: Figures that compare with the original themselves.
APART = frozenset({AGREEMENT, "kl_divergence", "logit_error"})
#: What stands before the name of a figure on the validation split, and behind that of a paired difference.
VALIDATION, CHANGE = "validation_", "_change"


def principal(data: Data, metric: Metric | None) -> str:
    """The name of the figure that a variant is judged by.

    Raises: `BadValue` for a metric without labels, or for labels that are no class numbers without a metric.
    """
    test = data["test"]
    if not test.labelled:
        if metric is not None:
            raise BadValue(
                f"The metric {metric.name!r} compares outputs with labels, and {data.name} has none. Give labels, or "
                "leave the metric out: agreement with the original is measured then."
            )
        return AGREEMENT
    if metric is None and not has_classes(test):
        raise BadValue(
            f"The labels of {data.name} are {str(test.labels.dtype).removeprefix('torch.')} of shape "
            f"{tuple(test.labels.shape)}, not one class number an input, so there is no accuracy. Give the study "
            "a metric: 'miou' for segmentation, or a function of (outputs, labels)."
        )
    return ACCURACY.name if metric is None else metric.name


def has_classes(split: Split) -> bool:
    """Whether the labels are class numbers, one an input."""
    return split.labelled and is_class_numbers(split.labels)


def quality(artefact: Path, baseline: Path, data: Data, metric: Metric | None, report: Reporter) -> dict[str, Sample]:
    """Each figure on the test split, and with `validation_` before its name on the validation split.

    Accuracy where labels are class numbers and the network is measured by it or by a metric that takes these
    too; the metric; without labels `agreement` with the baseline, `kl_divergence` (nats) and `logit_error`.
    Raises: `BadFile`, `BadValue`, `MeasurementFailed`, `Cancelled`.
    """
    test, validation = data["test"], data.get("validation")
    found = _on(artefact, baseline, test, metric, report.part(0.0, 0.85))
    if validation is None:
        return found
    return found | {
        f"{VALIDATION}{name}": one
        for name, one in _on(artefact, baseline, validation, metric, report.part(0.85, 1.0)).items()
        if name not in {"kl_divergence", "logit_error"}
    }


def changes(found: Mapping[str, Sample], original: Mapping[str, Sample] | None) -> dict[str, Estimate]:
    """How each figure differs from the original's on the same inputs, with `_change` behind its name.

    `original` is None for the original itself, which differs by nothing. Agreement with the original and its like are
    differences already.
    """
    named = {name: one for name, one in found.items() if name.removeprefix(VALIDATION) not in APART}
    if original is None:
        return {f"{name}{CHANGE}": Estimate(0.0, 0.0, 0.0, one.n, one.unit) for name, one in named.items()}
    return {f"{name}{CHANGE}": original[name].change_to(one) for name, one in named.items() if name in original}


def _on(artefact: Path, baseline: Path, split: Split, metric: Metric | None, report: Reporter) -> dict[str, Sample]:
    if not split.labelled:
        return samples(side_by_side(baseline, artefact, split, report))
    if metric is None or metric is ACCURACY:
        return {ACCURACY.name: Sample.of_marks(evaluate(artefact, split, progress=report).right)}
    return {metric.name: score(artefact, split, metric, report)}
