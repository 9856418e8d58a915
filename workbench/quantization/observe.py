"""What the activations of a network look like on calibration inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from workbench.data.batches import as_split
from workbench.errors import StepFailed
from workbench.jobs import Reporter
from workbench.quantization.edges import data_tensors
from workbench.runtimes.onnxruntime import feeds, open_session

Array = npt.NDArray[Any]

#: Inputs in a batch, at most, and bytes of the tensors that are read of one.
BATCH = 50
READ_BYTES = 128 << 20
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


def extremes(model: onnx.ModelProto, inputs: Any, progress: Reporter) -> dict[str, tuple[float, float]]:
    """The least and the greatest value of every tensor of `to_observe` over inputs (N, ...).

    Tensors that are not finite are left out where the network's outputs are finite nonetheless (masks of
    minus infinity before a softmax). Raises: `StepFailed` naming the first such layer otherwise; `Cancelled`.
    """
    found: dict[str, tuple[float, float]] = {}
    for values in _activations(model, inputs, progress):
        for name, value in values.items():
            if value.size:
                low, high = float(value.min()), float(value.max())
                known = found.get(name, (low, high))
                found[name] = (np.minimum(low, known[0]).item(), np.maximum(high, known[1]).item())  # NaN stays
    broken = [name for name, ends in found.items() if not np.isfinite(ends).all()]
    if any(one.name in broken for one in model.graph.output):
        raise StepFailed(
            f"The activations of {_maker(model, broken[0])} are NaN or infinite on the calibration images, so no "
            "scale fits them. Check the images and the steps before this one; a layer may have overflowed."
        )
    return {name: ends for name, ends in found.items() if name not in broken}


def histograms(model: onnx.ModelProto, inputs: Any, progress: Reporter) -> dict[str, Histogram]:
    """The distribution of the tensors that `extremes` looks at; runs the network twice."""
    ranges = extremes(model, inputs, progress.part(0.0, 0.4))
    counts = {name: np.zeros(BINS, dtype=np.int64) for name in ranges}
    for values in _activations(model, inputs, progress.part(0.4, 1.0)):
        for name in ranges.keys() & values.keys():
            value, (low, high) = values[name], ranges[name]
            scale = BINS / (high - low) if high > low else 0.0
            bins = ((value.ravel() - low) * scale).astype(np.int64).clip(0, BINS - 1)
            counts[name] += np.bincount(bins, minlength=BINS)
    return {name: Histogram(*ranges[name], counts[name]) for name in ranges}


def _activations(model: onnx.ModelProto, inputs: Any, progress: Reporter) -> Iterator[dict[str, Array]]:
    return read(model, to_observe(model), inputs, progress, "calibrating")


def read(
    model: onnx.ModelProto, names: Sequence[str], inputs: Any, progress: Reporter, stage: str = ""
) -> Iterator[dict[str, Array]]:
    """Tensors of a graph, its inputs among them, for one batch of inputs (N, ...) after the other.

    The first input comes alone: its tensors tell how many inputs' fit into `READ_BYTES`.
    """
    entries = {one.name for one in model.graph.input}
    inner = [name for name in dict.fromkeys(names) if name not in entries]
    session = open_session(with_outputs(model, inner).SerializeToString())
    images = as_split(inputs)
    start, size, through = 0, 1, progress.through(stage, len(images))
    while start < len(images):
        through(start)
        given = feeds(session, images.read(range(start, min(start + size, len(images))))[0])
        made = session.run(inner, given) if inner else []  # no names would mean every output
        values = {**given, **dict(zip(inner, made, strict=True))}
        del made
        yield values
        start, size = start + size, _fitting(values) if start == 0 else size


def _fitting(values: Mapping[str, Array]) -> int:
    """How many inputs a batch may hold, from the tensors of one."""
    return max(1, min(BATCH, READ_BYTES // max(1, sum(one.nbytes for one in values.values()))))


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
    """The data tensors whose ranges matter, in execution order."""
    skipped = clipped(model)
    return [name for name in data_tensors(model) if name not in skipped]


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
