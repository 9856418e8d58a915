"""A file that torch's operators cannot make up, as one layer that ONNX Runtime runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import fx, nn

from workbench.artefact.whole import Whole, named
from workbench.models.from_onnx.agreement import TOLERANCE, apart
from workbench.models.from_onnx.entries import Entry
from workbench.models.graph import Graph

Array = np.ndarray[Any, Any]
BATCH = "batch"
#: Files that choose their grids by the whole batch may differ by this much.
ROUNDED = 0.05
#: Inputs by name, and for each output what the file gives for one after the other.
Case = tuple[dict[str, Array], list[Any]]


def as_whole(
    model: onnx.ModelProto, carried: list[Entry], cases: Sequence[Case], held: Mapping[str, Any], why: str
) -> Graph | None:
    """The network of a file with its batch free and held inputs as constants; None where it keeps no batch apart.

    `why` is the sentence that steps are refused with.
    """
    whole = Whole.of(_free(named(model), held), why)
    for inputs, expected in cases:
        try:
            found = whole(*(torch.from_numpy(inputs[one.name]) for one in _in_order(whole.model, carried)))
        except Exception:  # noqa: BLE001  # ONNX Runtime raises much of its own
            return None
        outputs = list(found) if isinstance(found, tuple) else [found]
        if any(one.dim() < 1 or len(one) != len(next(iter(inputs.values()))) for one in outputs):
            return None
        wanted = [np.concatenate([np.asarray(part) for part in parts]) for parts in expected]
        if not apart(found, wanted) <= (ROUNDED if whole.quantized else TOLERANCE):
            return None
    return _graph(whole, _in_order(whole.model, carried), [one.name for one in carried])


def _in_order(model: onnx.ModelProto, carried: list[Entry]) -> list[Entry]:
    """The inputs that carry the batch as the file has them in order."""
    by_name = {one.name: one for one in carried}
    return [by_name[one.name] for one in model.graph.input]


def _free(model: onnx.ModelProto, held: Mapping[str, Any]) -> onnx.ModelProto:
    """The same file with constants in the place of held inputs, and a first axis of any size."""
    made = onnx.ModelProto()
    made.CopyFrom(model)
    graph = made.graph
    constants = {one.name for one in graph.initializer} | set(held)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in held.items())
    inputs = [one for one in graph.input if one.name not in constants]
    del graph.input[:], graph.value_info[:]
    graph.input.extend(inputs)
    for one in (*graph.input, *graph.output):
        if one.type.tensor_type.HasField("shape") and one.type.tensor_type.shape.dim:
            one.type.tensor_type.shape.dim[0].dim_param = BATCH
    return made


def _graph(whole: Whole, entries: list[Entry], order: list[str]) -> Graph:
    """A graph of the one layer; its inputs stand as they do for the user."""
    root, graph = nn.Module(), fx.Graph()
    root.add_module("file", whole)
    by_name = {one.name: one for one in entries}
    places = {name: graph.placeholder(by_name[name].key) for name in order}
    result = graph.call_module("file", tuple(places[one.name] for one in entries))
    graph.output(result)
    made = Graph(root, graph)
    made.eval()
    return made


def refusal(why: str) -> str:
    """What is known of a network that stays a file, as a note."""
    return (
        f"The network stays the file that it is, and ONNX Runtime runs it. It is costed, measured, quantized and "
        f"exported; steps that rewrite or train torch layers are refused. Reason: {why}"
    )
