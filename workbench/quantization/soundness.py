"""Whether an artefact still computes what the one that it was made from does, and where it stops doing so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from workbench.artefact.onnx_graph import WEIGHTED, Graph, attribute, stem
from workbench.data.batches import as_split
from workbench.errors import BadValue, StepFailed
from workbench.jobs import Reporter
from workbench.modules.calling import Inputs, flatten, shapes
from workbench.modules.checking import difference, require_equal
from workbench.quantization.observe import read
from workbench.runtimes.onnxruntime import feeds, open_session

Array = npt.NDArray[Any]

#: An error of this share of the outputs' spread leaves little of them: half of it is a signal-to-noise of 6 dB.
_COLLAPSED = 0.5
#: How much larger than the file's own rounding the error of the fused kernels may be, and what counts as nothing.
_TWICE, _NOTHING = 2.0, 0.05
#: Inputs that are enough, and numbers in them: of large ones fewer do, and each takes its time.
_FEW, _FEW_ELEMENTS = 16, 1 << 20


def check_lowered(before: Path, after: Path, inputs: Any, who: str, report: Reporter) -> None:
    """Run an artefact and the one that it was made from on a few inputs (N, ...).

    The error must be what the rounding in the file comes to when every operator runs as it is written: more
    is a fault of fused kernels, and is noted; so is an error that leaves little of the outputs, with the layer where
    it arises. Raises: `StepFailed` for other shapes, or outputs that are NaN or infinite; `BadFile` for a file that
    ends the process.
    """
    inputs = _few(inputs)
    exact, found = (outputs(str(path), inputs) for path in (before, after))
    if not all(np.isfinite(one).all() for one in exact):
        return  # it was so before
    if [one.shape for one in exact] != [one.shape for one in found]:
        raise StepFailed(
            f"{who} changes the shapes of the outputs from {[one.shape for one in exact]} to "
            f"{[one.shape for one in found]}. Leave the step out, and report the network."
        )
    if not all(np.isfinite(one).all() for one in found):
        raise StepFailed(
            f"After {who} the outputs are NaN or infinite, first in {_first_broken(before, after, inputs)}: numbers "
            "overflow there in this precision. Leave that layer out with exclude=, or use another precision."
        )
    error = difference(exact, found).of_spread
    written = difference(exact, outputs(str(after), inputs, level="off")).of_spread
    if error > _TWICE * written + _NOTHING:
        report.note(
            f"{who}: ONNX Runtime's fused kernels are off by {error:.0%} of the outputs' spread on this CPU, where the "
            f"file itself says {written:.0%}. Try other types, or leave layers out with exclude=."
        )
    elif error > _COLLAPSED:
        report.note(
            f"{who}: the outputs are off by {error:.0%} of their spread, most of which arises in "
            f"{_worst(before, after, inputs)}. Leave that layer out with exclude=, or set max_drop=."
        )


def check_same(before: onnx.ModelProto, after: onnx.ModelProto, inputs: Any, what: str) -> None:
    """Raise `StepFailed` where a rewritten graph, which should compute the same, does not on a few inputs (N, ...)."""
    first, second = (open_session(one.SerializeToString()) for one in (before, after))
    require_equal(what, lambda x: _run(first, x), lambda x: _run(second, x), [_few(inputs)])


def check_stored(model: onnx.ModelProto, quantized: onnx.ModelProto) -> None:
    """Raise `StepFailed` where an integer in a QDQ graph is more than half a step from the value that it stands for."""
    exact, graph = Graph(model), Graph(quantized)
    readers = graph.readers()
    for node in graph.nodes:
        name = node.input[0] if node.op_type == "DequantizeLinear" else ""
        if name not in graph.constants or name.removesuffix("_quantized") not in exact.constants:
            continue
        value = exact.array(name.removesuffix("_quantized")).astype(np.float64)
        axis = int(attribute(node, "axis", 1))
        scale, zero = (_spread(graph.array(one), value.ndim, axis) for one in node.input[1:3])
        off = np.abs((graph.array(name).astype(np.float64) - zero) * scale - value) / scale
        if off.size and off.max() > 0.51 + 2e-6 * np.abs(value / scale).max():
            layer = next((one.name for one in readers.get(node.output[0], [])), node.name)
            raise StepFailed(
                f"In {layer!r} a stored integer is {off.max():.3g} steps from its value, so this layer cannot be "
                f"stored in these types. Leave it out with exclude=[{stem(layer)!r}], or use other types."
            )


def outputs(source: str | bytes, inputs: Any, level: str = "all") -> list[Array]:
    """Every output of a file (a path or its content) on inputs (N, ...). Raises: `BadValue` where it does not run."""
    try:
        return _run(open_session(source, level=level), inputs)
    except (RuntimeError, ValueError, onnx.onnx_cpp2py_export.checker.ValidationError) as error:
        raise BadValue(f"The artefact does not run on inputs of shape {shapes(inputs)}: {error}") from error


def _run(session: Any, inputs: Any) -> list[Array]:
    return [np.asarray(one) for one in session.run(None, feeds(session, inputs))]


def _few(inputs: Any) -> Inputs:
    """The first inputs of a split or (N, ...), four at least."""
    images = as_split(inputs)
    each = sum(one.numel() for one in flatten(images.example))
    count = min(_FEW, len(images), max(4, _FEW_ELEMENTS // max(1, each)))
    return images.read(range(count))[0]


def _every(parts: Iterator[dict[str, Array]]) -> dict[str, Array]:
    """The tensors of all batches. A tensor without the batch in front is that of each batch alone."""
    found = list(parts)
    return {name: joined([one[name] for one in found]) for name in found[0]}


def joined(parts: list[Array]) -> Array:
    """The same tensor of several batches as one: along the axis where they differ, such as the second of a recurrent
    layer's outputs; the first of all where that is none or another.
    """
    first = parts[0]
    if not first.ndim:
        return first
    sizes = [{one.shape[axis] for one in parts} for axis in range(first.ndim)]
    apart = [axis for axis, held in enumerate(sizes) if len(held) > 1]
    return np.concatenate(parts, apart[0] if apart else 0) if len(apart) < 2 else first


def _spread(values: Array, rank: int, axis: int) -> Array:
    """One value a channel, shaped to stand beside a tensor of this rank."""
    shape = [] if values.size == 1 else [-1 if index == axis % rank else 1 for index in range(rank)]
    return values.astype(np.float64).reshape(shape)


def _first_broken(before: Path, after: Path, inputs: Any) -> str:
    for layer, exact, found, _ in _tensors(before, after, inputs):
        if np.isfinite(exact).all() and not np.isfinite(found).all():
            return layer
    return "the last layer"


def _worst(before: Path, after: Path, inputs: Any) -> str:
    """The layer whose result is off by most more than what it reads."""
    errors: dict[str, float] = {}
    worst, most = "the last layer", 0.0
    for layer, exact, found, node in _tensors(before, after, inputs):
        error = difference(exact, found).of_spread
        added = error - max((errors.get(name, 0.0) for name in node.input), default=0.0)
        errors |= dict.fromkeys(node.output, error)
        if np.isfinite(added) and added > most:
            worst, most = layer, added
    return worst


def _tensors(before: Path, after: Path, inputs: Any) -> Iterator[tuple[str, Array, Array, onnx.NodeProto]]:
    """Layer, tensor before, tensor after and node, of every float that both artefacts make, in execution order."""
    graphs = [onnx.load(str(path)) for path in (before, after)]
    made = {name for node in graphs[1].graph.node for name in node.output}
    nodes = [node for node in graphs[0].graph.node if node.output and node.output[0] in made]
    names = [node.output[0] for node in nodes]
    # Few suffice to say where an error arises: of large networks all tensors of an input take 0.1 GB.
    first, second = (_every(read(graph, names, as_split(inputs).first(4), Reporter())) for graph in graphs)
    layer = "the input"
    for node in nodes:
        layer = repr(stem(node.name)) if node.op_type in WEIGHTED else layer
        exact, found = first[node.output[0]], second[node.output[0]]
        if exact.shape == found.shape and np.issubdtype(exact.dtype, np.floating):
            yield layer, exact, found, node
