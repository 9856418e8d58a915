"""Figures of merit of an artefact, each with its interval. What they compute is in `workbench.tasks`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.data import Split
from workbench.data.batches import arrays, some
from workbench.estimate import Estimate
from workbench.jobs import Reporter
from workbench.measure.accuracy import BATCH
from workbench.measure.paired import Sample, resample, resample_whole
from workbench.runtimes import runtime
from workbench.tasks.metric import Metric, Tally, chosen

__all__ = ["Metric", "bootstrap", "sample", "score", "tallied"]

Array = npt.NDArray[Any]


def sample(metric: Metric, outputs: Any, labels: Any) -> Sample:
    """A metric of outputs (N, ...) and labels (N, ...), with what a comparison on the same inputs needs.

    Its interval of 95 % is Wilson's for a share of inputs. Where single inputs are known by values or by sums, those
    are drawn 2,000 times; a figure of all inputs at once is computed anew for `metric.draws` draws of them.

    Raises: `BadValue` when the metric's function returns neither of what it may; `MeasurementFailed` for NaN.
    """
    tally = Tally(metric)
    tally.add(outputs, labels)
    return tallied(tally)


def tallied(tally: Tally) -> Sample:
    """The same of all inputs that a tally has seen."""
    metric, parts = tally.metric, tally.parts
    if parts is None:
        outputs, labels = tally.everything
        function = metric.function

        def figure(i: Array) -> float:
            return float(function(chosen(outputs, i), chosen(labels, i)))

        return resample_whole(figure, tally.n, metric.draws, metric.unit)
    if metric.combine is None and bool(np.isin(parts, (0, 1)).all()):
        return Sample.of_marks(parts, metric.unit)
    n = len(parts)
    return resample(parts.reshape(n, -1), lambda sums: metric.of_parts(sums, n), metric.unit)


def bootstrap(parts: Array, combine: Callable[[Array], Array], unit: str = "") -> Estimate:
    """`combine` of the sums of parts (N, k) over all inputs, with a 95 % interval. See `resample`."""
    return resample(parts, combine, unit).estimate


def score(
    artefact: Path, split: Split, metrics: Sequence[Metric], progress: Reporter | None = None
) -> dict[str, Sample]:
    """Metrics of an artefact on a labelled split, taken in its runtime batch by batch, by their names.

    Outputs are kept for metrics alone that look at all of them together.

    Raises: `BadFile` when the runtime refuses the artefact, as `sample`, `Cancelled`.
    """
    report, session = progress or Reporter(), runtime().load(artefact)
    tallies = [Tally(metric) for metric in metrics]
    several = any(metric.several for metric in metrics)
    done, through = 0, report.through(metrics[0].word, len(split))
    for inputs, labels in split.batches(some(split, BATCH)):
        through(done)
        given, wanted = arrays(inputs), arrays(labels)
        values = tuple(session.outputs(given)) if several else session.run(given)
        for tally in tallies:
            tally.add(values, wanted)
        done += len(labels)
    report(1.0, metrics[0].word)
    return {tally.metric.name: tallied(tally) for tally in tallies}
