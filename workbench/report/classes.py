"""What a variant costs in every class, from what the study kept of each test input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from workbench.estimate import Estimate
from workbench.measure.paired import Sample
from workbench.tasks import Metric
from workbench.variant import Variant


@dataclass(frozen=True)
class ClassCost:
    """One class: its `n` test inputs, the share that is right before and after, and the paired change."""

    name: str
    n: int
    before: Estimate
    after: Estimate
    change: Estimate


@dataclass(frozen=True)
class Classes:
    """Every class that occurs, the one that suffers most first; `why` says why there are none."""

    rows: tuple[ClassCost, ...] = ()
    why: str = ""


def by_class(original: Variant, variant: Variant, metric: Metric) -> Classes:
    """What becomes of each class of the test split, on the same inputs.

    Nothing runs: the marks of every input are kept with both variants.
    """
    split, before, after = variant.data["test"], *(one.samples.get(metric.name) for one in (original, variant))
    if variant.data.task.name != "classification" or not (split.labelled and metric.more_is_better):
        return Classes(why=f"An input of {variant.data.name} belongs to no single class, so there is no cost by class.")
    if before is None or after is None or not (before.has_marks and after.has_marks):
        return Classes(why=f"Of {metric.word} it is not known which single inputs are right, so no class can be told.")
    labels = np.asarray(split.labels)
    if not before.n == after.n == len(labels):
        return Classes(why="The two were not measured on the test inputs that are at hand, so no class can be told.")
    rows = [_cost(variant.data.classes, int(one), labels == one, (before, after)) for one in np.unique(labels)]
    return Classes(tuple(sorted(rows, key=lambda row: (row.change.value, row.change.low))))


def _cost(names: tuple[str, ...], label: int, mine: np.ndarray, both: tuple[Sample, Sample]) -> ClassCost:
    before, after = (Sample.of_marks(one.values[mine]) for one in both)
    name = names[label] if label < len(names) else f"class {label}"
    return ClassCost(name, before.n, before.estimate, after.estimate, before.change_to(after))
