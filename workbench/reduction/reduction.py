"""`reduce_file` and `reduced`: the smallest part of a network that still shows a fault."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx

from workbench.errors import BadValue, MeasurementFailed, shown
from workbench.estimate import Estimate, exact
from workbench.interface.arguments import check_kinds
from workbench.jobs import Reporter
from workbench.measure.latency import Subject, interleave
from workbench.reduction import oracles
from workbench.reduction.finding import (
    Case,
    Layer,
    Shrinking,
    case_of,
    narrowed,
    oracle_of,
    slow_blocks,
    suspected,
    usual_tolerance,
)
from workbench.reduction.oracles import FAULTS, Oracle, Slow, Wrong
from workbench.reduction.pieces import Array, Parts, Piece, plain
from workbench.reduction.result import Reduction
from workbench.reduction.values import REFERENCE, fitted, made_up, runner
from workbench.runtimes.apart import ending
from workbench.untrusted.onnx_files import read_onnx

#: What a file can be held against besides another file: itself, run in another way.
WAYS = {"unoptimised": "off", "onnx": REFERENCE}
#: Inputs among which the one with the largest difference is taken, and seconds of the timing that confirms.
LOOKED_AT, SECONDS = 8, 2.0
FEW = 3  # operators, of which none is left out for a part that is slower by less


@dataclass(frozen=True)
class Ask:
    """What to look for: a fault of `FAULTS`, or "" for the first that shows.

    `tolerance`: what outputs may differ by; None takes what is usual in the network's precision. `seconds`: of the
    timing that confirms a slow one. A slow part of a network that is as fast as the right one is looked for where
    "slow" is asked for by name.
    """

    fault: str = ""
    tolerance: float | None = None
    seconds: float = SECONDS

    def __post_init__(self) -> None:
        if self.fault and self.fault not in FAULTS:
            raise BadValue(f"fault is {shown(self.fault)}. Give one of {', '.join(FAULTS)}, or none to look for all.")
        if self.tolerance is not None and not 0 < self.tolerance < float("inf"):
            raise BadValue(f"tolerance is {self.tolerance}. Give a share above 0 of the outputs' largest number.")


@check_kinds
def reduce_file(
    file: str | Path,
    against: str | Path = "unoptimised",
    *,
    inputs: Mapping[str, Any] | Sequence[Any] | None = None,
    ask: Ask = Ask(),
    progress: Reporter | None = None,
) -> Reduction:
    """The smallest part of an ONNX file that shows a fault.

    `against`: another ONNX file that is right, such as the float network; "unoptimised", the same file without ONNX
    Runtime's rewriting of graphs; "onnx", the same file in ONNX's own reference implementation. `inputs`: arrays
    (N, ...) by name or in order; None makes some up.
    Raises: `BadFile` for a file that cannot be read, `BadValue` where it shows no fault; `Cancelled`.
    """
    suspect = plain(read_onnx(Path(file)))
    right = None if str(against) in WAYS else plain(_read_right(against))
    given = [fitted(suspect, inputs)] if inputs is not None else [made_up(suspect, seed) for seed in range(LOOKED_AT)]
    return reduced(suspect, right, _singles(suspect, given), ask, how=WAYS.get(str(against), "off"), progress=progress)


def _read_right(against: str | Path) -> Any:
    if not Path(against).is_file():
        raise BadValue(
            f"There is nothing to hold it against: {shown(str(against))} is no file. Give an ONNX file that is right, "
            "or 'unoptimised' or 'onnx' for the same file run in another way."
        )
    return read_onnx(Path(against))


def _singles(model: onnx.ModelProto, given: list[dict[str, Array]]) -> list[dict[str, Array]]:
    """Inputs one by one, where the file takes any number of them at a time; at most `LOOKED_AT`."""
    if len(given) > 1:
        return given
    (whole,) = given
    sizes = {value.shape[0] for value in whole.values() if value.ndim}
    free = all(one.type.tensor_type.shape.dim[0].dim_value in {0, 1} for one in model.graph.input if one.name in whole
               if len(one.type.tensor_type.shape.dim))  # fmt: skip
    if len(sizes) != 1 or not free:
        return given
    return [{name: value[k : k + 1] for name, value in whole.items()} for k in range(min(LOOKED_AT, *sizes, 10**9))]


def reduced(  # noqa: PLR0913  # a case has these
    suspect: onnx.ModelProto,
    right: onnx.ModelProto | None,
    given: list[dict[str, Array]],
    ask: Ask,
    *,
    how: str = "off",
    layer: Layer | None = None,
    progress: Reporter | None = None,
) -> Reduction:
    """As `reduce_file`, of graphs in memory, and within one layer where that is given.

    Of several inputs the first one decides, unless another's outputs differ by more.
    """
    report = progress or Reporter()
    report(0.0, "running both")
    tolerance = ask.tolerance or usual_tolerance(suspect, right)
    case = case_of(suspect, right, _worst(suspect, right, given, how), how, layer)
    start = _start(case.ours, layer)
    whole = case.ours.piece(case.ours.with_weights(start), case.known)
    if whole is None:
        raise BadValue(
            "The outputs of the two files have other shapes or types, so one cannot be held against the other. Give "
            "the network that it was made from."
        )
    for fault in (ask.fault,) if ask.fault else FAULTS:
        oracle = oracle_of(case, fault, tolerance)
        block = whole if oracle.shows(whole) else _hidden(case, oracle, start, ask, report)
        if block is not None:
            found = _found(case, oracle, block, ask, report)
            return replace(found, whole=len(whole.nodes))
    raise BadValue(_sound(case, whole, tolerance, ask))


def _start(parts: Parts, layer: Layer | None) -> list[int]:
    """The nodes to search: all that depend on an input, or a layer's."""
    if layer is None:
        return parts.moving
    inside = parts.between([layer.result], lambda name: name == layer.source or name not in parts.maker) or set()
    return [one for one in parts.moving if one in inside]


