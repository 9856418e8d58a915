"""A converted network against ONNX Runtime on the file itself: two batches, and where a difference begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from workbench.errors import BadFile
from workbench.models.from_onnx.program import Program
from workbench.modules.calling import flatten
from workbench.runtimes.onnxruntime import feeds, open_session

Array = np.ndarray[Any, Any]
#: The outputs may differ by this much, relative to the largest number; by more in a file of half precision.
TOLERANCE, HALF = 2e-4, 2e-2
#: Of whole numbers, such as the class that is largest, so many may differ: of two that are as good one is taken.
WHOLE = 0.01
#: What is smaller everywhere is nothing. A share of one, which ONNX Runtime computes by a formula that is exact to 1e-7
#: of one and no better, is judged by that where all are tiny, as those of a detector that sees nothing.
LEAST, LEAST_SHARE = 1e-6, 5e-3
_SHARES = frozenset({"Sigmoid", "HardSigmoid", "Softmax", "Tanh", "Erf"})
#: Above this size a file is told to ONNX Runtime by its place.
_MOST_BYTES = 1 << 30


class Original:
    """The file in ONNX Runtime, without rewriting: what its specification says, and no more."""

    def __init__(self, model: onnx.ModelProto, path: Path) -> None:
        source = model.SerializeToString() if model.ByteSize() < _MOST_BYTES else str(path)
        try:
            self._session = open_session(source, level="off")
        except BadFile:
            raise
        except Exception as error:  # ONNX Runtime raises much of its own
            raise BadFile(f"{path.name} is refused by ONNX Runtime: {_short(error)}") from error

    def run(self, inputs: Mapping[str, Array]) -> list[Array]:
        """The outputs. Raises: whatever ONNX Runtime raises."""
        wanted = {one.name for one in self._session.get_inputs()}
        given = {name: value for name, value in inputs.items() if name in wanted}
        return [np.asarray(one) for one in self._session.run(None, feeds(self._session, given))]


def leasts(model: onnx.ModelProto, names: Iterable[str]) -> list[float]:
    """Below which largest number each of these tensors is judged by its rounding, and not by what it holds."""
    made_by = {name: node.op_type for node in model.graph.node for name in node.output}
    return [LEAST_SHARE if made_by.get(name) in _SHARES else LEAST for name in names]


def apart(found: Any, expected: list[Array], least: Sequence[float] = ()) -> float:
    """The largest difference of any output, relative to that output's largest number; infinite for other shapes.

    `least`: of each output, as `leasts` tells.
    """
    outputs = [one.detach().numpy() for one in flatten(found)]
    if [one.shape for one in outputs] != [one.shape for one in expected]:
        return float("inf")
    floors = [*least, *[LEAST] * (len(outputs) - len(least))]
    return max((_apart(*three) for three in zip(outputs, expected, floors, strict=True)), default=0.0)


def _apart(a: Array, b: Array, least: float) -> float:
    if not b.size:
        return 0.0
    if b.dtype.kind in "iub":
        return 0.0 if float(np.mean(a != b)) <= WHOLE else float("inf")
    a, b = a.astype(np.float64), b.astype(np.float64)
    both = np.isfinite(a) & np.isfinite(b)
    if not bool(np.all(both | (a == b) | (np.isnan(a) & np.isnan(b)))):
        return float("inf")
    gap = np.abs(np.where(both, a - b, 0.0)).max()
    return float(gap / max(np.abs(b[np.isfinite(b)]).max(initial=0.0), least))


def begins(program: Program, model: onnx.ModelProto, inputs: Mapping[str, Array], tolerance: float) -> str:
    """The first operation whose result differs while what it reads does not, in words; "" where none is found."""
    program.seen = {}
    with torch.no_grad():
        program(*(torch.from_numpy(inputs[name]) for name in program.inputs))
    seen, program.seen = program.seen, None
    made = onnx.ModelProto()
    made.CopyFrom(model)
    names = [name for node in model.graph.node for name in node.output if isinstance(seen.get(name), torch.Tensor)]
    del made.graph.output[:]
    made.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
    values = dict(zip(names, Original(made, Path("the file")).run(inputs), strict=True))
    for node in model.graph.node:
        for name in node.output:
            if name in values and apart(seen[name], [values[name]], leasts(model, [name])) > tolerance:
                return f"The difference begins at {node.name or name!r}, a {node.op_type}."
    return ""


def _short(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:300].rstrip(".") + "."
