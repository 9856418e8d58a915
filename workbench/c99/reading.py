"""`read(path)`: an int8 artefact as the steps of a C program."""

from __future__ import annotations

from pathlib import Path

import onnx

from workbench.c99 import moves, pools, products, sums  # noqa: F401  # each adds its readers
from workbench.c99.functions import of_bytes
from workbench.c99.program import At, Call, Constant, Program, Step, Text
from workbench.c99.source import READERS, Source, layer_of, reads, refuse
from workbench.untrusted.onnx_files import read_onnx

#: Operators that tell of sizes, which are known.
_SIZES = frozenset({"Shape", "Size"})


def read(path: Path) -> Program:
    """The steps of an artefact that computes in 8-bit integers.

    Raises: `BadValue` for an operator without a kernel, or one that is left in float, with its name and its layer's;
    `BadFile` for a file that is damaged.
    """
    source = Source(read_onnx(path))
    for node in source.graph.nodes:
        if not any(one in source.tensors or one in source.results for one in node.input) or node.op_type in _SIZES:
            continue  # of constants, or of sizes
        if node.op_type not in READERS or node.domain not in ("", "ai.onnx"):
            refuse(node, "there is no kernel for it")
        READERS[node.op_type](source, node)
    return _finished(source)


@reads("QuantizeLinear")
def quantize(source: Source, node: onnx.NodeProto) -> None:
    """Store what an operator gave; bytes that are quantized anew are looked up, or the same."""
    name = node.input[0]
    if name in source.results:
        source.store(node, source.results[name])
        return
    grid = source.grid(node)
    tensor = source.takes(node)
    if tensor.grid == grid:
        source.tensors[node.output[0]] = tensor
    else:
        source.store(node, of_bytes(source, node, tensor))


@reads("DequantizeLinear")
def dequantize(source: Source, node: onnx.NodeProto) -> None:
    """The numbers that bytes stand for, which is the same tensor here."""
    tensor = source.takes(node)
    if source.grid(node) != tensor.grid:
        refuse(node, "it takes bytes for other numbers than they were quantized from")
    source.tensors[node.output[0]] = tensor


def _finished(source: Source) -> Program:
    """The steps whose results are used, the last of which gives the answers."""
    name = source.model.graph.output[0].name
    node = source.writers.get(name)
    if node is None:
        raise AssertionError("an output that nothing writes")
    shape, _ = source.shape(name, node)
    result, tensor = source.results.get(name), source.tensors.get(name)
    if result is not None and result.moves:
        if result.own is None:
            refuse(node, "it moves what is not quantized, and gives the network's answer")
        tensor = source.put(result, result.own)
    if tensor is not None:
        numbers = Constant("numbers", tensor.grid.numbers())
        call = Call("look_up_answers", (tensor.map, numbers, At(tensor), Text("answers")))
        source.steps.append(Step(layer_of(node), f"answers: {shape}", (tensor,), None, (call,)))
    elif result is not None:
        source.steps.append(result.make(None, result.limits))
        after = result.after
        if after:
            source.steps.append(Step(layer_of(node), f"probabilities: {shape}", (), None, after))
    else:
        source.takes(node)
    entry, _ = source.shape(source.entry.name, node)
    shapes = (source.seen[source.entry.name].shape[1:], source.seen[name].shape[1:])
    return Program(entry, shape, _used(source.steps), shapes)


def _used(steps: list[Step]) -> list[Step]:
    """Without the steps whose bytes nobody reads."""
    wanted, found = set[int](), list[Step]()
    for step in reversed(steps):
        if step.writes is None or id(step.writes.block) in wanted:
            wanted.update(id(one.block) for one in step.reads)
            found.append(step)
    return found[::-1]
