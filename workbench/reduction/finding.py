"""From a network with a fault to the smallest part that still shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import onnx

from workbench.artefact.whole import INTEGERS
from workbench.errors import BadValue
from workbench.jobs import Reporter
from workbench.reduction import oracles
from workbench.reduction.alignment import aligned, known_of
from workbench.reduction.ddmin import least
from workbench.reduction.oracles import Ends, Oracle, Refused, Slow, Twin, Wrong
from workbench.reduction.pieces import Array, Parts, Piece, entry
from workbench.reduction.shapes import Pair, smaller
from workbench.reduction.values import all_values, runner, some_values

#: What outputs may differ by, relative to their largest number: in float32, in half precision, between two graphs of
#: integers, and between integers and floats, where rounding alone makes some hundredths.
FLOAT, HALF, INTEGER, ROUNDED = 1e-4, 5e-3, 2e-2, 1e-1
_BLOCKS = 8  # that seemed slow, which are timed again


@dataclass(frozen=True)
class Case:
    """A network with a fault, what it is held against, and the right values of its tensors on one input.

    `twin_level` is how the right network is run: of the same graph as here, another level or the reference.
    """

    ours: Parts
    theirs: Parts
    pairs: Mapping[str, str]
    known: Mapping[str, Array]
    twin_level: str

    @property
    def same(self) -> bool:
        """Whether it is one graph, run in two ways."""
        return self.ours is self.theirs

    def twin(self, piece: Piece) -> Twin | None:
        """What is held against a piece; None where the right network does not come apart there."""
        if self.same:
            return Twin(piece.model, {name: name for name in piece.inputs}, piece.outputs)
        inputs = {name: self.pairs[name] for name in piece.inputs if name in self.pairs}
        outputs = [self.pairs[name] for name in piece.outputs if name in self.pairs]
        inside = self.theirs.between(outputs, set(inputs.values()).__contains__)
        if inside is None or len(outputs) < len(piece.outputs):
            return None
        return Twin(*_returning(self.theirs, inside, outputs, inputs))

    def recorded(self, piece: Piece) -> list[Array]:
        """The right outputs of a piece that is fed with the right inputs."""
        return [self.known[name] for name in piece.outputs]

    def computed(self, pair: Pair) -> list[Array] | None:
        """The right outputs of a piece on any inputs, as its twin computes them."""
        piece, twin = pair
        return None if twin is None else runner(twin.model, self.twin_level)(twin.given(piece.inputs))


def _returning(
    parts: Parts, inside: set[int], outputs: list[str], inputs: dict[str, str]
) -> tuple[onnx.ModelProto, dict[str, str], tuple[str, ...]]:
    """A model of these nodes; an output that is an input too, where nothing is computed, is handed through."""
    piece = parts.built(inside, list(dict.fromkeys(outputs)), parts.values)
    model, fed = piece.model, dict(piece.inputs)
    for name in dict.fromkeys(outputs):
        if not any(name in node.output for node in model.graph.node):
            return _handed(model, name, parts.values[name]), inputs, tuple(outputs)
    return model, {one: other for one, other in inputs.items() if other in fed}, tuple(outputs)


def _handed(model: onnx.ModelProto, name: str, value: Array) -> onnx.ModelProto:
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Identity", [name], [f"{name}_as_it_is"])], "piece",
        [entry(name, value)], [onnx.helper.make_empty_tensor_value_info(f"{name}_as_it_is")],
    )  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


@dataclass(frozen=True)
class Layer:
    """Where a layer stands: the tensors that it reads and makes, and what these are in the right network."""

    source: str
    result: str
    right_source: str
    right_result: str

    @property
    def pairs(self) -> dict[str, str]:
        """The right network's tensors by this one's."""
        return {self.source: self.right_source, self.result: self.right_result}


def case_of(
    suspect: onnx.ModelProto,
    right: onnx.ModelProto | None,
    inputs: Mapping[str, Array],
    how: str = "off",
    layer: Layer | None = None,
) -> Case:
    """A case on one input: against another graph, or against the same one run in another way, `how`.

    Raises: `BadValue` where the right network cannot be run on these inputs.
    """
    if right is None:
        values = _right_values(suspect, inputs, how)
        ours = Parts(suspect, values)
        known = {name: value for name, value in values.items() if name not in ours.fixed}
        return Case(ours, ours, {name: name for name in known}, known, how)
    theirs = Parts(right, all_values(right, _named(suspect, right, inputs)))
    ours = Parts(suspect, some_values(suspect, inputs))
    pairs = aligned(ours, theirs, layer.pairs if layer else {})
    return Case(ours, theirs, pairs, {**known_of(ours, theirs, pairs), **inputs}, "all")


def _right_values(model: onnx.ModelProto, inputs: Mapping[str, Array], how: str) -> dict[str, Array]:
    try:
        return all_values(model, inputs, how)
    except Exception as error:
        values = some_values(model, inputs)
        if values:
            return values
        said = str(error).strip().partition("\n")[0][:200]
        raise BadValue(
            f"Neither ONNX Runtime nor ONNX's reference runs this file ({said}), so its tensors are not known "
            "and it cannot be taken apart. Give inputs that it takes (--input), or a file to hold it against."
        ) from error


def _named(suspect: onnx.ModelProto, right: onnx.ModelProto, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The same inputs under the other graph's names, where it has others."""
    constants = {one.name for one in right.graph.initializer}
    names = [one.name for one in right.graph.input if one.name not in constants]
    if len(names) != len(inputs):
        raise BadValue(
            f"The two files take {len(inputs)} and {len(names)} inputs, so they are not two forms of one network. "
            "Give the file that it was made from."
        )
    return dict(inputs) if set(names) == set(inputs) else dict(zip(names, inputs.values(), strict=True))


