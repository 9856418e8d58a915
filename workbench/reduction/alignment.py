"""Which tensor of one graph is which of another: by value on the same input, by structure, by name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper

from workbench.proof.check import fingerprint
from workbench.reduction.pieces import Array, Parts

#: Operators that write the same numbers in another form.
_FORMS = frozenset({"DequantizeLinear", "QuantizeLinear", "Cast", "Identity"})
_CLOSE = 1e-5


def aligned(ours: Parts, theirs: Parts, said: Mapping[str, str]) -> dict[str, str]:
    """The other graph's name of each tensor of this one that has a counterpart of the same shape there.

    Equal numbers on the same input come first; then what follows from pairs before and behind, so that the result of an
    operator that was changed is found too; then equal names; last a tensor that is another one in another form, such as
    rounded to eight bits and back. `said` are pairs that are known.
    """
    pairs = dict(zip(ours.entries, theirs.entries, strict=False))
    pairs |= {name: name for name in ours.entries if name in theirs.entries}
    pairs |= dict(zip(_returned(ours), _returned(theirs), strict=False)) | dict(said)
    pairs = {one: other for one, other in pairs.items() if _alike(ours, one, theirs, other)}
    _by_value(ours, theirs, pairs)
    while _forwards(ours, theirs, pairs) or _backwards(ours, theirs, pairs):
        pass
    _by_name(ours, theirs, pairs)
    _by_form(ours, pairs)
    return pairs


def known_of(ours: Parts, theirs: Parts, pairs: Mapping[str, str]) -> dict[str, Array]:
    """The right value of every tensor that has a counterpart, in this graph's type.

    What is only read to be rounded is left out, where the other graph does not round it: an activation may have become
    a part of the rounding, which cuts off what is below zero, and the tensor in front of it kept the name.
    """
    rounded, there = _only_rounded(ours), _only_rounded(theirs)
    return {
        name: theirs.values[other].astype(ours.values[name].dtype) if name in ours.values else theirs.values[other]
        for name, other in pairs.items()
        if name not in ours.fixed and not (name in rounded and other not in there)
    }


def _only_rounded(parts: Parts) -> set[str]:
    readers: dict[str, set[str]] = {}
    for index in parts.moving:
        for name in parts.reads[index]:
            readers.setdefault(name, set()).add(parts.nodes[index].op_type)
    return {name for name, kinds in readers.items() if kinds == {"QuantizeLinear"}} - {
        *parts.entries,
        *_returned(parts),
    }


def _returned(parts: Parts) -> list[str]:
    return [one.name for one in parts.model.graph.output]


def _alike(ours: Parts, one: str, theirs: Parts, other: str) -> bool:
    """Whether two tensors may be the same: of one shape and kind, as far as this one is known."""
    known, right = ours.values.get(one), theirs.values.get(other)
    if right is None or one in ours.fixed:
        return False
    return known is None or (known.shape == right.shape and known.dtype.kind == right.dtype.kind)


def _by_value(ours: Parts, theirs: Parts, pairs: dict[str, str]) -> None:
    prints: dict[object, list[tuple[str, npt.NDArray[np.float64]]]] = {}
    for name, value in theirs.values.items():
        if name in theirs.maker and name not in theirs.fixed and _telling(value):
            prints.setdefault((value.shape, value.dtype.kind), []).append((name, fingerprint(value)))
    for name in ours.maker:
        mine = ours.values.get(name)
        if mine is None or name in pairs or name in ours.fixed or not _telling(mine):
            continue
        own = fingerprint(mine)
        same = [x for x, its in prints.get((mine.shape, mine.dtype.kind), []) if _near(own, its)]
        if name in same or len(same) == 1:
            pairs[name] = name if name in same else same[0]


def _telling(value: Array) -> bool:
    """Whether a tensor can be told from others by its numbers."""
    return value.size > 1 and bool(np.isfinite(value).all()) and bool(np.ptp(value.astype(np.float64)) > 0)


def _near(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> bool:
    return bool(np.abs(one - other).max() <= _CLOSE * max(float(np.abs(other).max()), 1e-12))


def _forwards(ours: Parts, theirs: Parts, pairs: dict[str, str]) -> bool:
    """Pair the results of like nodes on paired inputs; whether there were any."""
    readers: dict[object, list[int]] = {}
    for index in theirs.moving:
        readers.setdefault(_signature(theirs, index, {}), []).append(index)
    before = len(pairs)
    for index in ours.moving:
        names = ours.nodes[index].output
        like = readers.get(_signature(ours, index, pairs), []) if names[0] not in pairs else []
        if len(like) == 1:
            _add(ours, theirs, pairs, zip(names, theirs.nodes[like[0]].output, strict=False))
    return len(pairs) > before


def _signature(parts: Parts, index: int, pairs: Mapping[str, str]) -> object:
    """What a node does to which tensors, in the other graph's names."""
    node = parts.nodes[index]
    moving = [pairs.get(name, name) for name in node.input if name not in parts.fixed]
    return node.op_type, tuple(moving), _settings(node)


def _settings(node: onnx.NodeProto) -> tuple[str, ...]:
    return tuple(
        sorted(f"{one.name}={helper.get_attribute_value(one)}" for one in node.attribute if not one.HasField("g"))
    )


def _backwards(ours: Parts, theirs: Parts, pairs: dict[str, str]) -> bool:
    """Pair what like nodes read whose results are paired; whether there was any."""
    before = len(pairs)
    for index in reversed(ours.moving):
        node = ours.nodes[index]
        other = theirs.maker.get(pairs.get(node.output[0], ""), -1)
        if other >= 0 and theirs.nodes[other].op_type == node.op_type:
            _add(ours, theirs, pairs, zip(node.input, theirs.nodes[other].input, strict=False))
    return len(pairs) > before


def _add(ours: Parts, theirs: Parts, pairs: dict[str, str], new: Iterator[tuple[str, str]]) -> None:
    for one, other in new:
        if one and one not in pairs and (one in ours.maker) and _alike(ours, one, theirs, other):
            pairs[one] = other


def _by_name(ours: Parts, theirs: Parts, pairs: dict[str, str]) -> None:
    taken = set(pairs.values())
    for name in ours.maker:
        if name not in pairs and name not in taken and name in theirs.maker and _alike(ours, name, theirs, name):
            pairs[name] = name


def _by_form(ours: Parts, pairs: dict[str, str]) -> None:
    """A tensor that was only written in another form stands for the one that it was made of."""
    for index in ours.moving:
        node = ours.nodes[index]
        source = node.input[0] if node.input else ""
        if node.op_type not in _FORMS or node.output[0] in pairs:
            continue
        while source not in pairs and source in ours.maker and ours.nodes[ours.maker[source]].op_type in _FORMS:
            source = ours.nodes[ours.maker[source]].input[0]
        mine, its = ours.values.get(node.output[0]), ours.values.get(source)
        if source in pairs and mine is not None and its is not None and mine.dtype.kind == its.dtype.kind == "f":
            pairs[node.output[0]] = pairs[source]
