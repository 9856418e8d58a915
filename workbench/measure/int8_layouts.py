"""Forms that an int8 graph can take, and which of them is fastest on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
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

#: Of all candidates together.
SECONDS = 0.8


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


#: Operators of a graph, and the forms that it may take.
Key = tuple[tuple[str, ...], tuple[Form, ...]]
#: What was measured in this process, by machine, operators and candidates.
_KNOWN: dict[tuple[str, Key], Form] = {}
#: Where nothing is to be timed: what was decided elsewhere.
_TOLD: ContextVar[Mapping[Key, Form] | None] = ContextVar("told", default=None)


class Untimed(Exception):
    """A form is to be chosen where nothing is timed: the graphs of its candidates, for somebody who does."""

    def __init__(self, key: Key, graphs: tuple[bytes, ...]) -> None:
        super().__init__("a form of int8 that nobody has timed")
        self.key, self.graphs = key, graphs


@contextmanager
def untimed(told: Mapping[Key, Form]) -> Iterator[None]:
    """Nothing is timed in this block, on this thread: forms are those told, and one that is not raises `Untimed`."""
    token = _TOLD.set(told)
    try:
        yield
    finally:
        _TOLD.reset(token)


def fastest_of(
    candidates: Sequence[Form],
    model: onnx.ModelProto,
    ranges: Mapping[str, Range],
    report: Reporter,
) -> Form:
    """The fastest at batch 1 on one thread; the first where none is clearly faster, or nothing can be measured."""
    if len(candidates) == 1:
        return candidates[0]
    key = (tuple(_operators(model)), tuple(candidates))
    known = decided() if (told := _TOLD.get()) is None else told
    if key in known:
        return known[key]
    graphs = []
    for form in candidates:
        # One scale a weight: quicker to make, and as fast to run as one a channel.
        graph = quantize_graph(model, ranges, TYPES[form.types], per_channel=False, exclude=form.floats(model))
        graphs.append(graph.SerializeToString())
    if told is not None:
        raise Untimed(key, tuple(graphs))
    return decide(key, graphs, lambda paths: fastest(paths, seconds=SECONDS, progress=report))


def decided() -> dict[Key, Form]:
    """What is known of this machine."""
    own = machine().fingerprint
    return {key: form for (of, key), form in _KNOWN.items() if of == own}


def decide(key: Key, graphs: Sequence[bytes], race: Callable[[list[Path]], int]) -> Form:
    """The form whose graph `race` finds the fastest; it is remembered. The first where nothing can be measured."""
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{index}.onnx" for index in range(len(graphs))]
        for path, graph in zip(paths, graphs, strict=True):
            path.write_bytes(graph)
        try:
            found = _KNOWN[machine().fingerprint, key] = key[1][race(paths)]
        except MeasurementFailed:  # a busy machine is no reason to fail
            return key[1][0]
    return found


def _operators(model: onnx.ModelProto) -> list[str]:
    """The operators of a graph; depthwise convolutions, which have kernels of their own, apart."""
    return [f"{n.op_type}{' grouped' if attribute(n, 'group', 1) > 1 else ''}" for n in model.graph.node]
