"""An ONNX graph as a torch module that runs it operation by operation, for `torch.export` to follow.

Constants are computed once. Sizes stay numbers (`sizes`), weights become parameters, and every operation is a part
of its own under the name that the file gives it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from workbench.artefact.onnx_graph import attribute
from workbench.errors import BadValue, WorkbenchError
from workbench.models.from_onnx import sizes
from workbench.models.from_onnx.batch import freed
from workbench.models.from_onnx.constants import array_of, check_room, constant_of
from workbench.models.from_onnx.names import free_path, path_of
from workbench.models.from_onnx.rules import COMPUTED, SETTINGS, WITH_NUMBERS, modern, rule_of
from workbench.models.from_onnx.wording import unknown
from workbench.models.graph import add_submodule

Array = np.ndarray[Any, Any]
_RANDOM = frozenset({"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Bernoulli"})


class Program(nn.Module):
    """The operations of a file in order; `forward` takes its inputs in order, or by the names in Python.

    `held` are inputs with a value of their own, which are no inputs then. `one` says that the file is made for a
    batch of one, so that a 1 in its shapes may stand for the batch.
    """

    def __init__(self, model: onnx.ModelProto, names: dict[str, str], held: Mapping[str, Array], *, one: bool) -> None:
        super().__init__()
        self.inputs, self.outputs = list(names), [out.name for out in model.graph.output]
        self.one = one
        self.opset = next((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), 1)
        constants = {t.name: array_of(t) for t in model.graph.initializer} | {k: np.asarray(v) for k, v in held.items()}
        self.scope = _Block(self, model.graph, constants, "")
        self.seen: dict[str, Any] | None = None  # what each tensor is, where that is asked for
        self.forward = _signed(self._compute, list(names.values()))

    def _compute(self, *given: Any) -> Any:
        """The file's output, or a tuple of its outputs."""
        values = dict(zip(self.inputs, given, strict=True))
        self.batch = next(iter(values.values())).shape[0]
        self.scope.run(self, values)
        if self.seen is not None:
            self.seen.update(values)
        found = tuple(_tensor(values[name]) for name in self.outputs)
        return found[0] if len(found) == 1 else found


def _signed(compute: Callable[..., Any], names: list[str]) -> Callable[..., Any]:
    """`compute` with arguments of these names."""
    parameters = [inspect.Parameter(one, inspect.Parameter.POSITIONAL_OR_KEYWORD) for one in names]
    signature = inspect.Signature(parameters)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return compute(*signature.bind(*args, **kwargs).arguments.values())

    forward.__signature__ = signature  # type: ignore[attr-defined]
    return forward


class _Block:
    """Operations in order, of the graph or of a branch, with the constants that they know."""

    def __init__(self, program: Program, graph: onnx.GraphProto, constants: dict[str, Array], inside: str) -> None:
        self.constants = constants | {one.name: array_of(one) for one in graph.initializer}
        self.outputs = [one.name for one in graph.output]
        self.steps: list[str] = []
        parameters: dict[str, Any] = vars(program).setdefault("shared", {})
        for node in graph.node:
            step = _Step(program, node, self.constants, parameters)
            if node.op_type == "Constant" or step.settled:
                self.constants.update(_folded(step, self.constants))
                continue
            path = free_path(program, path_of(node, inside))
            add_submodule(program, path, step)
            step.branches = _branches(program, node, self.constants, path)
            self.steps.append(path)

    def run(self, program: Program, values: dict[str, Any]) -> None:
        """Put what each operation gives among the values."""
        for name in self.outputs:
            if name in self.constants:
                values.setdefault(name, self.constants[name])
        for path in self.steps:
            step = program.get_submodule(path)
            assert isinstance(step, _Step)
            values.update(zip(step.node.output, step(values), strict=False))


def _branches(program: Program, node: onnx.NodeProto, constants: dict[str, Array], path: str) -> dict[str, _Block]:
    if node.op_type != "If":
        return {}
    names = ("then_branch", "else_branch")
    known = constants.get(node.input[0])
    wanted = names if known is None else names[:1] if bool(known) else names[1:]
    return {name: _Block(program, attribute(node, name, None), dict(constants), path) for name in wanted}


