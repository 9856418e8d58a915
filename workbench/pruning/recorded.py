"""What a node of a graph is among the operations of a network, which earlier steps of a recipe may have changed."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.pruning.axes import Spread
from workbench.pruning.calls import Seen
from workbench.pruning.makers import fitted

#: In the place of what an earlier step of the recipe takes out.
MISSING = object()


class Recorded:
    """The operations of a network by the nodes that they come from."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self._positions = {id(one): index for index, one in enumerate(network.layers)}
        self._by_node: dict[str, list[Layer]] = {}
        self._by_module: dict[str, list[Layer]] = {}
        for layer in network.layers:
            kind = self._by_node if layer.node else self._by_module
            kind.setdefault(layer.node or layer.module.rpartition(".")[0], []).append(layer)

    def layers(self, node: fx.Node) -> list[Layer]:
        """The operations of the network that a node is, those that an earlier step will put in its place among them."""
        own = self._by_node.get(node.name, [])
        if node.op != "call_module":
            return own
        made = self._by_module.get(str(node.target), [])
        bare = [one for one in self._by_module.get(str(node.target).rpartition(".")[0], [])
                if one.module == node.target]  # fmt: skip
        return sorted([*own, *made, *bare], key=lambda one: self._positions[id(one)]) if made or bare else own

    def title(self, node: fx.Node) -> str:
        """What an operation is called in a reason."""
        own = self._by_node.get(node.name, [])
        return next((one.name for one in reversed(own) if one.kind not in {"reshape", "copy"}),
                    own[-1].name if own else node.name)  # fmt: skip

    def shaped(self, tensor: int) -> Any:
        """An input, by the layer that reads it first."""
        reader = next((one for one in self.network.layers if one.reads and one.reads[0] == tensor), None)
        if reader is None:
            return MISSING
        kind = torch.long if reader.op == "embedding" else torch.float32
        return torch.zeros(1, *reader.input, dtype=kind)


def last_uses(graph: fx.Graph) -> dict[fx.Node, list[fx.Node]]:
    """For each node, what nothing behind it reads."""
    seen: set[fx.Node] = set()
    found: dict[fx.Node, list[fx.Node]] = {}
    for node in reversed(graph.nodes):
        for one in node.all_input_nodes:
            if one not in seen:
                seen.add(one)
                found.setdefault(node, []).append(one)
    return found


def by_shape(layer: Layer, given: list[Spread], results: list[Spread]) -> Seen:
    """One of several operators that make up an operation, known by its shapes alone."""

    def like(shape: Any) -> Spread:
        for one in (*results, *given):
            axes = fitted(one, shape)
            if axes:
                return Spread(shape, axes)
        return Spread(shape, {})

    return Seen(layer.op, (like(layer.input), *given[1:]), (), like(layer.output))
