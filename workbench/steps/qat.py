"""`QAT`: 8-bit integers, with the weights trained to bear the rounding."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import onnx
import torch
from onnx import numpy_helper

from workbench.artefact.onnx_graph import merge, separate, tidy
from workbench.cost.network import Network
from workbench.data.batches import batches
from workbench.errors import StepFailed
from workbench.jobs import Reporter
from workbench.modules.calling import Inputs, call, flatten
from workbench.onnx_file import save_onnx
from workbench.quantization.qdq import TYPES, quantize_graph
from workbench.quantization.ranges import METHODS, activation_ranges
from workbench.quantization.simulate import Simulated
from workbench.settings import decades
from workbench.step import Context, Lower, Plan, setting
from workbench.steps.quantize import Quantize, calibration_inputs
from workbench.tasks import Task
from workbench.training.loop import Settings, Trainer

if TYPE_CHECKING:
    from workbench.cost.weights import Weights
    from workbench.data import Split

_BATCH = 64
_TYPES = "u8s8"  # what the simulation computes exactly, and the usual winner


@dataclass(frozen=True)
class QAT(Lower):
    """Quantization-aware training: fine-tune with rounding and saturation as in the integer artefact.

    Starts from `Quantize("int8")`, trains the weights behind its integers on the training split against
    the labels, as the study's task has it, and the float network's own outputs, and writes them into the same
    QDQ graph: what was trained is what runs. Of the start and each epoch, the best on the validation split is
    kept. Sources: Jacob et al. 2018, section 3; Hinton et al. 2015 for distillation.
    """

    title: ClassVar[str] = "Quantization-aware training"
    summary: ClassVar[str] = "int8, fine-tuned so that the network bears the rounding."
    family: ClassVar[str] = "precision"

    epochs: int = setting(1, "integer", "Passes over the training images.", low=1, high=100, stops=decades(1, 100))
    distill: float = setting(
        0.7,
        "fraction",
        "Weight of the float network's outputs in the loss; the labels have the rest.",
        low=0.0,
        high=1.0,
    )
    rate: float = setting(
        1e-4,
        "number",
        "Learning rate of Adam at the start; it falls to zero.",
        low=1e-7,
        high=0.1,
        stops=decades(1e-7, 0.1),
    )
    calibration: str = setting(
        "minmax", "choice", "How the range of an activation follows from what was seen.", choices=tuple(METHODS)
    )

    @property
    def needs_torch(self) -> bool:
        """It trains, and no gradient goes through ONNX Runtime."""
        return True

    @property
    def effort(self) -> float:
        """That of its epochs."""
        return 60.0 * self.epochs

    def plan_on(self, network: Network, weights: Weights) -> Plan:
        """The costs of `Quantize("int8")`."""
        found = Quantize("int8").plan_on(network, weights)
        rows = tuple(
            one._replace(step=self.brief, data={**one.data, "unless": ", trained"} if one.applies else one.data)
            for one in found.rows
        )
        return replace(found, rows=rows)

    def lower(self, source: Path, target: Path, context: Context) -> None:
        """Quantize, train, write. Raises: `StepFailed` without calibration or training images; `Cancelled`."""
        if context.train is None:
            raise StepFailed(f"{self.expression()} trains, and the data have no split 'train'. Use Quantize('int8').")
        model = separate(tidy(onnx.load(str(source))))
        inputs = calibration_inputs(context, "QAT")
        ranges = activation_ranges(model, inputs, self.calibration, context.progress.part(0.0, 0.05))
        form = Quantize("int8", types=_TYPES).fastest_form(model, ranges, context.progress.part(0.05, 0.1))
        start = quantize_graph(model, ranges, TYPES[_TYPES], exclude=form.floats(model))
        merge(start)  # what layers share they share while they are trained, too
        student = Simulated(start, {one.name: numpy_helper.to_array(one) for one in model.graph.initializer})
        _check_trainable(student, inputs, context.progress)
        self._train(student, Simulated(model), context, context.progress.part(0.1, 1.0))
        save_onnx(student.write_back(), target)

    def _train(self, student: Simulated, teacher: Simulated, context: Context, progress: Reporter) -> None:
        """Train the student in place; leaves it at its best on the validation split."""
        assert context.train is not None  # `lower` refuses otherwise
        how = Settings(
            epochs=self.epochs, lr=self.rate, batch=_BATCH, optimizer="adam", schedule="cosine", precision="float32",
            seed=context.seed, device="cpu",
        )  # fmt: skip
        task, on_labels = context.task, context.train.labelled and context.task.loss is not None
        loss = partial(self._loss, (student, teacher), task, on_labels)
        Trainer(student, loss, context.train, context.validation, how, task, teacher).fit(progress)

    def _loss(
        self, pair: tuple[Simulated, Simulated], task: Task, on_labels: bool, x: Inputs, labels: Any
    ) -> torch.Tensor:
        """What the float network teaches, and the labels where the task trains on these."""
        outputs = call(pair[0], x)
        with torch.no_grad():
            wanted = task.tensor(call(pair[1], x))
        taught = task.taught(task.tensor(outputs), wanted, 1.0)
        return self.distill * taught + (1 - self.distill) * task.on(outputs, labels) if on_labels else taught


def _check_trainable(student: Simulated, inputs: Split, report: Reporter) -> None:
    """Note what gradients do not pass. Raises: `StepFailed` where they reach no weight at all."""
    if student.opaque:
        report.note(f"QAT: gradients do not pass {', '.join(student.opaque)}; what stands before learns nothing there.")
    if not student.masters or not any(one.requires_grad for one in flatten(call(student, next(batches(inputs, 2))))):
        why = f"gradients end at {', '.join(student.opaque)}" if student.masters else "no layer has integer kernels"
        raise StepFailed(f"QAT has nothing to train: {why}. Use Quantize('int8').")
