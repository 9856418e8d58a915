"""Figures of merit: a name, a function of outputs and labels, and the words for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.errors import BadValue, MeasurementFailed, unknown
from workbench.tasks.library import Summed, Whole, adds_up, instance, is_theirs, name_of, takes_tensors, told_as

Array = npt.NDArray[Any]
Function = Callable[[Any, Any], Any]


#: Draws of the inputs for a figure of all of them at once.
DRAWS = 200


@dataclass(frozen=True)
class Metric:
    """A figure of merit.

    `function(outputs, labels)` takes outputs (N, ...) and labels (N, ...) and returns values (N,), one an
    input, whose mean is the metric; or, with `combine`, parts (N, k) whose sums over the inputs (..., k)
    `combine` turns into the metric; or one number for all inputs together. With `whole` it is always given all
    inputs at once, such as where each is looked for among the others; with `several` every output of the network.
    One number for all inputs is computed anew for `draws` draws of them, which give its interval.

    `label` is its word on the screen, `unit` what stands behind it, `share` whether it is shown in per cent.
    """

    name: str
    function: Function
    combine: Callable[[Array], Array] | None = None
    more_is_better: bool = True
    unit: str = ""
    label: str = ""
    share: bool = False
    whole: bool = False
    several: bool = False
    draws: int = DRAWS

    def text(self, value: float) -> str:
        """A figure with its unit: `92.10 %`, `31.4 dB`."""
        return f"{100 * value:.2f} %" if self.share else f"{value:.4g} {self.unit}".rstrip()

    @property
    def word(self) -> str:
        """What it is called within a sentence; abbreviations stay as they are."""
        label = self.label or self.name.replace("_", " ")
        return label[:1].lower() + label[1:] if label[1:2].islower() else label

    def checked(self, found: Array, n: int) -> Array:
        """What the function gave for n inputs, in double precision. Raises: `BadValue`, `MeasurementFailed`."""
        wanted = 1 if self.combine is None else 2
        if found.ndim != wanted or len(found) != n:
            raise BadValue(
                f"The metric {self.name!r} returned shape {found.shape} for {n} inputs. "
                "Return one value an input, or one number for all."
            )
        if not np.isfinite(found.astype(np.float64)).all():
            raise MeasurementFailed(f"The metric {self.name!r} is NaN or infinite for some inputs, so it has no mean.")
        return found.astype(np.float64)

    def of_parts(self, sums: Array, n: int) -> Array:
        """The metric of sums (..., k) over n inputs of what `function` gave."""
        return self.combine(sums) if self.combine is not None else sums[..., 0] / n

    def better(self, one: float, other: float) -> bool:
        """Whether one figure is the better of two."""
        return one > other if self.more_is_better else one < other


class Tally:
    """A metric over inputs that come a batch at a time; outputs are kept only where they are needed together."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.n = 0
        self._parts: list[Array] = []
        self._kept: list[tuple[Any, Any]] = []

    def add(self, outputs: Any, labels: Any) -> None:
        """The next batch. Raises: `BadValue`, `MeasurementFailed`."""
        count = len(labels)
        self.n += count
        found = None
        if not self.metric.whole and not self._kept:
            found = np.asarray(self.metric.function(outputs, labels))
        if found is None or found.ndim == 0:
            self._kept.append((outputs, labels))
        else:
            self._parts.append(self.metric.checked(found, count))

    @property
    def parts(self) -> Array | None:
        """What is known of each input, (N,) or (N, k); None where the metric is one number for all."""
        if self._kept:
            found = np.asarray(self.metric.function(*self.everything))
            return None if found.ndim == 0 else self.metric.checked(found, self.n)
        return np.concatenate(self._parts)

    @property
    def everything(self) -> tuple[Any, Any]:
        """All outputs and all labels."""
        outputs, labels = zip(*self._kept, strict=True)
        return together(outputs), together(labels)

    def value(self) -> float:
        """The metric so far."""
        parts = self.parts
        if parts is None:
            return float(self.metric.function(*self.everything))
        return float(self.metric.of_parts(parts.reshape(len(parts), -1).sum(axis=0), len(parts)))


def together(batches: Any) -> Any:
    """Batches of arrays, of lists, or of several arrays, as one."""
    first = batches[0]
    if isinstance(first, np.ndarray):
        return np.concatenate(batches)
    if isinstance(first, tuple):
        return tuple(np.concatenate(one) for one in zip(*batches, strict=True))
    return [one for batch in batches for one in batch]


def chosen(values: Any, index: Array) -> Any:
    """The inputs of these numbers of what `together` gave."""
    if isinstance(values, np.ndarray):
        return values[index]
    if isinstance(values, tuple):
        return tuple(one[index] for one in values)
    return [values[i] for i in index]


def as_metric(value: Any, known: dict[str, Metric]) -> Metric:
    """A metric by its name, of torchmetrics, or from a function of (outputs, labels), which gives it its name.

    Raises: `UnknownName`; `BadValue` for a function without a name that can be a column's.
    """
    if isinstance(value, Metric):
        return _named(value)
    if isinstance(value, str):
        if value not in known:
            raise unknown("metric", value, known)
        return known[value]
    if is_theirs(value):
        return _named(_theirs(value))
    if not callable(value):
        raise BadValue(
            f"metric={value!r}: give a name ({', '.join(known)}), a metric of torchmetrics, or a function of "
            "(outputs, labels)."
        )
    name = name_of(value)
    return _named(Metric(name, tried(name, told_as(value) if takes_tensors(value) else value)))


def _theirs(value: Any) -> Metric:
    """A metric of torchmetrics: of the sums of its states where they are sums, else of all inputs at once."""
    made, name = instance(value), name_of(value)
    rising = made.higher_is_better is not False
    if adds_up(made):
        summed = Summed(made)
        return Metric(name, tried(name, summed.parts), summed.combine, rising)
    return Metric(name, tried(name, Whole(made)), more_is_better=rising, whole=True)


def tried(name: str, function: Function) -> Function:
    """A metric's function: what it raises is told with the shapes that it was given."""

    def tried(outputs: Any, labels: Any) -> Any:
        try:
            return function(outputs, labels)
        except Exception as error:  # a user's function may raise anything
            raise BadValue(
                f"The metric {name!r} raised {type(error).__name__}: {error}, for outputs of shape {_shape(outputs)} "
                f"and labels of shape {_shape(labels)}. It is given a batch at a time, and drawings of the inputs."
            ) from error

    return tried


def _shape(values: Any) -> str:
    return str(values.shape) if isinstance(values, np.ndarray) else f"({len(values)}, ...)"


def _named(metric: Metric) -> Metric:
    if not metric.name.isidentifier():
        raise BadValue(
            f"A metric named {metric.name!r} cannot be a column. Use workbench.tasks.Metric('a_name', function)."
        )
    return metric
