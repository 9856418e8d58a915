"""`QAT`: 8-bit integers, with the weights trained to bear the rounding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import onnx
import torch
from onnx import numpy_helper
from torch.nn import functional

from workbench.cost.network import Network
from workbench.errors import StepFailed
from workbench.jobs import Reporter
from workbench.onnx_file import save_onnx
from workbench.onnx_graph import tidy
from workbench.quantization.qdq import TYPES, quantize_graph
from workbench.quantization.ranges import METHODS, activation_ranges
from workbench.quantization.simulate import Simulated
from workbench.steps.base import Context, Lower, Sketch, setting
from workbench.steps.quantize import Quantize, calibration_inputs

if TYPE_CHECKING:
    from workbench.cost.weights import Weights
    from workbench.data import Split

_BATCH = 64


@dataclass(frozen=True)
class QAT(Lower):
    """Quantization-aware training: fine-tune with rounding and saturation as in the integer artefact.

    Starts from `Quantize("int8")`, trains the weights behind its integers on the training split against
    the labels and the float network's own outputs, and writes them into the same QDQ graph: what was
    trained is what runs. Of the start and each epoch, the best on the validation split is kept. Sources:
    Jacob et al. 2018, section 3; Hinton et al. 2015 for distillation.
    """

    title: ClassVar[str] = "Quantization-aware training"
    summary: ClassVar[str] = "int8, fine-tuned so that the network bears the rounding."
    family: ClassVar[str] = "precision"

    epochs: int = setting(1, "integer", "Passes over the training images.", low=1, high=100)
    distill: float = setting(
        0.7,
        "fraction",
        "Weight of the float network's outputs in the loss; the labels have the rest.",
        low=0.0,
        high=1.0,
    )
    rate: float = setting(1e-4, "number", "Learning rate of Adam at the start; it falls to zero.", low=1e-7, high=0.1)
    calibration: str = setting(
        "minmax", "choice", "How the range of an activation follows from what was seen.", choices=tuple(METHODS)
    )

    def sketch(self, network: Network, weights: Weights) -> Sketch:
        """The costs of `Quantize("int8")`."""
        found = Quantize("int8").sketch(network, weights)
        rows = tuple(
            replace(row, step=self.brief, action=f"{row.action}, trained" if row.applies else row.action)
            for row in found.rows
        )
        return Sketch(found.network, rows)

    def lower(self, source: Path, target: Path, context: Context) -> None:
        """Quantize, train, write. Raises: `StepFailed` without calibration or training images; `Cancelled`."""
        if context.train is None:
            raise StepFailed(f"{self.expression()} trains, and the data have no split 'train'. Use Quantize('int8').")
        model = tidy(onnx.load(str(source)))
        inputs = calibration_inputs(context, "QAT")
        ranges = activation_ranges(model, inputs, self.calibration, context.progress.part(0.0, 0.05))
        student = Simulated(
            quantize_graph(model, ranges, TYPES["u8s8"]),
            {one.name: numpy_helper.to_array(one) for one in model.graph.initializer},
        )
        self._train(student, Simulated(model), context, context.progress.part(0.05, 1.0))
        save_onnx(student.write_back(), target)

    def _train(self, student: Simulated, teacher: Simulated, context: Context, progress: Reporter) -> None:
        """Train the student in place; leaves it at its best on the validation split."""
        train, validation = context.train, context.validation
        assert train is not None  # `lower` refuses otherwise
        best = _keep(student)
        score = _score(student, validation) if validation is not None else (-1.0, 0.0)
        optimizer = torch.optim.Adam(student.parameters(), lr=self.rate)
        steps = self.epochs * -(-len(train) // _BATCH)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        random = torch.Generator().manual_seed(context.seed)
        for epoch in range(self.epochs):
            order = torch.randperm(len(train), generator=random)
            for index, chosen in enumerate(order.split(_BATCH)):
                progress((epoch + index * _BATCH / len(train)) / self.epochs, f"epoch {epoch + 1} of {self.epochs}")
                loss = self._loss(student, teacher, train.inputs[chosen], train.labels[chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
            now = _score(student, validation) if validation is not None else (float(epoch), 0.0)
            if now > score:
                best, score = _keep(student), now
        student.load_state_dict(best)

    def _loss(self, student: Simulated, teacher: Simulated, x: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        logits = student(x)
        with torch.no_grad():
            wanted = teacher(x).softmax(1)
        loss: torch.Tensor = self.distill * functional.cross_entropy(logits, wanted)
        return loss + (1 - self.distill) * functional.cross_entropy(logits, labels)


@torch.no_grad()
def _score(student: Simulated, split: Split) -> tuple[float, float]:
    """Accuracy on a split, then, where that is equal, minus the cross entropy."""
    right, loss = 0, 0.0
    for inputs, labels in split.batches(100):
        logits = student(inputs)
        right += int((logits.argmax(1) == labels).sum())
        loss += float(functional.cross_entropy(logits, labels, reduction="sum"))
    return right / len(split), -loss / len(split)


def _keep(student: Simulated) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in student.state_dict().items()}