def usual_tolerance(suspect: onnx.ModelProto, right: onnx.ModelProto | None) -> float:
    """What outputs may differ by where nobody says."""
    if any(node.op_type in INTEGERS for node in suspect.graph.node):
        exact = right is not None and not any(node.op_type in INTEGERS for node in right.graph.node)
        return ROUNDED if exact else INTEGER
    halves = any(one.data_type == onnx.TensorProto.FLOAT16 for one in suspect.graph.initializer)
    return HALF if halves else FLOAT


@dataclass
class Shrinking:
    """The search in one case: which nodes still show the fault."""

    case: Case
    oracle: Oracle
    report: Reporter
    tried: int = 0
    _seen: dict[tuple[tuple[int, ...], tuple[str, ...]], bool] = field(default_factory=dict)

    def down(self, start: Iterable[int]) -> Piece:
        """The smallest piece of these nodes, which show the fault: nodes that compute first, then those for weights."""
        parts = self.case.ours
        moving = set(parts.moving)
        left = least(
            [one for one in start if one in moving],
            lambda chosen: self._left(parts.with_weights(chosen), among=moving),
        )
        nodes = least(parts.with_weights(left), self._left)
        piece = self._piece(nodes)
        assert piece is not None  # it has just shown the fault, or is what the search began with
        return self._one_output(piece)

    def shows(self, piece: Piece | None) -> bool:
        """Whether a piece shows the fault; the same one is asked once."""
        if piece is None:
            return False
        key = piece.nodes, piece.outputs
        if key not in self._seen:
            self.tried += 1
            self.report(1 - 0.9**self.tried, f"{len(piece.nodes)} operators")
            self._seen[key] = self.oracle.shows(piece)
        return self._seen[key]

    def _piece(self, chosen: Iterable[int], wanted: set[str] | None = None) -> Piece | None:
        return self.case.ours.piece(chosen, self.case.known, wanted)

    def _left(self, chosen: Iterable[int], among: set[int] | None = None) -> list[int] | None:
        piece = self._piece(chosen)
        if piece is None or not self.shows(piece):
            return None
        return [one for one in piece.nodes if among is None or one in among]

    def _one_output(self, piece: Piece) -> Piece:
        """The same with one of its outputs, where that shows the fault by itself."""
        for name in piece.outputs if len(piece.outputs) > 1 else ():
            alone = self._piece(piece.nodes, {name})
            if alone is not None and self.shows(alone):
                return alone
        return piece


