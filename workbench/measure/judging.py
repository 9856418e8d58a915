"""How a step that chooses on the validation split judges answers: by what the study is judged by."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from workbench.data import Split
from workbench.data.batches import arrays
from workbench.estimate import Estimate, exact
from workbench.measure.metrics import tallied
from workbench.quantization.sensitivity import Judge
from workbench.tasks import Task
from workbench.tasks.metric import Metric, Tally, chosen


def judge_of(task: Task, split: Split) -> Judge:
    """By the task's principal figure, or, without labels, by what is left of the first graph's answers."""
    labels = arrays(split.labels) if split.labelled and task.name != "none" else None

    def drop(before: Any, after: Any) -> Estimate:
        count = len(after[0]) if isinstance(after, tuple) else len(after)
        wanted = before if labels is None else chosen(labels, np.arange(count))
        return lost(task.principal, (before, after), wanted)

    def harm(before: Any, after: Any) -> float:
        exact, found = (task.tensor(_tensors(one)) for one in (before, after))
        return float(task.taught(found, exact, 1.0))

    return Judge(split, drop, harm, task.several)


def lost(metric: Metric, outputs: tuple[Any, Any], labels: Any) -> Estimate:
    """How much worse the second of two outputs for the same inputs is, in the metric's unit, positive where it is.

    Without an interval for a metric of all inputs at once, which takes too long to draw anew at every trial.
    """
    tallies = [Tally(metric) for _ in outputs]
    for tally, one in zip(tallies, outputs, strict=True):
        tally.add(one, labels)
    sign = -1 if metric.more_is_better else 1
    if metric.whole:
        return exact(sign * (tallies[1].value() - tallies[0].value()), metric.unit)
    change = tallied(tallies[0]).change_to(tallied(tallies[1]))
    low, high = sorted((sign * change.low, sign * change.high))
    return Estimate(sign * change.value, low, high, change.n, change.unit)


def _tensors(outputs: Any) -> Any:
    return tuple(map(torch.from_numpy, outputs)) if isinstance(outputs, tuple) else torch.from_numpy(outputs)
