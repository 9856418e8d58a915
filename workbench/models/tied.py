"""Weights that something else reads too: a layer of its own would be a copy, and no longer the same parameter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from math import prod
from typing import Any

import torch
from torch import fx, nn

Tensor = torch.Tensor
Known = Callable[[Any], bool]
Value = Callable[[fx.Node], Any]


def bound(module: fx.GraphModule, specs: Mapping[fx.Node, Any], known: Known, value: Value) -> set[fx.Node]:
    """Which of the layers to be read a parameter that is read in another way too, and so stay functions.

    An embedding whose weight is the head's, an autoencoder whose decoder is its encoder transposed, a penalty on a
    layer's weight. Layers that read the very same weight, or parts of one that do not overlap, are none of them.
    """
    found: set[fx.Node] = set()
    for node in [one for one in module.graph.nodes if one.op == "get_attr"]:
        if not isinstance(value(node), nn.Parameter):
            continue
        ends = list(_ends(node, node, known, value))
        layers = {(user, source) for user, source in ends if user in specs and _is_weight(specs[user], source)}
        places = {place(value(source)) for _, source in layers}
        overlap = len(places) > 1 and sum(prod(one[1]) for one in places) > value(node).numel()
        if overlap or len(layers) < len(set(ends)):
            found |= {user for user, _ in layers}
    return found


def place(tensor: Tensor) -> tuple[Any, ...]:
    """What two tensors have in common that are the same numbers in the same order."""
    return tensor.data_ptr(), tuple(tensor.shape), tensor.stride()


def _ends(node: fx.Node, root: fx.Node, known: Known, value: Value) -> Iterator[tuple[fx.Node, fx.Node]]:
    """What reads a parameter, or another view of it, and the node that it reads it from."""
    for user in node.users:
        parts = value(user) if known(user) else None
        views = parts if isinstance(parts, (list, tuple)) else [parts]
        if all(isinstance(one, Tensor) and _memory(one) == _memory(value(root)) for one in views):
            yield from _ends(user, root, known, value)
        else:
            yield user, node


def _is_weight(spec: Any, source: fx.Node) -> bool:
    return any(one is source for one in spec.tensors.values())


def _memory(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()
