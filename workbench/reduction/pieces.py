"""Some nodes of an ONNX graph as a model of their own, fed with tensors that were recorded."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from workbench.artefact.onnx_graph import Graph, reads_of
from workbench.artefact.whole import weights_of

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Piece:
    """A model, its inputs by name, the names of what it returns, and the places of its nodes in the whole."""

    model: onnx.ModelProto
    inputs: Mapping[str, Array]
    outputs: tuple[str, ...]
    nodes: tuple[int, ...]

    @property
    def operators(self) -> tuple[str, ...]:
        """Its operators, in execution order."""
        return tuple(node.op_type for node in self.model.graph.node)


class Parts:
    """A graph whose nodes can be taken out. `values` are its tensors, as far as they are known."""

    def __init__(self, model: onnx.ModelProto, values: Mapping[str, Array]) -> None:
        self.model, self.values = model, values
        self.graph = Graph(model)
        self.nodes = list(self.graph.nodes)
        self.fixed = weights_of(model)
        self.entries = [one.name for one in model.graph.input if one.name not in self.graph.constants]
        self.maker = {name: index for index, node in enumerate(self.nodes) for name in node.output if name}
        self.reads = [
            tuple(name for name in dict.fromkeys(reads_of(node)) if name in self.maker or name in self.entries)
            for node in self.nodes
        ]
        self._readers: dict[str, set[int]] = {}
        for index, names in enumerate(self.reads):
            for name in names:
                self._readers.setdefault(name, set()).add(index)

    @property
    def moving(self) -> list[int]:
        """The nodes whose results depend on the inputs, in execution order."""
        return [index for index, node in enumerate(self.nodes) if not self.fixed.issuperset(node.output)]

    def with_weights(self, chosen: Iterable[int]) -> list[int]:
        """The same nodes, and those that compute what is fixed for them, such as the float form of int8 weights."""
        found, todo = set(chosen), list(chosen)
        while todo:
            for name in self.reads[todo.pop()]:
                if name in self.fixed and name in self.maker and self.maker[name] not in found:
                    found.add(self.maker[name])
                    todo.append(self.maker[name])
        return sorted(found)

    def piece(
        self, chosen: Iterable[int], known: Mapping[str, Array], wanted: Container[str] | None = None
    ) -> Piece | None:
        """These nodes, those that they cannot do without, and none that leads nowhere; None where nothing is left.

        `known` are the tensors that may be fed and judged; of what leaves the piece only those of `wanted` count.
        """
        inside = self._closed(set(chosen), known)
        outputs = [name for index in sorted(inside) for name in self.nodes[index].output if self._leaves(name, inside)]
        outputs = [name for name in outputs if name in known and (wanted is None or name in wanted)]
        inside = self.between(outputs, lambda name: self.maker.get(name, -1) not in inside) or set()
        return self.built(inside, outputs, known) if inside else None

    def between(self, outputs: Sequence[str], stops: Callable[[str], bool]) -> set[int] | None:
        """The nodes that make `outputs`, back to the tensors at which it `stops`; None where it meets an input."""
        found: set[int] = set()
        todo = list(outputs)
        while todo:
            name = todo.pop()
            if stops(name):
                continue
            if name not in self.maker:
                return None
            if self.maker[name] not in found:
                found.add(self.maker[name])
                todo += self.reads[self.maker[name]]
        return found

    def built(self, inside: Iterable[int], outputs: Sequence[str], known: Mapping[str, Array]) -> Piece:
        """The model of these nodes as they are, fed with what is known or fixed."""
        chosen = sorted(inside)
        made = {name for index in chosen for name in self.nodes[index].output}
        fed = [name for name in dict.fromkeys(one for index in chosen for one in self.reads[index]) if name not in made]
        inputs = {name: known[name] for name in fed if name not in self.fixed}
        read = {name for index in chosen for name in reads_of(self.nodes[index])}
        constants = [one for name, one in self.graph.constants.items() if name in read]
        constants += [numpy_helper.from_array(self.values[name], name) for name in fed if name in self.fixed]
        return Piece(self._model(chosen, inputs, outputs, constants), inputs, tuple(outputs), tuple(chosen))

    def cut_at(self, known: Mapping[str, Array], outputs: Sequence[str]) -> tuple[onnx.ModelProto, dict[str, Array]]:
        """All nodes, each fed with the known tensors that it reads in the place of those that the others make."""
        copy = onnx.ModelProto()
        copy.CopyFrom(self.model)
        for node in copy.graph.node:
            names = [_fed(one) if one in known else one for one in node.input]
            del node.input[:]
            node.input.extend(names)
        inputs = {_fed(name): value for name, value in known.items() if self._readers.get(name)}
        for part in (copy.graph.input, copy.graph.output, copy.graph.value_info):
            del part[:]
        copy.graph.input.extend(entry(name, value) for name, value in {**inputs, **self._inside(known)}.items())
        copy.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in outputs)
        return copy, {**inputs, **self._inside(known)}

    def _inside(self, known: Mapping[str, Array]) -> dict[str, Array]:
        """The inputs, which branches inside nodes may read too."""
        return {name: known[name] for name in self.entries if name in known}

    def _model(
        self, chosen: list[int], inputs: Mapping[str, Array], outputs: Sequence[str], constants: list[onnx.TensorProto]
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            [self.nodes[index] for index in chosen],
            "piece",
            [entry(name, value) for name, value in inputs.items()],
            [helper.make_empty_tensor_value_info(name) for name in outputs],
            constants,
        )
        whole = self.model
        return helper.make_model(
            graph, opset_imports=whole.opset_import, ir_version=whole.ir_version, functions=whole.functions
        )

    def _closed(self, inside: set[int], known: Container[str]) -> set[int]:
        """With the makers of what they read and what can be neither fed nor stored."""
        todo = list(inside)
        while todo:
            for name in self.reads[todo.pop()]:
                index = self.maker.get(name, -1)
                stored = name in self.fixed and name in self.values
                if name not in known and not stored and index >= 0 and index not in inside:
                    inside.add(index)
                    todo.append(index)
        return inside

    def _leaves(self, name: str, inside: set[int]) -> bool:
        readers = self._readers.get(name, set())
        return bool(name) and (name in self.graph.outputs() or not readers or not readers <= inside)


def _fed(name: str) -> str:
    return f"known::{name}"


def entry(name: str, value: Array) -> onnx.ValueInfoProto:
    """An input of a graph, of the type and the shape of a value."""
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)


def plain(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose constants are all initialisers, and whose initialisers are no inputs."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    graph, gone = Graph(copy), []
    for node in graph.nodes:
        if node.op_type == "Constant" and node.output[0] not in graph.outputs():
            value = next((one for one in node.attribute if one.name.startswith("value")), None)
            array = None if value is None else _constant(helper.get_attribute_value(value), value.name)
            if array is not None:
                graph.put(node.output[0], array)
                gone.append(node)
    graph.drop(gone)
    graph.store()
    inputs = [one for one in copy.graph.input if one.name not in graph.constants]
    del copy.graph.input[:]
    copy.graph.input.extend(inputs)
    return copy


def _constant(value: Any, kind: str) -> Array | None:
    """What a Constant holds; None for texts and sparse tensors."""
    if isinstance(value, onnx.TensorProto):
        return None if value.data_type == onnx.TensorProto.STRING else numpy_helper.to_array(value)
    if kind in {"value_float", "value_floats"}:
        return np.asarray(value, np.float32)
    return np.asarray(value, np.int64) if kind in {"value_int", "value_ints"} else None