def _worst(
    suspect: onnx.ModelProto, right: onnx.ModelProto | None, given: list[dict[str, Array]], how: str
) -> dict[str, Array]:
    """The inputs on which outputs differ most; the first where that cannot be told."""
    if len(given) == 1:
        return given[0]
    try:
        ours, theirs = runner(suspect, "all"), runner(right or suspect, "all" if right else how)
        names = [one.name for one in (right or suspect).graph.input]
        both = [(ours(one), theirs(dict(zip(names, one.values(), strict=True)))) for one in given]
        apart = [max(map(oracles.far, *pair), default=0.0) for pair in both]
    except Exception:  # noqa: BLE001  # a runtime raises anything, and whether it does is looked at next
        return given[0]
    return given[max(range(len(given)), key=apart.__getitem__)]


def _hidden(case: Case, oracle: Oracle, start: list[int], ask: Ask, report: Reporter) -> Piece | None:
    """A slow block of a network that is not surely slower as a whole, where a slow one was asked for."""
    if not isinstance(oracle, Slow) or ask.fault != oracles.SLOW:
        return None
    blocks = slow_blocks(case, oracle, start, report.part(0.0, 0.05))
    return next((one for one in blocks if oracle.shows(one)), None)


def _found(case: Case, oracle: Oracle, whole: Piece, ask: Ask, report: Reporter) -> Reduction:
    start = [one for one in whole.nodes if one in set(case.ours.moving)]
    search = Shrinking(case, oracle, report.part(0.05, 0.9))
    if isinstance(oracle, Slow):
        piece = _slowest(case, oracle, search, start, whole)
    else:
        near = suspected(case, start) if isinstance(oracle, Wrong) else []
        block = case.ours.piece(case.ours.with_weights(near), case.known) if near else None
        piece = search.down(block.nodes if block is not None and search.shows(block) else start)
    report(0.9, "smaller inputs")
    pair, expected = narrowed(case, oracle, piece)
    found = Reduction(
        oracle.fault, pair[0], exact(1.0), 0.0, tuple(expected or ()), pair[1], case.twin_level, tried=search.tried
    )  # fmt: skip
    return _with_evidence(found, oracle, ask, report.part(0.9, 1.0))


def _slowest(case: Case, oracle: Slow, search: Shrinking, start: list[int], whole: Piece) -> Piece:
    """Where at least half of the time goes that it takes more; of a large part whatever of it is surely slower."""
    timing = oracle.timing(whole)
    half = replace(oracle, least=max(timing[0] / 2, 0.0)) if timing else oracle
    first = Shrinking(case, half, search.report)
    piece = first.down(start)
    search.tried = first.tried
    return piece if len(piece.nodes) <= FEW else search.down(piece.nodes)


def _with_evidence(found: Reduction, oracle: Oracle, ask: Ask, report: Reporter) -> Reduction:
    """With its figure: of a wrong one the difference, of a slow one the ratio as this project measures it."""
    if isinstance(oracle, Wrong):
        gap = replace(oracle, expected=lambda _: list(found.expected)).gap(found.piece)
        return replace(found, figure=exact(gap), tolerance=oracle.tolerance)
    if isinstance(oracle, Slow):
        return replace(found, figure=confirmed(found, ask.seconds, report))
    if found.fault == oracles.REFUSED:
        return replace(found, said=oracles.refusal(found.piece.model, found.piece.inputs, "all"))
    return replace(found, said=ending(found.piece.model.SerializeToString(), "all", found.piece.inputs))


def confirmed(found: Reduction, seconds: float, report: Reporter) -> Estimate:
    """How many times as fast as its twin a slow piece is, timed in turns in a process apart.

    Raises: `MeasurementFailed` where the interval is not apart from 1.
    """
    assert found.twin is not None  # a slow piece was timed against it
    level = "onnxruntime" if found.twin_level == "all" else f"onnxruntime:{found.twin_level}"
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "right.onnx", Path(folder) / "slow.onnx"
        for file, model in zip(files, (found.twin.model, found.piece.model), strict=True):
            file.write_bytes(model.SerializeToString())
        pair = [Subject(files[0], level), Subject(files[1], "onnxruntime")]
        ratio = interleave(pair, seconds=seconds, progress=report).speedup(1)
    if ratio.high >= 1:
        raise MeasurementFailed(
            f"{len(found.operators)} operators looked slower than what they are held against, but timed for "
            f"{seconds:g} s they run at {ratio.value:.3g}× its speed ({ratio.low:.3g} to {ratio.high:.3g}). Ask again "
            "on a quieter machine."
        )
    return ratio


def _sound(case: Case, whole: Piece, tolerance: float, ask: Ask) -> str:
    """Why there is nothing to reduce."""
    gap = Wrong(case.recorded, tolerance).gap(whole)
    timing = Slow(case.twin, case.twin_level).timing(whole)
    speed = "cannot be timed against it" if timing is None else "is not surely slower"
    wanted = f"does not show the fault {ask.fault!r}" if ask.fault else "shows no fault"
    return (
        f"This network {wanted}: its outputs differ from the right ones by {gap:.2g} of their largest number, where "
        f"{tolerance:.2g} is allowed, and it {speed}. Give other inputs, or a smaller tolerance."
    )
