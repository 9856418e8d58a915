"""`read(path)`: the network in an ONNX file in canonical form, with an example of its inputs."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import torch

from workbench.errors import BadFile, BadValue, WorkbenchError
from workbench.models.exported import exported
from workbench.models.from_onnx.agreement import HALF, TOLERANCE, Original, apart, begins, leasts
from workbench.models.from_onnx.as_whole import as_whole, refusal
from workbench.models.from_onnx.entries import Entry, candidates, carriers, entries, from_user, numbers
from workbench.models.from_onnx.program import Program
from workbench.models.from_onnx.quantized import without_grids
from workbench.models.graph import Graph, unstorable
from workbench.models.in_place import out_of_place
from workbench.models.model import Form
from workbench.modules.calling import Inputs, call, flatten
from workbench.modules.checking import MOST, MOVED, jittered
from workbench.modules.tracing_lock import TRACING
from workbench.untrusted.onnx_files import read_onnx

Array = np.ndarray[Any, Any]
#: Whole numbers below this are tried first: most vocabularies are larger.
MANY = 64
#: So many channels have pictures.
CHANNELS = (1, 3, 4)


def read(path: Path, example: Any = None) -> Form:
    """The network of a file, checked against ONNX Runtime on one input and on a batch of three.

    `example`: an input as `wb.load` takes it; by name it may give some inputs alone. What is left open gets the
    first of some usual sizes that works, which the notes tell; so do they of inputs that carry no batch and are
    held at one value.
    Raises: `BadFile`, `BadValue`, naming the operation that stands in the way or computes something else.
    """
    source = _inlined(read_onnx(path))
    try:
        return _in_torch(source, path, example)
    except BadValue as error:
        found = _as_file(source, path, example, str(error))
        if found is None:
            raise BadValue(
                f"{error} Nor can it stay an ONNX file that is costed, measured and quantized as it is: run on several "
                "inputs at once, it does not give what it gives for each."
            ) from error
        return found


def _in_torch(source: onnx.ModelProto, path: Path, example: Any) -> Form:
    model, notes = without_grids(source)
    found = entries(model)
    carried = carriers(found)
    # Its constants first: they say how large they are.
    Program(model, {one.name: one.key for one in found}, {}, one=False)
    original = _opened(model, path, quantized=bool(notes))
    given, inputs, held, three = _tried(original, found, path, example)
    together = _together(original, three | held) if any(one.open for one in carried) else None
    several = partial(_apart_each, original, held=held) if together is None else lambda x: original.run(x | held)
    names = {one.name: one.key for one in carried}
    program = Program(model, names, held, one=together is None).eval()
    graph = _followed(program, _as_inputs(carried, inputs), path)
    _check(graph, program, model, _Case(carried, inputs, original.run, held))
    _check(graph, program, model, _Case(carried, three, several, held))
    notes += _said(found, carried, given, inputs)
    return _formed(graph, carried, inputs, notes)


def _opened(model: onnx.ModelProto, path: Path, *, quantized: bool) -> Original:
    try:
        return Original(model, path)
    except BadFile as error:
        if quantized:  # the file may be sound, and what was made of it not
            raise BadValue(f"Of {path.name}, which is quantized, no float network could be made: {error}") from error
        raise


def _as_file(source: onnx.ModelProto, path: Path, example: Any, why: str) -> Form | None:
    """The network as the file that it is, run by ONNX Runtime; None where its inputs are not kept apart."""
    found = entries(source)
    carried = carriers(found)
    original = Original(source, path)
    given, inputs, held, three = _tried(original, found, path, example)
    cases = [(one, _apart_each(original, one, held)) for one in ({e.name: inputs[e.name] for e in carried}, three)]
    graph = as_whole(source, carried, cases, held, why)
    if graph is None:
        return None
    return _formed(graph, carried, inputs, [refusal(why), *_said(found, carried, given, inputs)])


def _tried(original: Original, found: list[Entry], path: Path, example: Any) -> tuple[dict[str, Array], ...]:
    """What the user gave, one input that works, of it what is held, and a batch of three of the rest."""
    carried = carriers(found)
    given = {} if example is None else from_user(example, found)
    inputs = _working(original, found, carried, given, path)
    held = {one.name: inputs[one.name] for one in found if one not in carried}
    return given, inputs, held, {one.name: _three(one, inputs[one.name]) for one in carried}


def _formed(graph: Graph, carried: list[Entry], inputs: dict[str, Array], notes: list[str]) -> Form:
    shown = {one.name: _lasting(inputs[one.name]) for one in carried}
    return Form(graph, _as_inputs(carried, shown), tuple(notes))


def _inlined(model: onnx.ModelProto) -> onnx.ModelProto:
    if not model.functions:
        return model
    from onnx.inliner import inline_local_functions

    return inline_local_functions(model)


def _working(
    original: Original, found: list[Entry], carried: list[Entry], given: Mapping[str, Array], path: Path
) -> dict[str, Array]:
    """An input that the file runs on. Raises: `BadFile` where no usual sizes do, with what ONNX Runtime said."""
    said = ""
    for shapes in candidates(found, carried):
        for zeros, most in ((True, MANY), (True, 2), (False, 2)):
            made = {
                one.name: given[one.name] if one.name in given
                else np.zeros(shapes[one.name], one.kind) if one not in carried and zeros
                else numbers(one, shapes[one.name], most=most)
                for one in found
            }  # fmt: skip
            try:
                if all(np.isfinite(one).all() for one in original.run(made) if one.dtype.kind == "f"):
                    return made
                said = said or "its outputs are no finite numbers"
            except Exception as error:  # noqa: BLE001  # ONNX Runtime raises much of its own
                said = str(error).strip().splitlines()[0][:300].rstrip(".")
            if set(given) >= {one.name for one in found}:
                break
    shapes_text = ", ".join(f"{one.name} {list(one.axes)}" for one in found)
    raise BadFile(
        f"{path.name} takes {shapes_text}, and does not run on {'the example' if given else 'any of the usual sizes'}: "
        f"{said}. Give one input that it takes: wb.load({path.name!r}, example=...), by name where there are several."
    )


def _as_inputs(carried: list[Entry], values: Mapping[str, Array]) -> Inputs:
    """One tensor, or a mapping by name where the file takes several."""
    tensors = {one.key: torch.from_numpy(np.array(values[one.name])) for one in carried}
    return cast("Inputs", tensors if len(tensors) > 1 else next(iter(tensors.values())))


def _followed(program: Program, example: Inputs, path: Path) -> Graph:
    with TRACING, torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            graph = exported(program, example)
        except WorkbenchError:
            raise
        except Exception as error:  # torch.export raises what the operations raise, and much of its own
            first = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
            raise BadValue(
                f"{path.name} cannot be turned into torch: {type(error).__name__}: {first[:300].rstrip('.')}."
            ) from error
    missing = unstorable(graph.graph)
    if missing:
        raise BadValue(f"{path.name} calls {missing}, which the workbench does not know.")
    out_of_place(graph)
    for parameter in graph.parameters():
        parameter.requires_grad_(parameter.is_floating_point())
    return graph.eval()


@dataclass(frozen=True)
class _Case:
    """Inputs, and how the file is run on them: it gives each output, or a list of it for one input after the other."""

    carried: list[Entry]
    inputs: dict[str, Array]
    run: Callable[[dict[str, Array]], list[Any]]
    held: dict[str, Array]

    def outputs(self, like: list[torch.Tensor], *, moved: bool = False) -> list[Array]:
        """Of the file, with the batch where those `like` them have it; `moved`: for inputs that differ by rounding."""
        inputs = jittered(self.inputs) if moved else self.inputs
        found = (one if isinstance(one, tuple) else (one,) for one in self.run(inputs))
        return [_joined(one, tuple(mine.shape)) for one, mine in zip(found, like, strict=True)]


def _together(original: Original, values: dict[str, Array]) -> list[Array] | None:
    """The outputs for a batch of several; None for a file that takes one input at a time, whatever it says."""
    try:
        return original.run(values)
    except Exception:  # noqa: BLE001  # ONNX Runtime raises much of its own
        return None


def _apart_each(original: Original, values: dict[str, Array], held: dict[str, Array]) -> list[Any]:
    """For each output what it is for one input after the other."""
    count = len(next(iter(values.values())))
    singles = [original.run({name: v[i : i + 1] for name, v in values.items()} | held) for i in range(count)]
    return list(zip(*singles, strict=True))


def _check(graph: Graph, program: Program, model: onnx.ModelProto, case: _Case) -> None:
    """Raise `BadValue` where the network is not the file."""
    with torch.no_grad():
        try:
            found = call(graph.forward, _as_inputs(case.carried, case.inputs))
        except Exception as error:
            raise BadValue(
                f"The network of the file takes one input at a time, and no batch: {type(error).__name__}: "
                f"{str(error).splitlines()[0][:200]}. The workbench runs batches; export it with a free batch."
            ) from error
    outputs = flatten(found)
    expected = case.outputs(outputs)
    least = leasts(model, [one.name for one in model.graph.output])
    off = apart(found, expected, least)
    if not off <= (HALF if _is_half(model) else TOLERANCE) and not off <= _unsettled(case, outputs, expected):
        single = {name: value[:1] for name, value in case.inputs.items()} | case.held
        place = begins(program, model, single, TOLERANCE) or _shapes_said(outputs, expected)
        raise BadValue(
            f"The network does not compute what ONNX Runtime does: its outputs differ by {off:.2g} (relative) for a "
            f"batch of {len(next(iter(case.inputs.values())))}. {place}"
        )


def _unsettled(case: _Case, outputs: list[torch.Tensor], expected: list[Array]) -> float:
    """`checking.unsettled`, of a file."""
    moved = [torch.from_numpy(np.array(one)) for one in case.outputs(outputs, moved=True)]
    return min(MOVED * apart(moved, expected), MOST)


def _shapes_said(found: list[torch.Tensor], expected: list[Array]) -> str:
    mine, theirs = ([tuple(one.shape) for one in several] for several in (found, expected))
    other = f" (shapes {mine}, not {theirs})" if mine != theirs else ""
    return f"It begins with a batch of several, which the file does not keep apart{other}."


def _joined(parts: tuple[Array, ...], shape: tuple[int, ...]) -> Array:
    """The outputs of single inputs as one of a batch, along the axis where the batch is in an output of `shape`."""
    single = parts[0].shape
    if len(parts) == 1 or not single:
        return parts[0][None] if shape == (1, *single) else parts[0]
    if len(shape) == len(single) + 1:  # the file leaves the axis of a batch of one out
        return np.stack(parts)
    axes = [i for i, (a, b) in enumerate(zip(single, shape, strict=False)) if a != b]
    return np.concatenate(parts, axes[0] if axes and len(single) == len(shape) else 0)


def _three(entry: Entry, value: Array) -> Array:
    one = value[:1]
    others = [numbers(entry, one.shape, seed, most=int(one.max(initial=1)) + 1) for seed in (1, 2)]
    return np.concatenate([one, *others]) if len(value) == 1 else value


def _lasting(value: Array) -> Array:
    return np.zeros_like(value) if value.dtype.kind == "f" else value


def _is_half(model: onnx.ModelProto) -> bool:
    halves = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
    return any(one.data_type in halves for one in model.graph.initializer)


def _channels_last(entry: Entry) -> bool:
    few = [axis in CHANNELS for axis in entry.axes[1:]]
    return few == [False, False, True]


def _said(
    found: list[Entry], carried: list[Entry], given: Mapping[str, Array], inputs: Mapping[str, Array]
) -> list[str]:
    notes = []
    for one in carried:
        open_axes = [size for axis, size in zip(one.axes[1:], inputs[one.name].shape[1:], strict=True)
                     if not isinstance(axis, int)]  # fmt: skip
        if open_axes and one.name not in given:
            shape = " × ".join(map(str, inputs[one.name].shape[1:]))
            notes.append(
                f"The file leaves sizes of {one.name} open; it is taken at {shape} here. example= gives another size."
            )
    notes += [
        f"{one.name} takes pictures with the channels last, {' × '.join(map(str, inputs[one.name].shape[1:]))}: "
        "wb.data(..., preprocess={'layout': 'NHWC'}) hands them over so."
        for one in carried if _channels_last(one)
    ]  # fmt: skip
    for one in found:
        if one not in carried:
            how = "the example's value" if one.name in given else "noise" if inputs[one.name].any() else "zeros"
            notes.append(f"{one.name} carries no batch and is held at {how}. Name it in example= for other values.")
    return notes
