"""The original network without its weights: it takes the same time, and next to no room."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from workbench.building.build import lower
from workbench.jobs import Reporter
from workbench.models import Model
from workbench.recipe import Recipe

#: Tensors of fewer numbers stay: they may be sizes and scales, on which it depends what is computed.
_LARGE = 1024
_WEIGHTS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT8, TensorProto.UINT8})
_written: dict[str, bytes] = {}


def hollow(model: Model) -> bytes:
    """An ONNX file of the same operations on weights that are all alike: the runtime makes them when it loads it.

    How long dense layers take does not depend on their numbers, as long as these are neither infinite nor tiny.
    Remembered for the networks of this process.
    """
    if model.hash not in _written:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "original.onnx"
            lower(model.module, model, Recipe(), None, file, Reporter())
            _written[model.hash] = emptied(onnx.load(file)).SerializeToString()
    return _written[model.hash]


def emptied(graph: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph, in place, with large weights as constants of one number."""
    large = [one for one in graph.graph.initializer if one.data_type in _WEIGHTS and np.prod(one.dims) >= _LARGE]
    made = []
    for one in large:
        graph.graph.initializer.remove(one)
        shape = numpy_helper.from_array(np.array(one.dims, np.int64), f"{one.name}/shape")
        graph.graph.initializer.append(shape)
        value = _value(one)
        made.append(helper.make_node("ConstantOfShape", [shape.name], [one.name], value=numpy_helper.from_array(value)))
    nodes = [*made, *graph.graph.node]
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)
    return graph


def _value(one: onnx.TensorProto) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    """A number as large as the weights are, so that what follows from them stays as large too."""
    values = numpy_helper.to_array(one)
    if values.dtype.kind != "f":
        return np.ones(1, values.dtype)
    size = float(np.abs(values.astype(np.float64)).mean()) / np.sqrt(max(values[0].size, 1)) if values.size else 0.0
    return np.full(1, max(size, 1e-3), values.dtype)
