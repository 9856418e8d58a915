"""torchmetrics, imported when a figure is first taken, and its metrics as ours."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from workbench.errors import BadValue

Array = npt.NDArray[Any]

#: States of more numbers than this are not kept for every input: the figure is computed anew on resampled inputs.
MOST_STATES = 4096


def torchmetrics(part: str = "functional") -> Any:
    """A part of torchmetrics, such as `functional.classification`.

    It imports torchvision where that is installed. One that was built for another torch raises there; its pictures'
    networks are not needed here, so it is left out.
    """
    try:
        import torchmetrics as _  # noqa: F401  # whole: its parts import one another
    except RuntimeError:
        known = sys.modules.get("torchmetrics.utilities.imports")
        if known is None:
            raise
        known._TORCHVISION_AVAILABLE.available = False  # torchmetrics' own switch
    return importlib.import_module(f"torchmetrics.{part}")


def with_torchvision(part: str) -> Any:
    """A part that needs torchvision. Raises: what importing that raises."""
    found = torchmetrics(part)
    importlib.import_module("torchvision")
    sys.modules["torchmetrics.utilities.imports"]._TORCHVISION_AVAILABLE.available = True
    return found


def is_theirs(value: Any) -> bool:
    """Whether something is a metric of torchmetrics, an instance or a class."""
    kind = value if isinstance(value, type) else type(value)
    return any(one.__module__.startswith("torchmetrics.") and one.__name__ == "Metric" for one in kind.__mro__)


def takes_tensors(function: Any) -> bool:
    """Whether a function is one of torchmetrics', perhaps with some arguments filled in."""
    home: str = getattr(getattr(function, "func", function), "__module__", "") or ""
    return home.startswith("torchmetrics")


def name_of(value: Any) -> str:
    """The name of a function, a class or an instance as a column's: that of a class in small letters."""
    value = getattr(value, "func", value)
    name: str = getattr(value, "__name__", type(value).__name__)
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower() if is_theirs(value) else name


def instance(value: Any) -> Any:
    """A metric of torchmetrics of our own: a fresh one of a class, a copy of an instance. Raises: `BadValue`."""
    try:
        made = (value() if isinstance(value, type) else value.clone()).to("cpu")
        made.reset()
    except Exception as error:  # its constructor may want anything
        raise BadValue(
            f"The metric {name_of(value)} cannot be made: {error}. Give an instance with its arguments, such as "
            f"metric={getattr(value, '__name__', type(value).__name__)}(...)."
        ) from error
    return made


def tensors(values: Any) -> Any:
    """Arrays as tensors, within lists and mappings too."""
    import torch

    if isinstance(values, dict):
        return {name: tensors(one) for name, one in values.items()}
    if isinstance(values, (list, tuple)):
        return [tensors(one) for one in values]
    return torch.from_numpy(np.ascontiguousarray(values)) if isinstance(values, np.ndarray) else values


def number(found: Any) -> Any:
    """What a metric gave as a number or an array. Raises: `BadValue` for several named figures."""
    import torch

    if isinstance(found, dict):
        raise BadValue(f"The metric gives the figures {', '.join(map(str, found))}: give one that gives one number.")
    return found.detach().cpu().numpy() if isinstance(found, torch.Tensor) else found


class Whole:
    """A metric of torchmetrics as a function of (outputs, labels): one number for all inputs at once."""

    def __init__(self, metric: Any) -> None:
        self.metric = metric

    def __call__(self, outputs: Array, labels: Any) -> Any:
        """The metric of these inputs alone."""
        self.metric.reset()
        self.metric.update(tensors(outputs), tensors(labels))
        return float(np.asarray(number(self.metric.compute())))


class Summed(Whole):
    """The same for a metric whose states are sums: those of every input (N, states), and the metric of their sums.

    It is exactly what torchmetrics computes over several processes: states are added, then looked at.
    """

    def __init__(self, metric: Any) -> None:
        super().__init__(metric)
        self.shapes = {name: tuple(value.shape) for name, value in metric._defaults.items()}
        self.kinds = {name: value.dtype for name, value in metric._defaults.items()}

    def parts(self, outputs: Array, labels: Any) -> Array:
        """The states of each input (N, states)."""
        given, wanted = tensors(outputs), tensors(labels)
        return np.stack([self._states(given[i : i + 1], wanted[i : i + 1]) for i in range(len(outputs))])

    def _states(self, outputs: Any, labels: Any) -> Array:
        self.metric.reset()
        self.metric.update(outputs, labels)
        return np.concatenate([np.asarray(getattr(self.metric, name), np.float64).ravel() for name in self.shapes])

    def combine(self, sums: Array) -> Array:
        """The metric of sums of states (..., states)."""
        found = [self._of(one) for one in sums.reshape(-1, sums.shape[-1])]
        return np.asarray(found, np.float64).reshape(sums.shape[:-1])

    def _of(self, sums: Array) -> float:
        import torch

        self.metric.reset()
        at = 0
        for name, shape in self.shapes.items():
            size = int(np.prod(shape))
            value = torch.from_numpy(sums[at : at + size].reshape(shape).copy()).to(self.kinds[name])
            setattr(self.metric, name, value)
            at += size
        self.metric._update_count = 1  # torchmetrics warns of a metric that has seen nothing
        return float(np.asarray(number(self.metric.compute())))


def adds_up(metric: Any) -> bool:
    """Whether a metric's states are sums over the inputs, and few enough to keep those of every input."""
    import torch

    reductions = metric._reductions.values()
    if not all(getattr(one, "__name__", "") == "dim_zero_sum" for one in reductions):
        return False
    states = metric._defaults.values()
    return (
        bool(states)
        and all(isinstance(one, torch.Tensor) for one in states)
        and (sum(one.numel() for one in states) <= MOST_STATES)
    )


def told_as(function: Callable[..., Any]) -> Callable[[Array, Any], Any]:
    """A function of torchmetrics on arrays."""
    return lambda outputs, labels: number(function(tensors(outputs), tensors(labels)))
