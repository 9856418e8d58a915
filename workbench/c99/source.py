"""An int8 artefact while it is read: its graph, one run of it, and what its tensors have become in C."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple, NoReturn

import numpy as np
import onnx
from onnx import TensorProto

from workbench.artefact.onnx_graph import Graph, attribute
from workbench.c99.program import (
    Array,
    At,
    Block,
    Call,
    Grid,
    Kept,
    Limits,
    Maker,
    Map,
    Result,
    Step,
    Tensor,
    Text,
    cut,
)
from workbench.errors import BadValue
from workbench.runtimes.onnxruntime import feeds, open_session

#: Signed bytes become unsigned ones: one set of kernels for both.
_SHIFT = 128
_BYTES = {np.dtype(np.uint8): 0, np.dtype(np.int8): _SHIFT}

Reader = Callable[["Source", onnx.NodeProto], None]
#: What reads an operator of the artefact, by its name.
READERS: dict[str, Reader] = {}


def reads(*operators: str) -> Callable[[Reader], Reader]:
    """Add a reader of some operators to `READERS`."""

    def add(reader: Reader) -> Reader:
        READERS.update(dict.fromkeys(operators, reader))
        return reader

    return add


def refuse(node: onnx.NodeProto, why: str) -> NoReturn:
    """Raise `BadValue` for an operator that C99 has no kernel for, or not in this form."""
    raise BadValue(
        f"C99 cannot hold {node.op_type} of the layer {layer_of(node)!r}: {why}. Export another variant, or this one "
        'with format="onnx".'
    )


def layer_of(node: onnx.NodeProto) -> str:
    """The name of a node."""
    return str(node.name or node.output[0])[:200]


class Weights(NamedTuple):
    """Integers of a layer: `numbers = scale * (values - zero)`, scales and zeros one an output channel."""

    values: Array
    scale: Array
    zero: Array


class Source:
    """The graph, and what has been read of it so far."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.model, self.graph = model, Graph(model)
        self.entry = self._entry()
        self.tensors: dict[str, Tensor] = {}  # by the names of bytes, and of the floats that these stand for
        self.results: dict[str, Result] = {}  # by the names of floats
        self.steps: list[Step] = []
        self.roots: dict[Tensor, Tensor] = {}  # of tensors that are functions of single bytes of others
        self.results[self.entry.name] = self._input()

    def _entry(self) -> Any:
        entries = [one for one in self.model.graph.input if one.name not in self.graph.constants]
        if len(entries) != 1 or len(self.model.graph.output) != 1:
            raise BadValue(
                f"The network takes {len(entries)} inputs and gives {len(self.model.graph.output)} outputs; C99 is "
                'written for networks with one of each. Export with format="onnx".'
            )
        sizes = [one.dim_value for one in entries[0].type.tensor_type.shape.dim]
        if entries[0].type.tensor_type.elem_type != TensorProto.FLOAT or not all(size > 0 for size in sizes[1:]):
            raise BadValue(
                "C99 is written for networks that take floats of a fixed shape; the input of this one is "
                f"{[size or 'any' for size in sizes]}. Export with format=\"onnx\"."
            )
        return entries[0]

    def _input(self) -> Result:
        """The network's input, which becomes bytes."""
        name, (shape, flat) = self.entry.name, self.shape(self.entry.name, self.graph.readers()[self.entry.name][0])

        def make(writes: Tensor, limits: Limits) -> Step:
            call = Call("quantize", (shape, *writes.grid, Text("input"), At(writes)))
            said = f"as bytes: {shape}"
            return Step("the network's input", said, (), writes, (call, *cut(writes, writes.grid, limits)))

        return Result(name, "the network's input", "the input", shape, flat, make)

    @cached_property
    def writers(self) -> dict[str, onnx.NodeProto]:
        """The node that writes each tensor."""
        return self.graph.writers()

    @cached_property
    def seen(self) -> dict[str, Array]:
        """Every tensor as it came out of one run on a single input: for its shape, and for sizes that are computed."""
        seen = onnx.ModelProto()
        seen.CopyFrom(self.model)
        names = [name for node in self.model.graph.node for name in node.output if name]
        del seen.graph.output[:]
        seen.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
        session = open_session(seen.SerializeToString(), level="off")
        sizes = [max(1, one.dim_value) for one in self.entry.type.tensor_type.shape.dim]
        given = np.random.default_rng(0).standard_normal((1, *sizes[1:])).astype(np.float32)
        values = session.run(None, feeds(session, {self.entry.name: given}))
        return {self.entry.name: given} | {n: np.asarray(one) for n, one in zip(names, values, strict=True)}

    def seen_shape(self, name: str) -> tuple[int, ...]:
        """The shape of any tensor, constants included."""
        if name in self.graph.constants:
            return tuple(self.graph.constants[name].dims)
        return tuple(self.seen[name].shape)

    def stored(self, node: onnx.NodeProto, place: int) -> bool:
        """Whether a layer's weights are integers in the file."""
        maker = self.writers.get(node.input[place])
        return maker is not None and maker.op_type == "DequantizeLinear" and maker.input[0] in self.graph.constants

    def constant(self, name: str) -> Array | None:
        """A value that does not follow from the input, floats that are stored as integers included."""
        if name in self.graph.constants:
            return self.graph.array(name)
        node = self.writers.get(name)
        if node is None or any(one and self.constant(one) is None for one in node.input):
            return None
        return self.seen[name]

    def number(self, node: onnx.NodeProto, place: int, default: float | None = None) -> float | None:
        """A constant input that is a single number; `default` where it is left out, None where it is no such."""
        if len(node.input) <= place or not node.input[place]:
            return default
        value = self.constant(node.input[place])
        return float(value.ravel()[0]) if value is not None and value.size == 1 else None

    def sizes(self, node: onnx.NodeProto, place: int) -> list[int] | None:
        """Whole numbers that an operator is given as an input; None where it is not."""
        if len(node.input) <= place or not node.input[place]:
            return None
        name = node.input[place]
        value = self.graph.array(name) if name in self.graph.constants else self.seen[name]
        return [int(one) for one in np.ravel(value)]

    def weights(self, node: onnx.NodeProto, place: int, axis: int) -> Weights:
        """Integer weights, with a scale and a zero for each of the layer's outputs, which lie along `axis`."""
        maker = self.writers[node.input[place]]
        values = self.graph.array(maker.input[0])
        scale = self.graph.array(maker.input[1])
        zero = self._zero(maker, values)
        along = attribute(maker, "axis", 1) % values.ndim if scale.size > 1 else axis
        if along != axis or attribute(maker, "block_size", 0):
            refuse(node, f"its weights have scales along axis {along}, not one an output")
        many = values.shape[axis]
        return Weights(values, np.broadcast_to(scale.ravel(), many), np.broadcast_to(zero.ravel(), many))

    def _zero(self, node: onnx.NodeProto, values: Array) -> Array:
        given = len(node.input) > 2 and node.input[2]
        return self.graph.array(node.input[2]) if given else np.zeros(1, values.dtype)

    def shape(self, name: str, node: onnx.NodeProto) -> tuple[Map, bool]:
        """A tensor's map, and whether it is a vector. Raises: `BadValue` for other shapes."""
        shape = self.seen[name].shape
        if len(shape) not in {2, 3, 4} or shape[0] != 1:
            refuse(node, f"it works on numbers of shape {shape}; vectors and maps of rows and columns are kept")
        channels, *rest = shape[1:]
        return Map(channels, *[1] * (2 - len(rest)), *rest), len(shape) == 2

    def takes(self, node: onnx.NodeProto, place: int = 0) -> Tensor:
        """The tensor that a node reads. Raises: `BadValue` where that is no tensor of bytes."""
        found = self.tensors.get(node.input[place])
        if found is None:
            refuse(node, f"it computes in float: {self._why_float(node.input[place])}")
        return found

    def kept(self, node: onnx.NodeProto, place: int) -> Kept | None:
        """A constant of bytes that a node reads, as a map; None where it reads none."""
        maker = self.writers.get(node.input[place])
        if maker is None or not self.stored(node, place):
            return None
        values = self.graph.array(maker.input[0])
        grid = self.grid(maker)
        shape = [*[1] * (4 - values.ndim), *values.shape]
        rank = self.seen[node.output[0]].ndim
        if rank == 3:
            shape = [shape[1], shape[2], 1, shape[3]]
        if rank == 2:
            shape = [1, shape[3], 1, 1]
        if values.ndim > 4 or shape[0] != 1:
            return None
        maps = (values.astype(np.int16) + _BYTES[values.dtype]).astype(np.uint8).reshape(shape[1:])
        return Kept(Map(*shape[1:]), grid, rank == 2, maps.transpose(1, 2, 0).ravel())

    def _why_float(self, name: str) -> str:
        if name == self.entry.name:
            return "the network's input reaches it unquantized"
        maker = self.writers.get(name)
        if maker is None or self.constant(name) is not None:
            return "one of its inputs is a constant"
        return f"what {maker.op_type} of {layer_of(maker)!r} gives is not quantized"

    def moved(self, node: onnx.NodeProto, place: int = 0) -> tuple[Callable[[Grid], Tensor], Grid | None]:
        """What a node moves: how to have it as bytes, and their grid where it is decided.

        To move numbers and then to store them is the same as to store them first, on the grid that is wanted after.
        """
        result = self.results.get(node.input[place])
        if node.input[place] in self.tensors or result is None or result.after:
            tensor = self.takes(node, place)
            return lambda _: tensor, tensor.grid
        return lambda grid: self.put(replace(result, name=f"{result.name} {len(self.steps)}"), grid), result.own

    def plain(self, tensor: Tensor) -> Tensor:
        """The same numbers in memory in the artefact's order: a vector that is made of a map lies pixel by pixel."""
        if tensor.ordered:
            return tensor
        size = tensor.map.size
        new = Tensor(f"{tensor.name} by channel", Map(size), tensor.grid, True, Block(size))
        call = Call("by_channel", (tensor.map, At(tensor), At(new)))
        self.steps.append(Step(tensor.name, f"vector of {size} from pixels to channels", (tensor,), new, (call,)))
        return new

    def give(self, node: onnx.NodeProto, make: Maker, **said: Any) -> None:
        """Remember what makes a node's result; `said` are other fields of `Result`."""
        shape, flat = self.shape(node.output[0], node)
        fields = {"name": node.output[0], "map": shape, "flat": flat} | said
        self.results[fields["name"]] = Result(layer=layer_of(node), operator=node.op_type, make=make, **fields)

    def reshaped(self, node: onnx.NodeProto, old: Map, flat: bool) -> tuple[Map, bool]:
        """The map of a node that keeps numbers in their order. Raises: `BadValue` where they would have to move."""
        new, vector = self.shape(node.output[0], node)
        if vector or new == old:
            return old, vector
        if (old.places == new.places == 1) or (old.channels == new.channels == 1):
            return new, False
        refuse(node, f"it makes {new} of {'a vector of ' if flat else ''}{old}, for which numbers would have to move")

    def grid(self, node: onnx.NodeProto) -> Grid:
        """The grid of a node that quantizes or dequantizes. Raises: `BadValue` for other than one scale, 8 bits."""
        scale = self.graph.array(node.input[1])
        zero = self._zero(node, self.graph.array(node.input[2]) if len(node.input) > 2 else np.zeros(1, np.uint8))
        if scale.size != 1 or zero.dtype not in _BYTES:
            refuse(node, f"its numbers are stored as {zero.dtype} with {scale.size} scales; 8 bits and one are read")
        return Grid(np.float32(scale.ravel()[0]), int(zero.ravel()[0]) + _BYTES[zero.dtype])

    def store(self, node: onnx.NodeProto, result: Result) -> Tensor:
        """Store what an operator gave on the grid of a node that quantizes it."""
        if result.after:
            refuse(node, f"what {result.operator} of {result.layer!r} gives is computed for answers alone")
        return self.put(replace(result, name=node.output[0]), self.grid(node))

    def put(self, result: Result, grid: Grid) -> Tensor:
        """A new tensor with what an operator gave, under the name of the result."""
        assert result.make is not None
        tensor = Tensor(result.name, result.map, grid, result.flat, Block(result.map.size))
        self.tensors[result.name] = tensor
        if result.root is not None:
            self.roots[tensor] = result.root
        self.steps.append(result.make(tensor, result.limits))
        return tensor

    def ancestors(self, tensor: Tensor) -> list[Tensor]:
        """The tensor, and those that it is a function of byte by byte, the nearest first."""
        found = [tensor]
        while found[-1] in self.roots:
            found.append(self.roots[found[-1]])
        return found

