"""Figures of merit other than accuracy: named ones, or a function of a user's own; each with an interval."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.data import Split
from workbench.data.batches import arrays, some
from workbench.data.classes import check_classes
from workbench.errors import BadValue, MeasurementFailed, unknown
from workbench.estimate import Estimate
from workbench.jobs import Reporter
from workbench.measure.accuracy import BATCH
from workbench.measure.paired import Sample, resample, resample_whole
from workbench.runtimes import runtime

Array = npt.NDArray[Any]
Function = Callable[[Array, Array], Any]


@dataclass(frozen=True)
class Metric:
    """A figure of merit.

    `function(outputs, labels)` takes outputs (N, ...) and labels (N, ...) and returns values (N,), one an
    input, whose mean is the metric; or, with `combine`, parts (N, k) whose sums over the inputs (..., k)
    `combine` turns into the metric; or one number for all inputs together.
    """

    name: str
    function: Function
    combine: Callable[[Array], Array] | None = None
    more_is_better: bool = True
    unit: str = ""

    def estimate(self, outputs: Array, labels: Array) -> Estimate:
        """The metric with a 95 % interval: Wilson's for a share, a bootstrap over the inputs otherwise.

        Raises: as `sample`.
        """
        return self.sample(outputs, labels).estimate

    def sample(self, outputs: Array, labels: Array) -> Sample:
        """The metric with what a comparison on the same inputs needs.

        Raises: `BadValue` when the function returns neither of what it may; `MeasurementFailed` for NaN.
        """
        found = np.asarray(self.function(outputs, labels))
        if found.ndim == 0:
            return resample_whole(lambda i: float(self.function(outputs[i], labels[i])), len(outputs), self.unit)
        return self.of_values(self._checked(found, len(outputs)))

    def of_values(self, values: Array) -> Sample:
        """The sample of values (N,) or parts (N, k) that the function has returned."""
        if not np.isfinite(values).all():
            raise MeasurementFailed(f"The metric {self.name!r} is NaN or infinite for some inputs, so it has no mean.")
        if self.combine is None and bool(np.isin(values, (0, 1)).all()):
            return Sample.of_marks(values, self.unit)
        combine = self.combine or (lambda sums: sums[..., 0] / len(values))
        return resample(values.reshape(len(values), -1), combine, self.unit)

    def _checked(self, found: Array, n: int) -> Array:
        wanted = 1 if self.combine is None else 2
        if found.ndim != wanted or len(found) != n:
            raise BadValue(
                f"The metric {self.name!r} returned shape {found.shape} for {n} inputs. "
                "Return one value an input, or one number for all."
            )
        return found.astype(np.float64)


def bootstrap(parts: Array, combine: Callable[[Array], Array], unit: str = "") -> Estimate:
    """`combine` of the sums of parts (N, k) over all inputs, with a 95 % interval. See `resample`."""
    return resample(parts, combine, unit).estimate


def score(artefact: Path, split: Split, metric: Metric, progress: Reporter | None = None) -> Sample:
    """A metric of an artefact on a split, taken in its runtime batch by batch; outputs are not kept.

    A function that returns one number for a batch is given all outputs at once instead.

    Raises: `BadFile` when the runtime refuses the artefact, as `Metric.sample`, `Cancelled`.
    """
    report, session = progress or Reporter(), runtime().load(artefact)
    parts: list[Array] = []
    kept: list[tuple[Array, Array]] = []
    for values, labels in _batches(session.run, split, metric.name, report):
        found = None if kept else np.asarray(metric.function(values, labels))
        if found is None or found.ndim == 0:
            kept.append((values, labels))
        else:
            parts.append(metric._checked(found, len(values)))
    if kept:
        outputs, labels = (np.concatenate(one) for one in zip(*kept, strict=True))
        return metric.sample(outputs, labels)
    return metric.of_values(np.concatenate(parts))


def _batches(run: Callable[[Any], Array], split: Split, stage: str, report: Reporter) -> Iterator[tuple[Array, Array]]:
    size = some(split, BATCH)
    for index, (batch, labels) in enumerate(split.batches(size)):
        report(index * size / len(split), stage)
        yield run(arrays(batch)), np.asarray(labels)
    report(1.0, stage)


def _classes(outputs: Array, labels: Array) -> None:
    if outputs.ndim != 2 or labels.shape != outputs.shape[:1]:
        raise BadValue(
            f"Outputs of shape {outputs.shape} and labels of shape {labels.shape} are not a classification: "
            "it has outputs (N, classes) and labels (N,). Use metric='miou' for segmentation, or a function."
        )


def _sound(outputs: Array, labels: Array) -> None:
    _finite(outputs)
    check_classes(labels, outputs.shape[1], "the split")


def _finite(outputs: Array) -> None:
    broken = int((~np.isfinite(outputs)).reshape(len(outputs), -1).any(axis=1).sum())
    if broken:
        raise MeasurementFailed(
            f"The artefact returns NaN or infinity for {broken} of {len(outputs)} inputs, so it gives no answers there."
        )


def top1(outputs: Array, labels: Array) -> Array:
    """1 where the largest output is the label's, 0 elsewhere (N,). Raises: `BadValue`."""
    _classes(outputs, labels)
    _sound(outputs, labels)
    right: Array = outputs.argmax(axis=1) == labels
    return right


