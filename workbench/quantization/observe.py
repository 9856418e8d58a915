"""What the activations of a network look like on calibration inputs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto

from workbench.errors import StepFailed
from workbench.jobs import Reporter
from workbench.runtimes.onnxruntime import open_session

Array = npt.NDArray[Any]

BATCH = 50
BINS = 2048


@dataclass(frozen=True)
class Histogram:
    """Counts (BINS,) of a tensor's values in equal bins between its extreme values `low` and `high`."""

    low: float
    high: float
    counts: npt.NDArray[np.int64]

    @property
    def centres(self) -> Array:
        """The middle of each bin."""
        width = (self.high - self.low) / len(self.counts)
        centres: Array = self.low + width * (np.arange(len(self.counts)) + 0.5)
        return centres


def extremes(model: onnx.ModelProto, inputs: Array, progress: Reporter) -> dict[str, tuple[float, float]]:
    """The least and the greatest value of every tensor of `to_observe` and the input over inputs (N, ...).

    Raises: `StepFailed` naming the first layer whose output is not finite; `Cancelled`.
    """
    found: dict[str, tuple[float, float]] = {}
    for values in _activations(model, inputs, progress):
        for name, value in values.items():
            low, high = float(value.min()), float(value.max())
            if not np.isfinite(low) or not np.isfinite(high):
                raise StepFailed(
                    f"The activations of {_maker(model, name)} are NaN or infinite on the calibration images, so no "
                    "scale fits them. Check the images and the steps before this one; a layer may have overflowed."
                )
            known = found.get(name, (low, high))
            found[name] = (min(low, known[0]), max(high, known[1]))
    return found


def histograms(model: onnx.ModelProto, inputs: Array, progress: Reporter) -> dict[str, Histogram]:
    """The distribution of the tensors that `extremes` looks at; runs the network twice."""
    ranges = extremes(model, inputs, progress.part(0.0, 0.4))
    counts = {name: np.zeros(BINS, dtype=np.int64) for name in ranges}
    for values in _activations(model, inputs, progress.part(0.4, 1.0)):
        for name, value in values.items():
            low, high = ranges[name]
            scale = BINS / (high - low) if high > low else 0.0
            bins = ((value.ravel() - low) * scale).astype(np.int64).clip(0, BINS - 1)
            counts[name] += np.bincount(bins, minlength=BINS)
    return {name: Histogram(*ranges[name], counts[name]) for name in ranges}


def _activations(model: onnx.ModelProto, inputs: Array, progress: Reporter) -> Iterator[dict[str, Array]]:
    """The input and every tensor of `to_observe` for one batch after the other."""
    names = to_observe(model)
    session = open_session(with_outputs(model, names).SerializeToString())
    entry = model.graph.input[0].name
    for start in range(0, len(inputs), BATCH):
        progress(start / len(inputs), "calibrating")
        batch = np.ascontiguousarray(inputs[start : start + BATCH], np.float32)
        yield {entry: batch, **dict(zip(names, session.run(names, {entry: batch}), strict=True))}


def clipped(model: onnx.ModelProto) -> dict[str, str]:
    """Tensors that only a ReLU or Clip reads, with what that makes of them.

    Quantization clips to its range anyway, so such a pair of tensors shares the range of the second.
    """
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    returned = {one.name for one in model.graph.output}
    return {
        name: found[0].output[0]
        for name, found in readers.items()
        if len(found) == 1 and found[0].op_type in {"Relu", "Clip"} and found[0].input[0] == name
        if name not in returned
    }


def to_observe(model: onnx.ModelProto) -> list[str]:
    """The float tensors whose ranges matter, in execution order."""
    skipped = clipped(model)
    return [name for name in float_activations(model) if name not in skipped]


def float_activations(model: onnx.ModelProto) -> list[str]:
    """Names of the float tensors that the graph computes, in execution order."""
    inferred = onnx.shape_inference.infer_shapes(model)
    kinds = {info.name: info.type.tensor_type.elem_type for info in inferred.graph.value_info}
    kinds |= {info.name: info.type.tensor_type.elem_type for info in inferred.graph.output}
    made = [name for node in model.graph.node for name in node.output if name]
    return [name for name in made if kinds.get(name, TensorProto.FLOAT) == TensorProto.FLOAT]


def with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """A copy that returns the named tensors too."""
    augmented = onnx.ModelProto()
    augmented.CopyFrom(model)
    returned = {one.name for one in augmented.graph.output}
    for name in names:
        if name not in returned:
            augmented.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    return augmented


def _maker(model: onnx.ModelProto, tensor: str) -> str:
    for node in model.graph.node:
        if tensor in node.output:
            return f"{node.op_type} {node.name!r}"
    return "the input"
