"""What a network is asked to do: how its answers are judged, trained, and called on the screen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from workbench.errors import BadValue
from workbench.modules.calling import first, flatten
from workbench.tasks.metric import Metric

if TYPE_CHECKING:
    import torch

Array = npt.NDArray[Any]


#: How far outputs are from the original's, at a temperature.
Taught = Callable[["torch.Tensor", "torch.Tensor", float], "torch.Tensor"]


@dataclass(frozen=True)
class Seen:
    """What a task is recognised from: the network's outputs for one input, and the labels of the test split.

    `outputs` are their shapes without the batch, the one that stands for all of them first; `labels` an array
    (N, ...), a list of one mapping an input, or None.
    """

    outputs: tuple[tuple[int, ...], ...]
    labels: Any

    @property
    def output(self) -> tuple[int, ...]:
        """The shape of the output that stands for all."""
        return self.outputs[0]

    @property
    def label(self) -> tuple[int, ...] | None:
        """The shape of one label; None where they are no array."""
        return self.labels.shape[1:] if isinstance(self.labels, np.ndarray) else None

    @property
    def whole(self) -> bool:
        """Whether the labels are whole numbers."""
        return isinstance(self.labels, np.ndarray) and self.labels.dtype.kind in "biu"

    def __str__(self) -> str:
        given = " and ".join(str(one) for one in self.outputs)
        if self.labels is None:
            return f"The network gives {given} for an input, and the data have no labels"
        if self.label is None:
            kind = type(self.labels[0]).__name__ if len(self.labels) else "nothing"
            return f"The network gives {given} for an input, and a label is a {kind}"
        return f"The network gives {given} for an input, and the labels are {self.labels.dtype} of shape {self.label}"


def _no_answers(outputs: Array) -> Array:
    raise BadValue(f"Outputs of shape {outputs.shape} are no choice among answers.")


@dataclass(frozen=True)
class Task:
    """One kind of question that networks answer.

    Args:
        name: what `wb.Study(..., task=...)` takes.
        title: the same within a sentence.
        metrics: how answers are judged; the first decides, the others are reported beside it.
        needs: the outputs and labels that it takes, within a sentence.
        fits: whether outputs and labels are of it.
        likely: whether they are so plainly of it that nobody needs to say so.
        loss: of outputs (N, ...), labels (N, ...) and a weight for each class, to train with, the mean over the
            inputs; None where labels cannot be trained on, so that the original alone teaches.
        taught: how far outputs are from the original's at a temperature, to train with.
        answers: the answers (N, ...) of outputs, such as the number of the class; None where outputs are values.
        classes: whether labels are numbers of the classes that outputs (N, classes, ...) have scores for.
        several: whether it looks at every output of the network.
    """

    name: str
    title: str
    metrics: tuple[Metric, ...]
    needs: str
    fits: Callable[[Seen], bool]
    likely: Callable[[Seen], bool]
    loss: Callable[..., torch.Tensor] | None
    taught: Taught
    answers: Callable[[Array], Array] | None = None
    classes: bool = False
    several: bool = False

    @property
    def principal(self) -> Metric:
        """What decides between two variants."""
        return self.metrics[0]

    @property
    def by_class(self) -> bool:
        """Whether outputs (N, classes, ...) are scores of classes, as far as is known."""
        return self.classes or (self.name == "none" and self.answers is not None)

    def judged_by(self, metric: Metric) -> Task:
        """The same, judged by another metric alone."""
        return replace(self, metrics=(metric,))

    def on(self, outputs: Any, labels: Any, weight: torch.Tensor | None = None) -> torch.Tensor:
        """The loss of a network's nested outputs on labels, in float32."""
        assert self.loss is not None  # whoever trains on labels asks first
        return self.loss(self.tensor(outputs).float(), labels, weight)

    def tensor(self, outputs: Any) -> torch.Tensor:
        """The tensor that a loss looks at, of a network's nested outputs; several side by side (N, numbers)."""
        import torch

        if not self.several:
            return first(outputs)
        return torch.cat([one.float().flatten(1) for one in flatten(outputs) if one.is_floating_point()], 1)

    def check(self, seen: Seen) -> None:
        """Raises: `BadValue` where outputs or labels are of another kind."""
        if not self.fits(seen):
            raise BadValue(f"{seen}: that is no {self.title}, which needs {self.needs}.")
