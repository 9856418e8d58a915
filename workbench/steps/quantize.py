"""`Quantize`: the artefact in float16 or in 8-bit integers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import onnx

from workbench.cost.network import Layer, Network
from workbench.errors import StepFailed
from workbench.quantization.half import to_float16
from workbench.quantization.observe import extremes
from workbench.quantization.qdq import quantize_graph
from workbench.steps.base import Context, Lower, Row, Sketch, setting

if TYPE_CHECKING:
    from workbench.cost.weights import Weights

#: Bits of weights and activations.
BITS = {"fp16": 16, "int8": 8}
#: Kinds of operations that have integer kernels.
INTEGER = frozenset({"conv", "linear", "activation", "add", "pool", "reshape"})


@dataclass(frozen=True)
class Quantize(Lower):
    """Store and compute in fewer bits.

    "int8" calibrates the range of every activation on the calibration split and writes a QDQ graph
    that ONNX Runtime fuses into integer kernels (Jacob et al. 2018). "fp16" halves the file; a CPU
    without float16 kernels converts back and forth, and is slower.
    """

    title: ClassVar[str] = "Quantize"
    summary: ClassVar[str] = (
        "Fewer bits for weights and activations: a smaller file, and integer kernels where they exist."
    )
    family: ClassVar[str] = "precision"

    precision: str = setting("int8", "choice", "What to compute in.", choices=tuple(BITS))

    @property
    def brief(self) -> str:
        """`int8` says it all."""
        return self.precision

    def sketch(self, network: Network, weights: Weights) -> Sketch:
        """Shapes stay; the element size shrinks for every operation that has a kernel in this precision."""
        kinds = None if self.precision == "fp16" else INTEGER | {"norm"}
        rows = tuple(self._row(ops[0]) for ops in network.by_module.values() if ops[0].kind != "norm")
        return Sketch(network.with_bits(BITS[self.precision], kinds), rows)

    def lower(self, source: Path, target: Path, context: Context) -> None:
        """Quantize an ONNX file. Raises: `StepFailed` without calibration images, or when they give NaN."""
        model = onnx.load(str(source))
        onnx.save_model(to_float16(model) if self.precision == "fp16" else self._int8(model, context), str(target))

    def _int8(self, model: onnx.ModelProto, context: Context) -> onnx.ModelProto:
        if context.calibration is None or len(context.calibration) == 0:
            raise StepFailed(
                "Quantize('int8') needs calibration images to find the range of each activation, and there are none. "
                "Use data with a 'calibration' split, or Quantize('int8-dynamic')."
            )
        inputs = context.calibration.numpy()
        return quantize_graph(model, extremes(model, inputs, context.progress))

    def _row(self, layer: Layer) -> Row:
        integer = layer.kind in INTEGER or self.precision == "fp16"
        action = f"{BITS[self.precision]} bits" if integer else f"stays in float32: no integer kernel for {layer.kind}"
        return Row(
            step=self.brief,
            layer=layer.module,
            kind=layer.kind,
            applies=integer,
            action=action,
            macs=layer.macs,
            macs_after=layer.macs,
            params=layer.params,
            params_after=layer.params,
        )
