"""Fingerprints of the tensors of an ONNX file on canaries: as they are optimised, and each by itself."""

from __future__ import annotations

import tempfile
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx

from workbench.artefact.onnx_graph import WEIGHTED, Graph, scope
from workbench.artefact.whole import weights_of
from workbench.proof import check
from workbench.runtimes.onnxruntime import open_session

Array = npt.NDArray[Any]

#: Canaries that tensors are told apart by, and with how many tensors it is two alone: all are held at once.
CANARIES, FEW, MANY = 8, 2, 400
#: What a tensor may differ by elsewhere: so many times what optimisation changes here, and a share of its size in any
#: case, more where nothing is known of that, and where one number in a grid of integers may fall to the next.
ROOM, FLOOR, UNKNOWN, GRID = 8.0, 1e-5, 1e-4, 1e-2
_CASTS = frozenset({"QuantizeLinear", "DequantizeLinear", "Cast", "Identity"})


@dataclass(frozen=True)
class Row:
    """A tensor: whose it is, the operators that made it of those before, and by how much its prints may differ.

    `survives`: whether it is still there once ONNX Runtime has joined operators; `kernel` is the last of them alone.
    """

    tensor: str
    layer: str
    operators: str
    kernel: str
    survives: bool
    tolerance: float


@dataclass(frozen=True)
class Layers:
    """Tensors in execution order; their fingerprints (tensors, canaries, numbers), zeros where there are none."""

    rows: tuple[Row, ...]
    optimised: Array
    single: Array

    @classmethod
    def none(cls) -> Layers:
        """Of a network whose tensors cannot be looked at."""
        return cls((), np.zeros((0, 0, 8)), np.zeros((0, 0, 8)))


def layers_of(file: Path, inputs: Sequence[Sequence[Array]]) -> Layers:
    """Every tensor of a file that is computed from its inputs, with fingerprints on the first few canaries."""
    model = onnx.load(file)
    content, names = model.SerializeToString(), _tensors(model)
    few = inputs[: CANARIES if len(names) <= MANY else FEW]
    single = _prints(content, names, few, "off")
    kept = _survivors(file, names)
    optimised = np.zeros_like(single)
    if kept:
        optimised[[names.index(one) for one in kept]] = _prints(content, kept, few, "all")
    writers, known = Graph(model).writers(), {*kept, *weights_of(model)}
    prints = dict(zip(names, zip(optimised, single, strict=True), strict=True))
    return Layers(tuple(_row(writers, name, known, *prints[name]) for name in names), optimised, single)


def _tensors(model: onnx.ModelProto) -> list[str]:
    """What the graph's own nodes compute from its inputs, in order, where it is an array of numbers."""
    fixed = weights_of(model)
    names = [name for node in model.graph.node for name in node.output if name and name not in fixed]
    given = {one.name for one in model.graph.output}
    more = [name for name in names if name not in given]
    session = open_session(check.with_outputs(model.SerializeToString(), more), level="off")
    kinds = {one.name: one.type for one in session.get_outputs()}
    return [name for name in names if kinds[name].startswith("tensor(") and "string" not in kinds[name]]


def _prints(content: bytes, names: Sequence[str], inputs: Sequence[Sequence[Array]], level: str) -> Array:
    """As `check.prints` takes them elsewhere."""
    session = open_session(check.with_outputs(content, check.not_given(content, names)), level=level)
    return check.prints(check.runner(session, list(names)), inputs)


def _survivors(file: Path, names: Sequence[str]) -> list[str]:
    """The tensors that are still there once ONNX Runtime has joined operators."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "optimised.onnx"
        open_session(str(file), level="extended", optimized=str(target))
        left = {name for node in onnx.load(target).graph.node for name in node.output}
    return [name for name in names if name in left]


def _row(writers: Mapping[str, onnx.NodeProto], name: str, known: Container[str], *prints: Array) -> Row:
    optimised, single = prints
    nodes = _block(writers, name, known)
    weighted = next((node for node in nodes if node.op_type in WEIGHTED), nodes[-1])
    kinds = dict.fromkeys(node.op_type for node in nodes if node.op_type not in _CASTS) or {nodes[-1].op_type: None}
    layer = weighted.name if weighted.op_type in WEIGHTED else scope(weighted.name) or weighted.name
    survives = name in known
    size = float(np.abs(single).max(initial=0.0))
    spread = float(np.abs(optimised - single).max(initial=0.0)) if survives else 0.0
    floor = FLOOR if survives else UNKNOWN
    if writers[name].op_type == "QuantizeLinear":
        floor = GRID
    return Row(
        name, layer, " + ".join(kinds), writers[name].op_type, survives, ROOM * spread + floor * max(size, 1e-12)
    )


def _block(writers: Mapping[str, onnx.NodeProto], name: str, known: Container[str]) -> list[onnx.NodeProto]:
    """The nodes between a tensor and those before it that survive, in execution order."""
    found: dict[str, onnx.NodeProto] = {}
    todo = [name]
    while todo:
        node = writers[todo.pop()]
        if node.output[0] in found:
            continue
        found[node.output[0]] = node
        todo += [one for one in node.input if one in writers and one not in known]
    order = {one: index for index, one in enumerate(writers)}
    return sorted(found.values(), key=lambda node: order[node.output[0]])