def suspected(case: Case, start: Iterable[int]) -> list[int]:
    """The node whose own result is furthest from what it should be when it is fed with what is right.

    The graph is cut at every tensor that is known, and run once. None where that is not to be had, such as in a
    network whose parts are right one by one.
    """
    makers = {name: index for index in start for name in case.ours.nodes[index].output if name in case.known}
    try:
        model, inputs = case.ours.cut_at(case.known, list(makers))
        found = runner(model, "all")(inputs)
    except Exception:  # noqa: BLE001  # a runtime raises anything
        return []
    sizes = {index: _largest(case.known[one] for one in case.ours.reads[index] if one in case.known)
             for index in makers.values()}  # fmt: skip
    far = {
        index: oracles.far(value, case.known[name], sizes[index])
        for (name, index), value in zip(makers.items(), found, strict=True)
    }
    return [max(far, key=far.__getitem__)] if far else []


def _largest(values: Iterable[Array]) -> float:
    return max((oracles.largest(one) for one in values), default=0.0)


def narrowed(case: Case, oracle: Oracle, piece: Piece) -> tuple[Pair, list[Array] | None]:
    """The piece with its twin, on inputs as small as the fault allows, and the right outputs there."""
    pair: Pair = piece, case.twin(piece)
    if isinstance(oracle, Slow):
        return pair, None  # how large it is, is part of how slow it is
    if not isinstance(oracle, Wrong):
        small, _ = smaller((piece, None), lambda one: oracle.shows(one[0]), alike=True)
        return (small, None), None
    right = _agreeing(case, pair, oracle.tolerance)
    if right is None:
        return (piece, None), case.recorded(piece)

    plain_enough = max(oracle.tolerance, oracle.gap(piece) / 2)  # the fault must stay as plain to see
    size = _largest(right) / 10  # and the right outputs must stay numbers that something can be off by

    def shows(one: Pair) -> bool:
        expected = _or_none(lambda: case.computed(one))
        if expected is None or _largest(expected) < size:
            return False
        gap = replace(oracle, expected=lambda _: expected).gap(one[0])
        return gap >= plain_enough and (gap < np.inf or plain_enough == np.inf)

    alike = case.same or (pair[1] is not None and piece.operators == tuple(x.op_type for x in pair[1].model.graph.node))
    found = smaller(pair, shows, alike)
    return found, case.computed(found)


def _agreeing(case: Case, pair: Pair, tolerance: float) -> list[Array] | None:
    """The twin's outputs, where they are what was recorded in the whole network."""
    right = _or_none(lambda: case.computed(pair))
    if right is None:
        return None
    size = _largest(pair[0].inputs.values())
    far = [oracles.far(one, other, size) for one, other in zip(right, case.recorded(pair[0]), strict=True)]
    return right if max(far, default=0.0) <= tolerance / 2 else None


def _or_none(work: Callable[[], list[Array] | None]) -> list[Array] | None:
    try:
        return work()
    except Exception:  # noqa: BLE001  # a runtime raises anything for a piece that is none
        return None


def oracle_of(case: Case, fault: str, tolerance: float) -> Oracle:
    """What looks for a fault in a case."""
    if fault == oracles.ENDS:
        return Ends()
    if fault == oracles.REFUSED:
        return Refused(oracles.refusal(case.ours.model, {name: case.known[name] for name in case.ours.entries}, "all"))
    return Wrong(case.recorded, tolerance) if fault == oracles.WRONG else Slow(case.twin, case.twin_level)


def slow_blocks(case: Case, oracle: Slow, start: Iterable[int], report: Reporter) -> list[Piece]:
    """The blocks between known tensors that take longer than their twins, those that take most longer first."""
    rough = replace(oracle, rounds=5)
    found: list[tuple[float, int, Piece]] = []
    names = [name for index in start for name in case.ours.nodes[index].output if name in case.known]
    for count, name in enumerate(names):
        report(count / len(names), "timing block by block")
        block = case.ours.piece(case.ours.with_weights([case.ours.maker[name]]), case.known, {name})
        timing = None if block is None else rough.timing(block)
        if block is not None and timing is not None and timing[0] > 0:
            found.append((timing[0], len(found), block))
    return [block for *_, block in sorted(found, reverse=True)][:_BLOCKS]
