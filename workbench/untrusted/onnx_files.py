"""ONNX: the graph and its weights, compared with the bytes that are there before memory is taken for them."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from pathlib import Path
from typing import Any

from workbench.errors import BadFile, shown
from workbench.untrusted.guard import Guard

#: The most operations, those inside branches counted too, and how deep branches stand in each other.
MOST_NODES, DEPTH = 200_000, 8
#: Bits of an element by ONNX's number of its type; texts and what has no fixed width are missing.
_BITS = {1: 32, 2: 8, 3: 8, 4: 16, 5: 16, 6: 32, 7: 64, 9: 8, 10: 16, 11: 64, 12: 32, 13: 64, 16: 16, 21: 4, 22: 4}
_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
_EXTERNAL = 1


def read_onnx(path: Path) -> Any:
    """The `onnx.ModelProto` of a file, with weights that lie in other files of its folder.

    Raises: `BadFile` for a file that is cut or damaged, weights that are missing, outside the folder or not of the
    size that their shapes say, operations out of order or in a circle, and anything beyond the limits.
    """
    if not path.is_file():
        raise BadFile(f"There is no file {path}.")
    with Guard(f"{path} is not a readable ONNX file", "Was it copied whole?"):
        import onnx

        model = onnx.load(str(path), load_external_data=False)
    if not model.graph.node or not model.graph.output:
        raise BadFile(f"{path} is not a readable ONNX file: it holds no operations. Was it copied whole?")
    nodes = _count(model.graph, path, 0) + sum(len(one.node) for one in model.functions)
    if nodes > MOST_NODES:
        raise BadFile(f"{path} holds {nodes:,} operations; at most {MOST_NODES:,} are read.")
    for tensor in _tensors(model.graph):
        _check_tensor(tensor, path)
    with Guard(f"The weights beside {path} cannot be read"):
        from onnx.external_data_helper import load_external_data_for_model

        load_external_data_for_model(model, str(path.parent))
    _check_order(model.graph, path, set())
    return model


def weights_beside(path: Path) -> list[Path]:
    """The other files that hold weights of an ONNX file, in order. Raises: `BadFile`, as `read_onnx`."""
    if not path.is_file():
        raise BadFile(f"There is no file {path}.")
    with Guard(f"{path} is not a readable ONNX file", "Was it copied whole?"):
        import onnx

        graph = onnx.load(str(path), load_external_data=False).graph
    if _count(graph, path, 0) > MOST_NODES:
        raise BadFile(f"{path} holds more than {MOST_NODES:,} operations, which is the most that are read.")
    outside = [one for one in _tensors(graph) if one.data_location == _EXTERNAL]
    for tensor in outside:
        _check_tensor(tensor, path)
    return sorted({path.parent / fact.value for one in outside for fact in one.external_data if fact.key == "location"})


def _count(graph: Any, path: Path, depth: int) -> int:
    if depth > DEPTH:
        raise BadFile(f"{path} is nested too deeply: branches stand more than {DEPTH} deep in each other.")
    inner = (one for node in graph.node for one in _branches(node))
    return len(graph.node) + sum(_count(one, path, depth + 1) for one in inner)


def _branches(node: Any) -> Iterator[Any]:
    for one in node.attribute:
        if one.HasField("g"):
            yield one.g
        yield from one.graphs


def _tensors(graph: Any) -> Iterator[Any]:
    yield from graph.initializer
    for node in graph.node:
        for one in node.attribute:
            if one.HasField("t"):
                yield one.t
            yield from one.tensors
        for branch in _branches(node):
            yield from _tensors(branch)


def _check_tensor(tensor: Any, path: Path) -> None:
    """Raise `BadFile` where a tensor's shape is not what its bytes hold."""
    if any(size < 0 for size in tensor.dims):
        raise BadFile(f"{path}: {shown(tensor.name)} has the shape {shown(list(tensor.dims))}, which cannot be.")
    bits = _BITS.get(tensor.data_type)
    wanted = -(-prod(tensor.dims) * bits // 8) if bits else None
    if tensor.data_location == _EXTERNAL:
        _check_external(tensor, path, wanted)
        return
    held = len(tensor.raw_data)
    typed = sum(len(getattr(tensor, field)) for field in _FIELDS)
    listed = not held and 0 < typed <= 2 * prod(tensor.dims)  # as values; packed ones and complex ones differ in number
    if wanted is not None and held != wanted and not listed:
        raise BadFile(
            f"{path}: {shown(tensor.name)} says that its shape is {list(tensor.dims)}, which is not what its "
            f"{held or typed:,} {'bytes' if held else 'values'} hold."
        )


def _check_external(tensor: Any, path: Path, wanted: int | None) -> None:
    facts = {one.key: one.value for one in tensor.external_data}
    place = facts.get("location", "")
    folder = path.parent.resolve()
    with Guard(f"{path} names {shown(place)} as the place of its weights, which cannot be read"):
        file = (folder / place).resolve()
        offset, length = int(facts.get("offset", 0)), int(facts.get("length", wanted or 0))
    if not place or not file.is_relative_to(folder):
        raise BadFile(
            f"{path} has its weights in {shown(place)}, outside its own folder. Such files are not followed: put the "
            "weights beside it."
        )
    if not file.is_file():
        raise BadFile(f"{path} has its weights in {shown(place)}, which is not there. Put that file beside it.")
    if offset < 0 or length < 0 or offset + length > file.stat().st_size or (wanted is not None and length != wanted):
        raise BadFile(
            f"{path}: {shown(tensor.name)} of shape {list(tensor.dims)} is said to be {length:,} bytes of "
            f"{shown(place)} from {offset:,} on, which is not what that file of {file.stat().st_size:,} bytes holds."
        )


def _check_order(graph: Any, path: Path, outside: set[str]) -> None:
    """Raise `BadFile` where an operation reads what no operation before it has made."""
    known = outside | {one.name for one in (*graph.input, *graph.initializer)}
    known |= {one.values.name for one in graph.sparse_initializer}
    for index, node in enumerate(graph.node):
        missing = next((name for name in node.input if name and name not in known), None)
        if missing is not None:
            raise BadFile(
                f"{path}: operation {index}, a {node.op_type}, reads {shown(missing)}, which nothing before it makes. "
                "Its operations are in a circle or out of order."
            )
        for branch in _branches(node):
            _check_order(branch, path, known)
        known.update(node.output)
    missing = next((one.name for one in graph.output if one.name not in known), None)
    if missing is not None:
        raise BadFile(f"{path}: nothing in it makes its output {shown(missing)}.")
