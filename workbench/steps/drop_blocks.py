"""`DropBlocks`: whole residual blocks taken out, those first that add least to what passes through them."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from workbench.cost.network import Layer, Network
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.errors import BadValue, StepFailed
from workbench.models.canonical import canonical
from workbench.models.edit import node_of, skip
from workbench.models.graph import Graph
from workbench.steps.base import Context, Layers, Rewrite, Row, Sketch, layers_setting, select, setting
from workbench.steps.energies import energies

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import fx, nn

#: torch's names of a sum; a gate, such as squeeze-and-excitation's, multiplies.
SUMS = frozenset({"add", "add_"})


@dataclass(frozen=True)
class Block:
    """A residual block whose input and output have one shape: without it the network still runs."""

    path: str
    layers: tuple[Layer, ...]
    reads: int  # the tensor that it takes
    writes: int  # and the one that it gives

    def added(self, energy: Mapping[int, float]) -> float:
        """What it adds to its input, as a share of the input's energy."""
        total = max((sum(energy.get(t, 1.0) for t in x.reads) for x in self.layers if x.op in SUMS), default=0.0)
        own = energy.get(self.reads, 1.0)
        return max(total - own, 0.0) / max(own, 1e-30)


@dataclass(frozen=True)
class DropBlocks(Rewrite):
    """Take out the residual blocks that add least to what passes through them, one after another.

    How much that is follows from the weights alone (see `energies`), so that the plan names the blocks that go
    and its costs are those of the result. Sources: Veit et al. 2016, "Residual Networks Behave Like Ensembles of
    Relatively Shallow Networks"; Huang et al. 2016, "Deep Networks with Stochastic Depth".
    """

    title: ClassVar[str] = "Drop blocks"
    summary: ClassVar[str] = "Take out whole residual blocks that add little: fewer layers, lower latency."
    family: ClassVar[str] = "pruning"

    count: int = setting(1, "integer", "Residual blocks to take out.", low=1, high=100)
    layers: Layers = layers_setting()

    def sketch(self, network: Network, weights: Weights) -> Sketch:
        """A row for each block that can go. Raises: `BadValue` when there are fewer than `count`."""
        blocks = self._candidates(network, weights.module)
        if not blocks:
            why = "left alone: there is no residual block whose input and output have one shape"
            first = network.layers[0].name if network.layers else ""
            return Sketch(network, (Row(self.brief, first, "block", False, why),))
        energy = energies(network, weights)
        gone = self._chosen(network, energy, weights.module)
        after = network
        for block in gone:
            after = without(after, block)
        left, paths = {layer.name for layer in after.layers}, {block.path for block in gone}
        told = [one for one in blocks if one.path in paths or one.layers[0].name in left]  # not what is inside another
        return Sketch(after, tuple(self._row(one, one.path in paths, energy) for one in told))

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy without the blocks. Raises: `BadValue`, `StepFailed`."""
        graph = copy.deepcopy(module) if isinstance(module, Graph) else canonical(module, context.example)
        network = trace(graph, context.example)
        # The original's weights decide, as in the plan, whatever earlier steps have made of them.
        original = module if context.original is None else context.original
        gone = self._chosen(network, energies(network, Weights(original)), original)
        for block in gone:
            skip(graph, _node(graph, network, block.writes), _node(graph, network, block.reads))
        return graph

    def _chosen(self, network: Network, energy: Mapping[int, float], module: nn.Module) -> list[Block]:
        """The blocks that go, in that order. Raises: `BadValue` when there are fewer than `count`."""
        names, gone = [block.path for block in self._candidates(network, module)], list[Block]()
        while names and len(gone) < self.count:
            left = [block for block in residual_blocks(network, module) if block.path in names]
            if not left:
                raise BadValue(
                    f"DropBlocks(count={self.count}): {len(gone)} of the chosen blocks can go: "
                    f"{', '.join(sorted(names))}. Use a smaller count."
                )
            least = min(enumerate(left), key=lambda pair: (pair[1].added(energy), -pair[0]))[1]
            network = without(network, least)
            gone.append(least)
        return gone

    def _candidates(self, network: Network, module: nn.Module) -> list[Block]:
        """The chosen blocks."""
        blocks = residual_blocks(network, module)
        if not blocks:
            return []
        chosen = set(select(self.layers, [block.path for block in blocks]))
        return [block for block in blocks if block.path in chosen]

    def _row(self, block: Block, gone: bool, energy: Mapping[int, float]) -> Row:
        macs, params = sum(x.macs for x in block.layers), sum(x.params for x in block.layers)
        share = f"adds {block.added(energy):.0%} to the energy of what passes through it"
        action = f"goes: it {share}" if gone else f"stays: it {share}"
        left = 0 if gone else 1
        return Row(self.brief, block.path, "block", gone, action, macs, macs * left, params, params * left)


def residual_blocks(network: Network, module: nn.Module) -> list[Block]:
    """The parts that add something to their input and give the same shape, in execution order.

    `module` tells which of them share parameters with the rest of the network; these stay.
    """
    found: list[Block] = []
    for layer in network.layers:
        path = layer.name.rpartition(".")[0]
        if layer.op in SUMS and len(layer.reads) > 1 and path and all(block.path != path for block in found):
            block = _block(network, path)
            if block is not None and not _shares(network, block, module):
                found.append(block)
    return found


def _block(network: Network, path: str) -> Block | None:
    inside = [layer for layer in network.layers if layer.name.startswith(f"{path}.")]
    written = {layer.writes: layer for layer in inside}
    outside = {tensor for layer in inside for tensor in layer.reads} - written.keys()
    read_behind = {t for layer in network.layers if layer not in inside for t in layer.reads} & written.keys()
    last = inside[-1]
    if len(outside) != 1 or not read_behind <= {last.writes} or not any(layer.params for layer in inside):
        return None
    (reads,) = outside
    entry = next((layer.input for layer in network.layers if layer.reads and layer.reads[0] == reads), None)
    return Block(path, tuple(inside), reads, last.writes) if entry == last.output else None


def _shares(network: Network, block: Block, module: nn.Module) -> bool:
    """Whether parameters of a block are used outside it too."""
    inside = {layer.module for layer in block.layers if layer.module}
    others = [layer for layer in network.layers if layer not in block.layers]
    if any(layer.module in inside or (layer.shared and not layer.module) for layer in others):
        return True
    owners: dict[int, set[bool]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), set()).add(name.startswith(f"{block.path}."))
    return any(len(sides) == 2 for sides in owners.values())


def without(network: Network, block: Block) -> Network:
    """The network with a block's output read from its input."""
    gone = set(block.layers)
    kept = (layer for layer in network.layers if layer not in gone)
    return Network(
        tuple(
            layer._replace(reads=tuple(block.reads if t == block.writes else t for t in layer.reads)) for layer in kept
        )
    )


def _node(graph: Graph, network: Network, tensor: int) -> fx.Node:
    """The operation that gives a tensor of `network`, which was read from `graph`; its inputs are numbered first."""
    for layer in network.layers:
        if layer.writes == tensor:
            return node_of(graph, layer.node)
    inputs: list[fx.Node] = [node for node in graph.graph.nodes if node.op == "placeholder"]
    if tensor >= len(inputs):
        raise StepFailed(f"DropBlocks cannot find the operation that gives tensor {tensor} of this network.")
    return inputs[tensor]
