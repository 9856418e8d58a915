"""What really runs in integers: read from the graph that ONNX Runtime optimised, not from the one we wrote."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import onnx
from onnx import TensorProto

from workbench.quantization.edges import INTEGER_OPERATORS
from workbench.runtimes.onnxruntime import open_session

#: Operators that move or convert data and compute nothing.
_MOVES = frozenset(
    "Transpose Reshape Flatten Squeeze Unsqueeze Slice Split Gather Shape Identity Expand Cast ReorderInput "
    "ReorderOutput QuantizeLinear DequantizeLinear DynamicQuantizeLinear Constant".split()
)
_FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16})
_ABSORBED = frozenset({"Relu", "Clip", "Sigmoid", "LeakyRelu", "Add", "QuantizeLinear", "DequantizeLinear"})
_MAKES_INTEGERS = frozenset({"QuantizeLinear", "DynamicQuantizeLinear"})


@dataclass(frozen=True)
class FloatNode:
    """An operation that ONNX Runtime computes in floating point, and why."""

    name: str
    operator: str
    reason: str


def float_nodes(artefact: Path) -> tuple[FloatNode, ...]:
    """The operations of an artefact that compute in float once ONNX Runtime has fused it, in order.

    Raises: what ONNX Runtime raises for a file that it refuses.
    """
    written = onnx.load(str(artefact))
    quantized = {name for node in written.graph.node if node.op_type == "DequantizeLinear" for name in node.output}
    written_as = {name: node for node in written.graph.node for name in (node.name, *node.output)}
    found = []
    for node in _optimized(artefact):
        before = written_as.get(node.name.removesuffix("_nchwc"))  # a blocked convolution is named after its output
        while before is not None and before.op_type in _ABSORBED and node.op_type.endswith(("Conv", "Gemm", "MatMul")):
            before = written_as.get(before.input[0])  # what follows the layer was fused into it
        operator, name = (before.op_type, before.name) if before is not None else (node.op_type, node.name)
        found.append(FloatNode(name, operator, _reason(operator, before, quantized)))
    return tuple(found)


def _optimized(artefact: Path) -> list[onnx.NodeProto]:
    """The nodes of the optimised graph whose data are float."""
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "optimized.onnx")
        open_session(str(artefact), optimized=path)
        graph = onnx.load(path, load_external_data=False).graph  # types are enough
    is_float = {one.name: one.type.tensor_type.elem_type in _FLOATS for one in graph.input}
    is_float |= {one.name: one.data_type in _FLOATS for one in graph.initializer}
    found = []
    for node in graph.node:
        takes = bool(node.input) and is_float.get(node.input[0], False)
        for name in node.output:
            is_float[name] = _returns_float(node, takes)
        if takes and node.op_type not in _MOVES and not node.name.endswith(" stays in float"):
            found.append(node)
    return found


def _returns_float(node: onnx.NodeProto, takes_float: bool) -> bool:
    if node.op_type in _MAKES_INTEGERS:
        return False
    if node.op_type in {"DequantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat"}:
        return True
    if node.op_type == "QGemm":
        return len(node.input) < 8 or not node.input[7]  # without a scale for y, y is float
    return takes_float


def _reason(operator: str, node: onnx.NodeProto | None, quantized: set[str]) -> str:
    if operator not in INTEGER_OPERATORS:
        return f"ONNX Runtime has no integer kernel for {operator} on this CPU"
    if node is not None and not any(name in quantized for name in node.input):
        return "it was left out of the quantization, or none of its inputs is quantized"
    return "its inputs are quantized, but ONNX Runtime did not fuse it: its output or a neighbour stays in float"
