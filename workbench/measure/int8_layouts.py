"""Forms that an int8 graph can take, and which of them is fastest on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx

from workbench.artefact.onnx_graph import WEIGHTED, attribute
from workbench.errors import MeasurementFailed
from workbench.jobs import Reporter
from workbench.measure.latency import fastest
from workbench.measure.machine import machine
from workbench.quantization.qdq import TYPES, quantize_graph
from workbench.quantization.ranges import Range

#: What was measured in this process, by machine, operators and candidates.
_KNOWN: dict[object, Form] = {}


@dataclass(frozen=True)
class Form:
    """Integer types, by their name in `TYPES`, and how many of the first layers stay in float.

    First layers read few channels, where integer kernels gain least or lose; and what enters the network is
    float anyway, so that no conversion is added.
    """

    types: str
    stem: int = 0

    def floats(self, model: onnx.ModelProto) -> frozenset[str]:
        """Names of the nodes that stay in float: the first layers, and what follows each up to the next."""
        weighted = [index for index, node in enumerate(model.graph.node) if node.op_type in WEIGHTED]
        end = weighted[self.stem] if 0 < self.stem < len(weighted) else 0
        return frozenset(node.name for node in list(model.graph.node)[:end])


def fastest_of(
    candidates: Sequence[Form],
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    report: Reporter,
) -> Form:
    """The fastest at batch 1 on one thread; the first where none is clearly faster, or nothing can be measured."""
    if len(candidates) == 1:
        return candidates[0]
    key = (machine().fingerprint, tuple(_operators(model)), tuple(candidates))
    if key not in _KNOWN:
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{index}.onnx" for index in range(len(candidates))]
            for form, path in zip(candidates, paths, strict=True):
                exclude = form.floats(model)
                # One scale a weight: quicker to make, and as fast to run as one a channel.
                graph = quantize_graph(model, ranges, TYPES[form.types], per_channel=False, exclude=exclude)
                onnx.save_model(graph, str(path))
            try:
                _KNOWN[key] = candidates[fastest(paths, seconds=0.8, progress=report)]
            except MeasurementFailed:  # a busy machine is no reason to fail
                return candidates[0]
    return _KNOWN[key]


def _operators(model: onnx.ModelProto) -> list[str]:
    """The operators of a graph; depthwise convolutions, which have kernels of their own, apart."""
    return [f"{n.op_type}{' grouped' if attribute(n, 'group', 1) > 1 else ''}" for n in model.graph.node]
