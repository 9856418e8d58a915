"""The way to the canonical form through `torch.export`, for whatever the quick way cannot follow.

torch runs the network once with stand-ins for tensors and writes down every operator. What depends on parameters
alone and ends as the weight of a layer is computed once; each convolution, matrix product with a weight, and
normalisation becomes a torch module again.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import logging
import operator
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import fx, nn
from torch.utils._pytree import tree_map

from workbench.errors import BadValue
from workbench.models.graph import Graph, drop_unread
from workbench.models.lifted import lift
from workbench.modules.calling import Inputs, arguments, plain

#: Names of operators that only assert something; they are true of every input that gets so far.
_ASSERTIONS = ("_assert", "sym_constrain", "assert_")
#: What torch writes about networks that it cannot export, before it raises an error that says so.
_LOUD = (
    "torch.export", "torch.export._trace", "torch._subclasses.fake_tensor", "torch.fx.experimental.symbolic_shapes",
    "torch.fx.experimental.proxy_tensor",
)  # fmt: skip


def exported(module: nn.Module, inputs: Inputs, *, strict: bool = False) -> Graph:
    """The graph of any network that torch can export; `module` is a private copy.

    The first axis of every tensor is free, and may be of any size later. `strict`: read the network's code instead of
    running it, which takes longer and follows less, but knows that `len(x)` is the size of the batch.
    Raises: whatever `torch.export` raises, as it is.
    """
    args, kwargs = tree_map(_doubled, arguments(inputs))
    shapes = _shapes(module, args, kwargs)
    module.register_forward_hook(lambda _module, _inputs, outputs: plain(outputs))  # torch knows no data classes
    with _quietly():
        program = torch.export.export(module, args, kwargs, dynamic_shapes=shapes, strict=strict)
        found = program.module(check_guards=False)
    assert isinstance(found, fx.GraphModule)
    names = _input_names(module, args, kwargs)
    _plain_signature(found, names, arguments(inputs))
    _clean(found.graph)
    _inline(found)
    _check_sizes(found.graph)
    lift(found)
    return Graph(found, found.graph, type(module).__name__)


def _doubled(value: Any) -> Any:
    """A batch of two: one of one would be taken for a constant."""
    if isinstance(value, torch.Tensor) and value.dim() and value.shape[0] == 1:
        return torch.cat([value, value])
    return value


def _shapes(module: nn.Module, args: Any, kwargs: Any) -> Any:
    """The first axis free where it is that of the batch."""

    def free(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return None
        return {0: torch.export.Dim.AUTO} if value.dim() and value.shape[0] == 2 else {}

    given = inspect.signature(module.forward).bind(*args, **kwargs).arguments
    return {name: tree_map(free, value) for name, value in given.items()}


def _input_names(module: nn.Module, args: Any, kwargs: Any) -> list[str]:
    """The names of the inputs that were given, as the network's forward has them."""
    known = inspect.signature(module.forward).parameters.values()
    names = [one.name for one in known if one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}]
    rest = next((one.name for one in known if one.kind is one.VAR_POSITIONAL), "input")
    names += [f"{rest}_{index}" for index in range(len(args) - len(names))]
    return [*names[: len(args)], *kwargs]


def _plain_signature(module: fx.GraphModule, names: list[str], given: Any) -> None:
    """Inputs and outputs without torch's own flattening: placeholders by name, an output of nested containers."""
    graph = module.graph
    codegen = graph._codegen
    leaves = [node for node in graph.nodes if node.op == "placeholder"]
    (output,) = [node for node in graph.nodes if node.op == "output"]
    info = getattr(codegen, "pytree_info", None)
    if info is None:
        return
    flat = output.args[0]
    nested = plain(torch.utils._pytree.tree_unflatten(list(flat), info.out_spec))
    args, kwargs = given
    nested_inputs = any(not isinstance(one, torch.Tensor) for one in (*args, *kwargs.values()))
    graph.set_codegen(fx.graph.CodeGen())
    output.args = (nested,)
    if nested_inputs:
        _nested_inputs(graph, leaves, names, (*args, *kwargs.values()))
        return
    for node, name in zip(leaves, names, strict=True):
        node.target, node.name = name, node.name


