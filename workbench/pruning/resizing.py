"""An operation of a graph when channels have gone: the sizes that are written out in it follow."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import fx, nn

from workbench.models.functions import attribute
from workbench.pruning.axes import Mask, Spread, Units

aten = torch.ops.aten

#: Their sizes are those of the result, axis by axis.
_VIEWS = frozenset("view reshape _unsafe_view expand broadcast_to".split())
_SPLITS = frozenset(
    "chunk split split_with_sizes tensor_split unsafe_chunk unsafe_split unsafe_split_with_sizes".split()
)
_CONVOLUTIONS = frozenset("conv1d conv2d conv3d convolution".split())


class Resized(NamedTuple):
    """What a node calls, and with what, once channels have gone."""

    target: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]


def resized(node: fx.Node, facts: Mapping[fx.Node, Any], kept: Mask) -> Resized:
    """The call of `node` with the sizes that it has with the units of `kept` alone; its arguments stay nodes.

    `facts` holds the `Spread` of every node that is a tensor, before the cut.
    """
    same = Resized(node.target, node.args, dict(node.kwargs))
    rule = _rule(name_of(node)) if node.op in {"call_function", "call_method"} else None
    return (rule(node, facts, kept) or same) if rule is not None else same


def name_of(node: fx.Node) -> str:
    """The plain name of what a node calls."""
    if isinstance(node.target, torch._ops.OpOverload):
        return node.target._schema.name.removeprefix("aten::")
    return str(getattr(node.target, "__name__", node.target))


def sizes(node: fx.Node, facts: Mapping[fx.Node, Any], kept: Mask, memo: dict[fx.Node, Any]) -> Any:
    """What a node that gives numbers, such as the size of a tensor, gives with the units of `kept` alone."""
    if node not in memo:
        memo[node] = _number(node, facts, kept, memo)
    return memo[node]


def _number(node: fx.Node, facts: Mapping[fx.Node, Any], kept: Mask, memo: dict[fx.Node, Any]) -> Any:
    def given(one: fx.Node) -> Any:
        fact = facts.get(one)
        if isinstance(fact, Spread):
            return torch.empty(fact.cut(kept), device="meta")
        return sizes(one, facts, kept, memo)

    args, kwargs = fx.map_arg(node.args, given), fx.map_arg(node.kwargs, given)
    if node.op == "call_method":
        return getattr(args[0], str(node.target))(*args[1:], **kwargs)
    target: Any = attribute if node.target is getattr else node.target
    return target(*args, **kwargs)


def _rule(name: str) -> Callable[..., Resized | None] | None:
    if name in _VIEWS:
        return _view
    if name == "unflatten":
        return _unflatten
    if name in _SPLITS:
        return _split
    if name in {"slice", "narrow"}:
        return _slice
    if name == "getitem":
        return _getitem
    if name in {"constant_pad_nd", "pad"}:
        return _pad
    return _grouped if name in _CONVOLUTIONS else None


def _view(node: fx.Node, facts: Mapping[fx.Node, Any], kept: Mask) -> Resized | None:
    fact = facts.get(node)
    if not isinstance(fact, Spread) or not fact.axes or len(node.args) < 2:
        return None
    listed = isinstance(node.args[1], (list, tuple))
    given: Sequence[Any] = node.args[1] if listed else node.args[1:]  # type: ignore[assignment]
    new = _with(given, fact.cut(kept)[-len(given) :])
    return Resized(node.target, (node.args[0], new) if listed else (node.args[0], *new), dict(node.kwargs))


def _unflatten(node: fx.Node, facts: Mapping[fx.Node, Any], kept: Mask) -> Resized | None:
    fact, source = facts.get(node), facts.get(node.args[0])  # type: ignore[arg-type]  # a node
    if not isinstance(fact, Spread) or not isinstance(source, Spread) or len(node.args) < 3:
        return None
    place: Any = node.args[1]
    given: Any = node.args[2]
    axis = place % len(source.shape)
    new = _with(given, fact.cut(kept)[axis : axis + len(given)])
    return Resized(node.target, (node.args[0], node.args[1], new), dict(node.kwargs))


def _with(given: Sequence[Any], sizes_: Sequence[int]) -> list[Any]:
    """Sizes that are written as numbers become those of the result; -1 and what is computed stay."""
    pairs = zip(given, sizes_, strict=True)
    return [new if isinstance(old, int) and old >= 0 else old for old, new in pairs]


def _split(node: fx.Node, facts: Mapping[fx.Node, Any], kept: Mask) -> Resized | None:
    fact, source = facts.get(node), facts.get(node.args[0])  # type: ignore[arg-type]
    if not isinstance(fact, (tuple, list)) or not isinstance(source, Spread):  # torch gives lists, too
        return None
    axis = _axis(node, 2, len(source.shape))
    if axis not in source.axes:
        return None
    parts = [part.cut(kept)[axis] for part in fact]
    if len(set(parts)) == 1 and "chunk" in name_of(node):
        return None
    if len(set(parts)) == 1 and len(node.args) > 1 and isinstance(node.args[1], int) and name_of(node) == "split":
        return Resized(node.target, (node.args[0], parts[0], *node.args[2:]), dict(node.kwargs))
    if isinstance(node.target, torch._ops.OpOverload):
        return Resized(aten.split_with_sizes.default, (node.args[0], parts, axis), {})
    return Resized("split" if node.op == "call_method" else torch.split, (node.args[0], parts, axis), {})


def _axis(node: fx.Node, place: int, count: int) -> int:
    given = node.args[place] if len(node.args) > place else node.kwargs.get("dim", 0)
    return given % count if isinstance(given, int) else 0


def _slice(node: fx.Node, facts: Mapping[fx.Node, Any], kept: Mask) -> Resized | None:
    source = facts.get(node.args[0])  # type: ignore[arg-type]
    axis = _axis(node, 1, len(source.shape)) if isinstance(source, Spread) else -1
    if not isinstance(source, Spread) or axis not in source.axes or len(node.args) < 4:
        return None
    start, last = node.args[2], node.args[3]
    if name_of(node) == "narrow":
        if not isinstance(start, int) or not isinstance(last, int):
            return None
        part = _bounds(slice(start, start + last), source.axes[axis], kept)
        return Resized(node.target, (node.args[0], axis, part.start, part.stop - part.start), dict(node.kwargs))
    if not _literal(start, last):
        return None
    part = _bounds(slice(start, last), source.axes[axis], kept)
    return Resized(node.target, (node.args[0], axis, part.start, part.stop, *node.args[4:]), dict(node.kwargs))


def _literal(*given: Any) -> bool:
    return all(one is None or isinstance(one, int) for one in given)


def _bounds(part: slice, units: Units, kept: Mask) -> slice:
    """The same part of an axis when some of its positions have gone."""
    start, stop, step = part.indices(len(units))
    before = np.concatenate([[0], np.cumsum(kept[units])])
    return slice(int(before[start]), int(before[stop]), None if step == 1 else step)


def _getitem(node: fx.Node, facts: Mapping[fx.Node, Any], kept: Mask) -> Resized | None:
    source, given = facts.get(node.args[0]), node.args[1]  # type: ignore[arg-type]
    items = given if isinstance(given, tuple) else (given,)
    if not isinstance(source, Spread) or not source.axes or any(isinstance(one, fx.Node) for one in items):
        return None
    made, axis = [], 0
    rest = len(source.shape) - sum(one is not None and one is not Ellipsis for one in items)
    for one in items:
        sliced = isinstance(one, slice) and axis in source.axes and _literal(one.start, one.stop, one.step)
        whole = sliced and one.start is None and one.stop is None  # type: ignore[union-attr]
        made.append(_bounds(one, source.axes[axis], kept) if sliced and not whole else one)  # type: ignore[arg-type]
        axis += rest if one is Ellipsis else one is not None
    return Resized(node.target, (node.args[0], tuple(made) if isinstance(given, tuple) else made[0]), {})


def _pad(node: fx.Node, facts: Mapping[fx.Node, Any], kept: Mask) -> Resized | None:
    """Padding along channels: as many on each side as stay of what is put there."""
    fact, source = facts.get(node), facts.get(node.args[0])  # type: ignore[arg-type]
    pads = list(node.args[1]) if len(node.args) > 1 and isinstance(node.args[1], (list, tuple)) else []
    if not isinstance(fact, Spread) or not isinstance(source, Spread) or not _literal(*pads):
        return None
    count = len(source.shape)
    for axis in fact.axes.keys() & source.axes.keys():
        place = 2 * (count - 1 - axis)
        if place + 1 < len(pads) and min(pads[place], pads[place + 1]) >= 0:
            units, left, right = fact.axes[axis], pads[place], pads[place + 1]
            pads[place] = int(kept[units[:left]].sum())
            pads[place + 1] = int(kept[units[len(units) - right :]].sum()) if right else 0
    return Resized(node.target, (node.args[0], pads, *node.args[2:]), dict(node.kwargs))


def _grouped(node: fx.Node, facts: Mapping[fx.Node, Any], kept: Mask) -> Resized | None:
    """A convolution with as many groups as channels, whose filter nobody learnt."""
    source = facts.get(node.args[0])  # type: ignore[arg-type]
    place = 8 if name_of(node) == "convolution" else 6
    if not isinstance(source, Spread) or len(source.shape) < 2 or 1 not in source.axes:
        return None
    named = node.kwargs.get("groups")
    given = node.args[place] if len(node.args) > place else named
    if given != source.shape[1]:
        return None
    new = source.cut(kept)[1]
    if named is not None:
        return Resized(node.target, node.args, {**node.kwargs, "groups": new})
    return Resized(node.target, (*node.args[:place], new, *node.args[place + 1 :]), dict(node.kwargs))


def run(call: Resized, op: str, given: Callable[[fx.Node], Any]) -> Any:
    """The result of a call, for values in the place of nodes."""
    args, kwargs = fx.map_arg(call.args, given), fx.map_arg(call.kwargs, given)
    if op == "call_method":
        return getattr(args[0], str(call.target))(*args[1:], **kwargs)
    target: Any = attribute if call.target is getattr else call.target
    return target(*args, **kwargs)


def module_for(module: nn.Module, fact: Any, kept: Mask) -> nn.Module:
    """A layer without weights as it is with the units of `kept` alone; itself where it has no sizes written out."""
    if not isinstance(module, nn.Unflatten) or not isinstance(fact, Spread) or not isinstance(module.dim, int):
        return module
    given: tuple[Any, ...] = tuple(module.unflattened_size)  # sizes, or pairs of a name and a size
    if not all(isinstance(one, int) for one in given):
        return module
    axis = module.dim if module.dim >= 0 else len(fact.shape) + module.dim - len(given) + 1
    return nn.Unflatten(module.dim, tuple(_with(given, fact.cut(kept)[axis : axis + len(given)])))
