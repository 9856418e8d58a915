"""Whether an operation of a graph can be cut: half of its channels go, and its result has to be what is left."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import fx, nn
from torch.utils._pytree import tree_flatten, tree_map

from workbench.pruning.axes import NONE, Mask, Spread, Ties, Units
from workbench.pruning.operators import Labelling
from workbench.pruning.resizing import Resized, module_for, resized, run, sizes

Tensor = torch.Tensor

#: What may differ between an operation cut and its result cut: rounding.
CLOSE = 1e-3


@dataclass(frozen=True)
class Trial:
    """What is known of a graph so far, for trials of one operation after another."""

    ties: Ties
    mode: Labelling
    parts: Mapping[str, nn.Module]
    values: Mapping[fx.Node, Any]
    facts: Mapping[fx.Node, Any]

    def check(self, node: fx.Node, title: str) -> None:
        """Freeze the channels of an operation that does not give what is left of its result on what is left of them."""
        spreads = [one for fact in map(self.facts.get, (node, *node.all_input_nodes))
                   for one in tree_flatten(fact, is_leaf=lambda one: isinstance(one, Spread))[0]
                   if isinstance(one, Spread)]  # fmt: skip
        units = [one for spread in spreads for one in spread.axes.values()]
        if self._fits(node, units, NONE):
            return
        # Often one axis alone has to stay, such as that of a table which is read at places: the others may go then.
        alone = next((one for one in units if self._fits(node, units, one)), None) if len(units) > 1 else None
        found = np.concatenate(units) if alone is None else alone
        self.ties.freeze(found, f"{title!r} has them in an order or in sizes that stay")

    def _fits(self, node: fx.Node, units: list[Units], stay: Units) -> bool:
        """Whether the operation can be cut along the axes of these units, of which some stay."""
        try:
            return all(self._commutes(node, kept) for kept in self._some(units, stay))
        except Exception:  # noqa: BLE001  # torch says in its own ways that sizes do not fit
            return False

    def _some(self, units: list[Units], stay: Units) -> Iterator[Mask]:
        """Half of the units, drawn at random, and the other half; those of `stay` are in neither."""
        joined, staying = [self.ties.roots(one) for one in units], set(self.ties.roots(stay).tolist())
        free = [one for one in np.unique(np.concatenate(joined or [NONE])).tolist()
                if one not in self.ties.frozen and one not in staying]  # fmt: skip
        if len(free) < 2:
            return
        everywhere = self.ties.all_roots()
        order = np.random.default_rng(len(free)).permutation(np.array(free, dtype=np.int64))
        for half in (order[: len(order) // 2], order[len(order) // 2 :]):
            gone = np.zeros(len(everywhere), dtype=bool)
            gone[half] = True
            for one in joined:
                if gone[one].all():  # something stays of every axis
                    gone[one[0]] = False
            if gone.any():
                yield ~gone[everywhere]

    def _commutes(self, node: fx.Node, kept: Mask) -> bool:
        """Whether the operation gives the same before and after a cut, on numbers drawn for each channel."""
        numbers: dict[fx.Node, Any] = {}
        whole = {one: tree_map(self._drawn, self.values[one]) for one in node.all_input_nodes}

        def given(one: fx.Node) -> Any:
            held = self.values[one]
            if not any(isinstance(leaf, Tensor) for leaf in tree_flatten(held)[0]):
                return sizes(one, self.facts, kept, numbers) if one.op != "get_attr" else held
            return tree_map(lambda t, real: self._narrowed(t, real, kept), held, whole[one])

        if node.op == "call_module":
            part = self.parts[str(node.target)]
            wanted = part(*fx.map_arg(node.args, whole.get))
            found = module_for(part, self.facts[node], kept)(*fx.map_arg(node.args, given))
        else:
            wanted = run(Resized(node.target, node.args, dict(node.kwargs)), node.op, whole.__getitem__)
            found = run(resized(node, self.facts, kept), node.op, given)
        facts = tree_flatten(self.facts[node], is_leaf=lambda one: isinstance(one, Spread))[0]
        triples = zip(facts, tree_flatten(wanted)[0], tree_flatten(found)[0], strict=True)
        return all(_fits(fact, (one, other), kept) for fact, one, other in triples if isinstance(one, Tensor))

    def _drawn(self, value: Any) -> Any:
        """Numbers in the place of a tensor: one for each place along the axes of channels, spread over the others."""
        if not isinstance(value, Tensor) or not value.is_meta:
            return value
        axes = self.mode.axes(value)
        line = torch.rand([size if axis in axes else 1 for axis, size in enumerate(value.shape)]) + 0.5
        return line.to(value.dtype).expand(value.shape)

    def _narrowed(self, value: Any, real: Any, kept: Mask) -> Any:
        """A cut tensor that takes no memory where the whole one takes none."""
        if not isinstance(value, Tensor):
            return value
        axes = self.mode.axes(value)
        if not axes:
            return real
        lean = real[tuple(slice(None) if axis in axes else slice(0, 1) for axis in range(real.dim()))]
        small = Spread(tuple(lean.shape), axes).narrowed(lean, kept)
        return small.expand([new if axis in axes else old
                             for axis, (new, old) in enumerate(zip(small.shape, real.shape, strict=True))])  # fmt: skip


def _fits(fact: Spread, pair: tuple[Tensor, Tensor], kept: Mask) -> bool:
    """Whether a result is what is left of the whole one; axes along which both are spread are looked at once."""
    whole, found = pair
    if tuple(found.shape) != fact.cut(kept):
        return False
    for axis in set(range(whole.dim())) - fact.axes.keys():
        if whole.stride(axis) == found.stride(axis) == 0:
            whole, found = whole.narrow(axis, 0, 1), found.narrow(axis, 0, 1)
    wanted = fact.narrowed(whole, kept)
    if torch.equal(found, wanted) or not found.is_floating_point():  # much faster
        return True
    return torch.allclose(found, wanted, CLOSE, CLOSE, equal_nan=True)
