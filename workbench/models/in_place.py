"""Operations in place become ordinary ones, so that no run of a network writes into what it was given."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx, nn

#: What gives another view of the same numbers.
_VIEWS = frozenset(
    "view reshape flatten unflatten transpose permute t squeeze unsqueeze select slice narrow chunk split expand detach"
    " getitem movedim swapaxes unbind diagonal split_with_sizes view_as expand_as alias T mT contiguous to".split()
)


def out_of_place(module: fx.GraphModule) -> None:
    """Rewrite a graph in place. An operation that overwrites what is read again stays, on a copy of the input."""
    position = {node: index for index, node in enumerate(module.graph.nodes)}
    left, before = False, _calls(module)
    for node in list(module.graph.nodes):
        if _in_place(module, node):
            if _unread(node, position):
                _replace(module, node)
            else:
                left = True
    if left:
        _copy_inputs(module.graph)
    for node in module.graph.nodes:
        _any_layout(node)
    if _calls(module) != before:
        module.recompile()


def _calls(module: fx.GraphModule) -> list[Any]:
    """What the generated code depends on."""
    return [(node.target, node.args, node.kwargs) for node in module.graph.nodes]


def _in_place(module: fx.GraphModule, node: fx.Node) -> bool:
    if not node.args or not isinstance(node.args[0], fx.Node):
        return False
    if node.op == "call_module":
        return bool(getattr(module.get_submodule(str(node.target)), "inplace", False))
    if node.op == "call_method":
        return str(node.target).endswith("_")
    return node.op == "call_function" and (bool(node.kwargs.get("inplace")) or _base(node).endswith("_"))


def _any_layout(node: fx.Node) -> None:
    """A view becomes a reshape, which does not ask how the numbers lie in memory: training may put channels last."""
    if node.op == "call_method" and node.target == "view" and not isinstance(node.args[1], torch.dtype):
        node.target = "reshape"
    elif node.target is torch.ops.aten.view.default:
        node.target = torch.ops.aten.reshape.default


def _base(node: fx.Node) -> str:
    """The plain name of what a node calls."""
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.name.removeprefix("aten::")
    return str(getattr(node.target, "__name__", node.target))


def _unread(node: fx.Node, position: dict[fx.Node, int]) -> bool:
    """Whether nothing reads, after this operation, the numbers that it overwrites."""
    inner: fx.Node = node
    base = node.args[0]
    while isinstance(base, fx.Node):
        if any(position[user] > position[node] for user in base.users if user is not inner):
            return False
        if _base(base) not in _VIEWS:
            return True
        inner, base = base, base.args[0]
    return True


def _replace(module: fx.GraphModule, node: fx.Node) -> None:
    if node.op == "call_module":
        _off(module.get_submodule(str(node.target)))
    elif node.kwargs.get("inplace"):
        node.kwargs = {**node.kwargs, "inplace": False}
    elif node.op == "call_method":
        node.target = str(node.target).rstrip("_")
    elif isinstance(node.target, torch._ops.OpOverload):
        packet: Any = getattr(torch.ops.aten, _base(node).rstrip("_"), None)
        plain = getattr(packet, node.target._overloadname, None)
        node.target = plain if plain is not None else node.target


def _off(layer: nn.Module) -> None:
    layer.inplace = False  # type: ignore[assignment]  # torch has it as an attribute of activations


def _copy_inputs(graph: fx.Graph) -> None:
    for node in [one for one in graph.nodes if one.op == "placeholder"]:
        with graph.inserting_after(node):
            copied = graph.call_function(torch.clone, (node,))
        copied.meta = {"owner": ""}
        node.replace_all_uses_with(copied, delete_user_cb=lambda user, own=copied: user is not own)
