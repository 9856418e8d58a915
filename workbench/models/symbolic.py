"""The quick way to the canonical form, for networks whose layers are plain torch modules already (milliseconds)."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from threading import get_ident
from typing import Any

import torch
from torch import fx, nn

from workbench.models.functions import name_of
from workbench.models.graph import Graph, unstorable
from workbench.models.layers import is_plain
from workbench.modules.calling import Inputs, arguments

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
#: Products and normalisations; called as functions on parameters they are layers that are not modules yet.
_LAYER_FUNCTIONS = frozenset(
    "conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d linear bilinear matmul mm bmm addmm "
    "batch_norm layer_norm group_norm instance_norm rms_norm einsum tensordot".split()
)


class NotPlain(Exception):
    """A network that needs the longer way; the message says why."""


def symbolic(module: nn.Module, inputs: Inputs) -> Graph:
    """The graph of a network of plain layers; `module` is a private copy, whose layers are taken over.

    Raises: `NotPlain`, and whatever a forward raises that cannot be followed with stand-ins for tensors.
    """
    _check_signature(module, inputs)
    tracer = _Tracer()
    with torch.enable_grad():
        graph = tracer.trace(module)
    _check(graph)
    for node in graph.nodes:
        held = getattr(module, str(node.target), None) if node.op == "get_attr" else None
        if isinstance(held, torch.Tensor) and held.grad_fn is not None:
            raise NotPlain(f"{node.target} was computed from parameters, and would stay as it is")
    for node in graph.nodes:
        if node.op == "call_module":  # conv(input=x) is conv(x)
            node.args, node.kwargs = (*node.args, *node.kwargs.values()), {}
        stack = node.meta.get("nn_module_stack") or {}
        node.meta = {"owner": next((path for path, _ in reversed(stack.values())), "")}
    return Graph(module, graph, type(module).__name__)


class _Tracer(fx.Tracer):
    """Plain layers are operations; everything else is looked into.

    While it traces, torch hands it the modules of every thread. Those that another one runs are none of its business.
    """

    def __init__(self) -> None:
        super().__init__()
        self._thread = get_ident()

    def call_module(
        self, m: nn.Module, forward: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Any:
        if get_ident() != self._thread:
            return forward(*args, **kwargs)
        return super().call_module(m, forward, args, kwargs)

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        if get_ident() != self._thread:
            return attr_val
        return super().getattr(attr, attr_val, parameter_proxy_cache)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        if is_plain(m):
            return True
        if type(m).__module__.startswith("torch.") and not isinstance(m, CONTAINERS):
            raise NotPlain(f"{module_qualified_name} is a {type(m).__name__}")
        return False


def _check_signature(module: nn.Module, inputs: Inputs) -> None:
    """Inputs that have a name each and no default: others change what a forward does."""
    if is_plain(module):
        raise NotPlain("the network is a single layer")
    args, kwargs = arguments(inputs)
    known = inspect.signature(type(module).forward).parameters.values()
    names = [one.name for one in list(known)[1:]]
    ordinary = all(one.kind is one.POSITIONAL_OR_KEYWORD for one in known)
    if "forward" in vars(module) or not ordinary or len(args) + len(kwargs) != len(names):
        raise NotPlain("its forward has optional inputs")
    if any(not isinstance(one, torch.Tensor) for one in (*args, *kwargs.values())):
        raise NotPlain("its inputs are nested")


def _check(graph: fx.Graph) -> None:
    """Raise `NotPlain` where a weight is computed, or a layer is called as a function."""
    missing = unstorable(graph)
    if missing:
        raise NotPlain(f"it calls {missing}")
    constant: set[fx.Node] = set()
    layers = tuple(f"{node.target}." for node in graph.nodes if node.op == "call_module")
    for node in graph.nodes:
        if node.op == "get_attr":
            if str(node.target).startswith(layers):
                raise NotPlain(f"{node.target} is read beside its layer")
            constant.add(node)
            continue
        given = [one for one in node.all_input_nodes if one in constant]
        if not given:
            continue
        if len(given) == len(node.all_input_nodes) or _name(node) in _LAYER_FUNCTIONS:
            raise NotPlain(f"{node.name} works on parameters")


def _name(node: fx.Node) -> str:
    target: Any = node.target
    if isinstance(target, torch._ops.OpOverload):
        return target._schema.name.rpartition("::")[2]
    return str(name_of(target) if node.op == "call_function" else target).rpartition(".")[2]
