"""Which task a network and its data are of, by outputs and labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from workbench.errors import BadValue, unknown
from workbench.modules.calling import Inputs, call, first, flatten, tensors_map
from workbench.tasks.classification import BALANCED, CLASSIFICATION, IMBALANCED, TOP5, is_imbalanced
from workbench.tasks.detection import DETECTION, MAP_50
from workbench.tasks.embeddings import EMBEDDINGS
from workbench.tasks.images import IMAGES
from workbench.tasks.metric import Metric, as_metric
from workbench.tasks.multilabel import MULTILABEL
from workbench.tasks.regression import REGRESSION
from workbench.tasks.segmentation import BINARY, SEGMENTATION
from workbench.tasks.sequences import CLASSES_FIRST, CTC, SEQUENCES
from workbench.tasks.task import Seen, Task
from workbench.tasks.unlabelled import UNLABELLED, VALUES

if TYPE_CHECKING:
    from workbench.data import Split

#: Every task, and every form that one comes in; of those that are likely the first is taken.
TASKS = (
    UNLABELLED, VALUES, DETECTION, CLASSIFICATION, MULTILABEL, SEGMENTATION, BINARY, SEQUENCES, CLASSES_FIRST, CTC,
    IMAGES, REGRESSION, EMBEDDINGS,
)  # fmt: skip
#: Every metric that has a name.
METRICS: dict[str, Metric] = {
    one.name: one for one in (*(one for task in reversed(TASKS) for one in task.metrics), BALANCED, TOP5, MAP_50)
}


def seen_of(module: Callable[..., Any], example: Inputs, test: Split) -> Seen:
    """What a task is recognised from: a network's outputs for its example, and the labels of a split."""
    import torch

    with torch.no_grad():
        given = call(module, tensors_map(torch.clone, example))
    principal = first(given)
    rest = [one for one in flatten(given) if one is not principal]
    shapes = tuple(tuple(one.shape[1:]) for one in (principal, *rest))
    return Seen(shapes, _labels(test.labels) if test.labelled else None)


def _labels(labels: Any) -> Any:
    return labels.numpy() if hasattr(labels, "numpy") else labels


def recognise(seen: Seen, task: Task | str | None, metric: Any = None) -> Task:
    """The task that is asked for, or that outputs and labels are plainly of, judged by `metric` where that is given.

    Raises: `UnknownName`, `BadValue` where it does not fit, or is not plain; what `as_metric` raises.
    """
    judged = None if metric is None else as_metric(metric, METRICS)
    if judged is not None and seen.labels is None and judged not in (*UNLABELLED.metrics,):
        raise BadValue(
            f"The metric {judged.name!r} compares outputs with labels, and the data have none. Give labels, or "
            "leave the metric out: agreement with the original is measured then."
        )
    found = _asked(seen, task) if task is not None else _plain(seen, judged)
    if found is CLASSIFICATION and is_imbalanced(seen.labels):
        found = IMBALANCED
    if judged is None:
        return found
    forms = {one.name: one for one in found.metrics} if isinstance(metric, str) else {}
    return found.judged_by(forms.get(judged.name, judged))  # a task's own form of a metric knows its outputs


def _asked(seen: Seen, task: Task | str) -> Task:
    if isinstance(task, Task):
        task.check(seen)
        return task
    forms = [one for one in TASKS if one.name == task]
    if not isinstance(task, str) or not forms:
        raise unknown("task", str(task), list(dict.fromkeys(one.name for one in TASKS)))
    fitting = [one for one in forms if one.fits(seen)]
    if not fitting:
        forms[0].check(seen)
    return next((one for one in fitting if one.likely(seen)), fitting[0])


def _plain(seen: Seen, judged: Metric | None) -> Task:
    likely = [one for one in TASKS if one.likely(seen)]
    if judged is not None:  # what is judged by a task's own metric is likely of that task
        likely = [one for one in likely if judged.name in {known.name for known in one.metrics}] or likely
    if likely:
        return likely[0]
    if judged is not None:
        return OWN
    names = ", ".join(dict.fromkeys(repr(one.name) for one in TASKS if one.name != "none"))
    raise BadValue(
        f"{seen}, so what is asked of it is not plain. Give the study a task ({names}), or a metric: a function of "
        "(outputs, labels) or one of torchmetrics."
    )


#: What a metric of the user's own judges, and labels of a kind that nothing here can be trained on.
OWN = Task(
    name="own", title="task of your own", metrics=(), needs="a metric", fits=lambda _: True, likely=lambda _: False,
    loss=None, taught=VALUES.taught,
)  # fmt: skip


def unclear(why: str) -> Task:
    """A task for data without a plain one: it judges nothing and trains on nothing, and says why."""

    def refuse(*_: Any) -> Any:
        raise BadValue(why)

    return replace(OWN, metrics=(Metric("unclear", refuse),), loss=refuse)