class _Step(nn.Module):
    """One operation, with its weights."""

    program: Program

    def __init__(
        self, program: Program, node: onnx.NodeProto, constants: Mapping[str, Array], shared: dict[str, Any]
    ) -> None:
        super().__init__()
        self.node, self.title = node, node.name or (node.output[0] if node.output else "")
        self.rule = rule_of(node, program.opset)
        self.given: dict[int, Any] = {}  # constant inputs that are numbers
        self.counts: dict[int, Array] = {}  # those of whole numbers, for where all the others are sizes
        self.weights: dict[int, str] = {}  # constant inputs that are tensors, as what they are held
        self.branches: dict[str, _Block] = {}
        vars(self)["program"] = program  # no part of this one
        settings = SETTINGS.get(node.op_type, frozenset())
        self.settled = _is_settled(node, constants)
        for index, name in enumerate(node.input):
            if name in constants and not self.settled:
                self._hold(index, name, constants[name], index in settings, shared)

    def _hold(self, index: int, name: str, value: Array, setting: bool, shared: dict[str, Any]) -> None:
        if value.dtype.kind in "iub" and value.size <= sizes.MOST and self.node.op_type in sizes.SIZES:
            self.counts[index] = value
        if setting or value.ndim == 0 or (index in self.counts and value.size <= 1):
            self.given[index] = value
            return
        kind = {0: "input", 1: "weight", 2: "bias"}.get(index, f"constant_{index}")
        if name not in shared:
            tensor = torch.from_numpy(np.array(value, order="C"))
            shared[name] = nn.Parameter(tensor) if tensor.is_floating_point() else tensor
        self.weights[index] = kind
        if isinstance(shared[name], nn.Parameter):
            self.register_parameter(kind, shared[name])
        else:
            self.register_buffer(kind, shared[name])

    def forward(self, values: Mapping[str, Any]) -> tuple[Any, ...]:
        """The outputs of the operation. Raises: `BadValue`, naming it."""
        args = [self._input(index, name, values) for index, name in enumerate(self.node.input)]
        try:
            found = self._run(modern(self.node, args), values)
        except WorkbenchError:
            raise
        except NotImplementedError as error:
            raise BadValue(f"{self._name()} cannot be turned into torch: {error or 'a setting of its own'}.") from error
        return found if isinstance(found, tuple) else (found,)

    def _input(self, index: int, name: str, values: Mapping[str, Any]) -> Any:
        if index in self.given:
            return self.given[index]
        if index in self.weights:
            return getattr(self, self.weights[index])
        return values[name] if name else None

    def _run(self, args: list[Any], values: Mapping[str, Any]) -> Any:
        kind = self.node.op_type
        if kind == "If":
            return self._branch(args[0], values)
        counted = [self.counts.get(index, one) for index, one in enumerate(args)]
        if sizes.applies(self.node, counted):
            return sizes.computed(self.node, counted)
        if self.rule is None:
            raise BadValue(unknown(self.node, self._name()))
        settings = SETTINGS.get(kind, frozenset())
        for index in settings:
            if index < len(args) and isinstance(args[index], torch.Tensor) and kind not in COMPUTED:
                args[index] = self._number(args[index])
        args = [one if i in settings else self._operand(i, one, args) for i, one in enumerate(args)]
        if kind == "Reshape" and self.program.one:
            args[1] = freed(args[0], args[1], self.program.batch)
        if kind in WITH_NUMBERS and any(not isinstance(one, torch.Tensor) for one in args):
            return WITH_NUMBERS[kind](*args)
        return self.rule(self.node, *args)

    def _operand(self, index: int, value: Any, args: list[Any]) -> Any:
        """A tensor, or a number where the operator takes one beside a tensor."""
        if not isinstance(value, np.ndarray):
            return value
        kind = self.node.op_type
        if kind == "Gather" and index == 1 and value.dtype != object:
            return value
        tensors = any(isinstance(one, torch.Tensor) for one in args)
        if value.ndim == 0 and tensors and (kind in WITH_NUMBERS or kind == "Div"):
            return value.item()
        return _tensor(value)

    def _number(self, value: torch.Tensor) -> Array:
        """A setting that was computed among the tensors. Raises: `BadValue` where it depends on the inputs."""
        try:
            return np.asarray(value.detach().numpy())
        except Exception as error:
            raise BadValue(
                f"{self._name()} has a size or a setting that depends on the values of the input, so that the network "
                "has no cost of its own and no plan."
            ) from error

    def _branch(self, condition: Any, values: Mapping[str, Any]) -> tuple[Any, ...]:
        if isinstance(condition, torch.Tensor):
            condition = self._number(condition)
        block = self.branches["then_branch" if bool(condition.reshape(-1)[0]) else "else_branch"]
        inner = dict(values)
        block.run(self.program, inner)
        return tuple(inner[name] for name in block.outputs)

    def _name(self) -> str:
        return f"The operation {self.title!r} ({self.node.op_type})"


def _is_settled(node: onnx.NodeProto, constants: Mapping[str, Array]) -> bool:
    given = [name for name in node.input if name]
    return bool(given) and node.op_type not in _RANDOM | {"If"} and all(name in constants for name in given)


def _folded(step: _Step, constants: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs of an operation whose inputs are all constant. Raises: `BadFile`, `BadValue`."""
    node = step.node
    if node.op_type == "Constant":
        return {node.output[0]: constant_of(node)}
    args: list[Any] = modern(node, [constants[name] if name else None for name in node.input])
    check_room(node, args, step._name())
    settings = SETTINGS.get(node.op_type, frozenset())
    if not sizes.applies(node, args):
        args = [
            torch.from_numpy(np.array(one)) if isinstance(one, np.ndarray) and i not in settings else one
            for i, one in enumerate(args)
        ]
    names = [f"_{index}" for index in range(len(args))]
    with torch.no_grad():
        step.node = onnx.NodeProto()
        step.node.CopyFrom(node)
        del step.node.input[:]
        step.node.input.extend("" if one is None else name for one, name in zip(args, names, strict=True))
        found = step(dict(zip(names, args, strict=True)))
    made = (one.detach().numpy() if isinstance(one, torch.Tensor) else one for one in found)
    return {name: one for name, one in zip(node.output, made, strict=False) if name}


def _tensor(value: Any) -> torch.Tensor:
    if not isinstance(value, np.ndarray):
        return value  # type: ignore[no-any-return]  # a tensor
    if value.dtype != object:
        return torch.from_numpy(np.array(value))
    parts = [torch.full((), one, dtype=torch.int64) for one in value.reshape(-1).tolist()]
    return torch.stack(parts).reshape(value.shape)