def top5(outputs: Array, labels: Array) -> Array:
    """1 where the label is among the five largest outputs (N,). Raises: `BadValue` for five classes or fewer."""
    _classes(outputs, labels)
    if outputs.shape[1] <= 5:
        raise BadValue(f"With {outputs.shape[1]} classes the label is always among the top five. Use 'accuracy'.")
    _sound(outputs, labels)
    own = np.take_along_axis(outputs, labels[:, None].astype(np.int64), axis=1)
    within: Array = (outputs > own).sum(axis=1) < 5
    return within


def overlaps(outputs: Array, labels: Array) -> Array:
    """Pixels in the intersection and in the union of each class, (N, 2 * classes), for segmentation.

    `outputs` (N, classes, ...) hold a score for every pixel, `labels` (N, ...) its class; labels that are
    no class, such as 255, are left out. Raises: `BadValue` for other shapes.
    """
    if outputs.ndim < 3 or labels.shape != (outputs.shape[0], *outputs.shape[2:]):
        raise BadValue(
            f"Outputs of shape {outputs.shape} and labels of shape {labels.shape} are not a segmentation: "
            "it has outputs (N, classes, H, W) and labels (N, H, W)."
        )
    _finite(outputs)
    n, classes = outputs.shape[:2]
    said, true = outputs.argmax(axis=1).reshape(n, -1), labels.reshape(n, -1)
    known = (true >= 0) & (true < classes)
    found = np.zeros((n, 2 * classes))
    for one in range(classes):
        is_said, is_true = (said == one) & known, true == one
        found[:, one] = (is_said & is_true).sum(axis=1)
        found[:, classes + one] = (is_said | is_true).sum(axis=1)
    return found


def mean_iou(sums: Array) -> Array:
    """Intersection over union, averaged over the classes that occur; `sums` (..., 2 * classes)."""
    both, either = np.split(np.asarray(sums, np.float64), 2, axis=-1)
    share = np.divide(both, either, out=np.zeros_like(both), where=either > 0)
    occurring = np.maximum((either > 0).sum(axis=-1), 1)
    mean: Array = share.sum(axis=-1) / occurring
    return mean


ACCURACY = Metric("accuracy", top1)
METRICS = {one.name: one for one in (ACCURACY, Metric("top5", top5), Metric("miou", overlaps, mean_iou))}


def as_metric(value: Metric | str | Function) -> Metric:
    """A metric by its name, or from a function of (outputs, labels), which gives it its name.

    Raises: `UnknownName`; `BadValue` for a function without a name that can be a column's.
    """
    if isinstance(value, Metric):
        return _named(value)
    if isinstance(value, str):
        if value not in METRICS:
            raise unknown("metric", value, METRICS)
        return METRICS[value]
    if not callable(value):
        raise BadValue(f"metric={value!r}: give a name ({', '.join(METRICS)}) or a function of (outputs, labels).")
    return _named(_told(getattr(value, "__name__", type(value).__name__), value))


def _told(name: str, function: Function) -> Metric:
    """A metric of a user's own function: what that raises is told with the shapes that it was given."""

    def tried(outputs: Array, labels: Array) -> Any:
        try:
            return function(outputs, labels)
        except Exception as error:  # a user's function may raise anything
            raise BadValue(
                f"The metric {name!r} raised {type(error).__name__}: {error}, for outputs of shape {outputs.shape} and "
                f"labels of shape {labels.shape}. It is given a batch at a time, and drawings of the inputs."
            ) from error

    return Metric(name, tried)


def _named(metric: Metric) -> Metric:
    if not metric.name.isidentifier():
        raise BadValue(f"A metric named {metric.name!r} cannot be a column. Use wb.measure.Metric('a_name', function).")
    return metric