def _nested_inputs(graph: fx.Graph, leaves: list[fx.Node], names: list[str], values: tuple[Any, ...]) -> None:
    """Placeholders that take containers, and what takes the tensors out of them."""
    waiting = iter(leaves)
    with graph.inserting_before(leaves[0]):
        tops = [graph.placeholder(name) for name in names]

    def unpack(node: fx.Node, value: Any, before: fx.Node) -> None:
        if isinstance(value, dict):
            items: Any = value.items()
        elif isinstance(value, (list, tuple)):
            items = enumerate(value)
        else:
            leaf = next(waiting)
            node.meta = dict(leaf.meta)
            leaf.replace_all_uses_with(node)
            return
        for key, inner in items:
            with graph.inserting_before(before):
                part = graph.call_function(operator.getitem, (node, key))
            unpack(part, inner, before)

    anchor = leaves[-1].next
    for top, value in zip(tops, values, strict=True):
        unpack(top, value, anchor)
    for leaf in leaves:
        graph.erase_node(leaf)


def _clean(graph: fx.Graph) -> None:
    """Leave out assertions and what nothing reads."""
    for node in reversed(graph.nodes):
        asserts = any(word in str(node.target) for word in _ASSERTIONS) and not node.users
        if node.op == "call_function" and asserts:
            graph.erase_node(node)
    drop_unread(graph)


def _inline(module: fx.GraphModule) -> None:
    """Put what ran inside torch.autocast or torch.enable_grad among the other operations."""
    for node in list(module.graph.nodes):
        name = getattr(node.target, "__name__", "")
        if name not in {"wrap_with_autocast", "wrap_with_set_grad_enabled"}:
            continue
        inner = next(one for one in node.args if isinstance(one, fx.Node))
        before = node.args[: node.args.index(inner)]
        if name == "wrap_with_autocast" and before[0] == "cpu" and before[2]:
            raise BadValue(
                f"A part of the network computes in {before[1]} inside torch.autocast. The workbench works in float32: "
                "leave autocast to the code that calls the network."
            )
        _put_inside(module, node, inner)
    module.graph.lint()


def _put_inside(module: fx.GraphModule, node: fx.Node, inner: fx.Node) -> None:
    part = module.get_submodule(str(inner.target))
    assert isinstance(part, fx.GraphModule)
    given = node.args[node.args.index(inner) + 1 :]
    names = [one for one in part.graph.nodes if one.op == "placeholder"]
    with module.graph.inserting_before(node):
        results = module.graph.graph_copy(part.graph, dict(zip(names, given, strict=True)))  # type: ignore[arg-type]
    for user in list(node.users):
        user.replace_all_uses_with(results[user.args[1]])  # type: ignore[index, arg-type]
        module.graph.erase_node(user)
    module.graph.erase_node(node)
    if not inner.users:
        module.graph.erase_node(inner)


def _check_sizes(graph: fx.Graph) -> None:
    """Raise `BadValue` for an operation whose result is as large as the values say."""
    for node in graph.nodes:
        if torch.Tag.dynamic_output_shape in getattr(node.target, "tags", ()) and not _by_places(node):
            lines = [one.strip() for one in (node.stack_trace or "").splitlines()]
            place = next((one for one in reversed(lines) if one.startswith("File")), "")
            raise BadValue(
                f"{node.target._schema.name.removeprefix('aten::')} gives a result whose size depends on the values "
                f"({place or 'in its forward'}), so that the network has no cost of its own and no plan. Use a mask "
                "and torch.where, or leave it to the code that calls the network."
            )


def _by_places(node: fx.Node) -> bool:
    """Whether an operation picks by whole numbers, of which there are as many as there are: not by a mask."""
    if node.target not in {torch.ops.aten.index.Tensor, torch.ops.aten._unsafe_index.Tensor}:
        return False
    picked = (one.meta.get("val") for one in node.args[1] if one is not None)  # type: ignore[union-attr]  # a list
    return all(isinstance(one, torch.Tensor) and one.dtype not in {torch.bool, torch.uint8} for one in picked)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    loggers = [logging.getLogger(name) for name in _LOUD]
    before = [one.disabled for one in loggers]
    for one in loggers:
        one.disabled = True
    tracer = vars(importlib.import_module("torch.export._trace"))
    tracer["print"] = lambda *_, **__: None  # it prints the graph so far; stderr is the whole process's
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            yield
    finally:
        tracer.pop("print", None)
        for one, disabled in zip(loggers, before, strict=True):
            one.disabled = disabled
