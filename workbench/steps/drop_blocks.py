"""`DropBlocks`: whole residual blocks taken out, those first that are missed least."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.errors import BadValue, StepFailed
from workbench.jobs import Reporter
from workbench.models.edit import node_of, skip
from workbench.models.graph import Graph
from workbench.modules.calling import Inputs, answer
from workbench.pruning.energies import energies
from workbench.statistics.collector import Feed
from workbench.step import Context, Decision, Layers, Plan, Rewrite, Row, Stops, layers_setting, select, setting
from workbench.steps.recalibrate import Recalibrate

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


#: Calibration images on which harm is measured.
IMAGES = 500
#: torch's names of a sum; a gate, such as squeeze-and-excitation's, multiplies.
SUMS = frozenset({"add", "add_"})


@dataclass(frozen=True)
class Block:
    """A residual block whose input and output have one shape: without it the network still runs.

    It may read other tensors too, such as a mask.
    """

    path: str
    layers: tuple[Layer, ...]
    reads: int  # the tensor that it takes
    writes: int  # and the one that it gives

    @property
    def size(self) -> tuple[int, int]:
        """Its multiply-accumulates and parameters."""
        return sum(layer.macs for layer in self.layers), sum(layer.params for layer in self.layers)

    def added(self, energy: Mapping[int, float]) -> float:
        """What it adds to its input, as a share of the input's energy."""
        total = max((sum(energy.get(t, 1.0) for t in x.reads) for x in self.layers if x.op in SUMS), default=0.0)
        own = energy.get(self.reads, 1.0)
        return max(total - own, 0.0) / max(own, 1e-30)


@dataclass(frozen=True)
class Wanted:
    """Calibration images, and what the network says of them before blocks go."""

    seen: Feed
    logits: torch.Tensor


@dataclass(frozen=True)
class DropBlocks(Rewrite):
    """Take out the residual blocks without which the network's outputs change least, one after another.

    The plan says how many blocks of each size go: those that add least to the energy of what passes through them,
    as far as the weights alone tell (see `energies`). Which of equally large ones it is, measurement decides: the
    harm is the divergence of the outputs on calibration images from the original's, with batch norm re-estimated.
    Sources: Veit et al. 2016, "Residual Networks Behave Like Ensembles"; Huang et al. 2016 for training by dropping
    blocks.
    """

    title: ClassVar[str] = "Drop blocks"
    summary: ClassVar[str] = "Take out whole residual blocks by measured harm: fewer layers, lower latency."
    family: ClassVar[str] = "pruning"

    count: int = setting(1, "integer", "Residual blocks to take out.", low=1, high=100)
    layers: Layers = layers_setting()

    def stops(self, network: Network) -> Mapping[str, Stops]:
        """As many blocks as there are, none within another."""
        paths = [block.path for block in residual_blocks(network)]
        innermost = [path for path in paths if not any(other.startswith(f"{path}.") for other in paths)]
        return {"count": range(1, 1 + len(innermost))}

    def plan_on(self, network: Network, weights: Weights) -> Plan:
        """A row for each block that can go. Raises: `BadValue` when there are fewer than `count`."""
        blocks = self._candidates(network, weights.module)
        if not blocks:
            why = {"why": "no part of the network adds to its own input and gives the same shape"}
            return Plan(network, network, (Row(self.brief, network.layers[0].name, "block", Decision.UNFIT, why),))
        gone = self._least(blocks, energies(network, weights))
        rows = tuple(self._row(block, blocks, gone) for block in blocks)
        return Plan(network, without(network, gone), rows)

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy without the blocks. Raises: `BadValue`, `StepFailed` without calibration images, `Cancelled`."""
        # The original's weights decide on the sizes, as in the plan, whatever earlier steps have made of them.
        original = module if context.original is None else context.original
        network = trace(module, context.example)
        blocks = self._candidates(network, original)
        if not blocks:
            return copy.deepcopy(module)
        gone = self._least(blocks, energies(network, Weights(original)))
        if context.calibration is None:
            raise StepFailed(f"{self.expression()} measures harm on calibration images: give data that have some.")
        seen = Feed.of(context.calibration.first(IMAGES), network)
        wanted, apart = Wanted(seen, _logits(module, seen)), _apart(blocks, gone)
        for index, size in enumerate(block.size for block in gone):
            report = context.progress.part(index / self.count, (index + 1) / self.count)
            left = residual_blocks(trace(module, context.example), original)
            left = [block for block in left if block.size == size and block.path in apart]
            module = self._least_harmed(module, left, wanted, replace(context, progress=report))
        return module

    def _least(self, blocks: Sequence[Block], energy: Mapping[int, float]) -> list[Block]:
        """The blocks that add least, none within another. Raises: `BadValue` for fewer than `count`."""
        found: list[Block] = []
        order = sorted(range(len(blocks)), key=lambda i: (blocks[i].added(energy), -i))  # the later of equal ones
        for block in (blocks[i] for i in order):
            if len(found) < self.count and not any(_nested(block.path, one.path) for one in found):
                found.append(block)
        if len(found) < self.count:
            raise BadValue(
                f"DropBlocks(count={self.count}): {len(found)} of the chosen blocks can go: "
                f"{', '.join(block.path for block in blocks)}. Use a smaller count."
            )
        return found

    def _least_harmed(self, module: nn.Module, blocks: Sequence[Block], wanted: Wanted, context: Context) -> nn.Module:
        best: tuple[float, nn.Module] | None = None
        for index, block in enumerate(blocks):
            context.progress(index / len(blocks), f"{self.title} {block.path}")
            dropped = _dropped(module, block, context.example)
            tried = Recalibrate(images=IMAGES).apply(dropped, replace(context, progress=Reporter()))
            harm = float(context.task.taught(_logits(tried, wanted.seen), wanted.logits, 1.0))
            if best is None or harm < best[0]:
                best = (harm, tried)
        assert best is not None
        return best[1]

    def _candidates(self, network: Network, module: nn.Module) -> list[Block]:
        """The chosen blocks."""
        blocks = residual_blocks(network, module)
        if not blocks:
            return []
        chosen = set(select(self.layers, [block.path for block in blocks]))
        return [block for block in blocks if block.path in chosen]

    def _row(self, block: Block, blocks: Sequence[Block], gone: Sequence[Block]) -> Row:
        """What happens to a block: it goes or stays by its size, or by harm among those of its size."""
        macs, params = block.size
        alike, going = ([one for one in some if one.size == block.size] for some in (blocks, gone))
        left = 0 if block in gone else 1
        if not going:
            decision, data = Decision.STAYS, {"why": "others add less to what passes through them"}
        elif len(going) == len(alike):
            decision, data = Decision.GOES, {"why": ""}
        else:
            what = f"one of {len(alike)} equally large blocks, of which {len(going)} go by measured harm"
            decision, data = Decision.CHANGED, {"what": what}
        return Row(self.brief, block.path, "block", decision, data, macs, macs * left, params, params * left)


def residual_blocks(network: Network, module: nn.Module | None = None) -> list[Block]:
    """The parts that add something to their input and give the same shape, in execution order.

    Those that share parameters with the rest of the network stay, as far as the layers show it, and as the original
    `module` holds them where it is given.
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
    written = {layer.writes for layer in inside}
    outside = {tensor for layer in inside for tensor in layer.reads} - written
    read_behind = {t for layer in network.layers if layer not in inside for t in layer.reads} & written
    read_behind |= {layer.writes for layer in inside if layer.result}
    last = inside[-1]
    if not read_behind <= {last.writes} or not any(layer.params for layer in inside):
        return None
    shapes = {layer.reads[0]: layer.input for layer in reversed(network.layers) if layer.reads}
    if len(outside) > 1:  # then it is the one that is added to
        outside &= {tensor for layer in inside if layer.op in SUMS for tensor in layer.reads}
    entries = [tensor for tensor in outside if shapes.get(tensor) == last.output]
    return Block(path, tuple(inside), entries[0], last.writes) if len(entries) == 1 else None


def _shares(network: Network, block: Block, module: nn.Module | None) -> bool:
    """Whether parameters of a block are used outside it too."""
    inside = {layer.module for layer in block.layers if layer.module}
    others = [layer for layer in network.layers if layer not in block.layers]
    if any(layer.module in inside or (layer.shared and not layer.module) for layer in others):
        return True
    owners: dict[int, set[bool]] = {}
    for name, parameter in module.named_parameters(remove_duplicate=False) if module is not None else ():
        owners.setdefault(id(parameter), set()).add(name.startswith(f"{block.path}."))
    return any(len(sides) == 2 for sides in owners.values())


def without(network: Network, blocks: Sequence[Block]) -> Network:
    """The network with each block's output read from its input."""
    source = {block.writes: block.reads for block in blocks}
    gone = {layer.name for block in blocks for layer in block.layers}

    def read(tensor: int) -> int:
        return read(source[tensor]) if tensor in source else tensor

    results = {read(layer.writes) for layer in network.layers if layer.result}
    kept = (layer for layer in network.layers if layer.name not in gone)
    return Network(tuple(x.but(reads=tuple(map(read, x.reads)), result=x.writes in results) for x in kept))


@torch.no_grad()
def _logits(module: nn.Module, feed: Feed) -> torch.Tensor:
    return torch.cat([answer(module.eval(), batch) for batch in feed])


def _nested(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _apart(blocks: Sequence[Block], gone: Sequence[Block]) -> set[str]:
    """The paths of blocks of which none is within one that the plan takes out: any of them may go in its place."""
    return {b.path for b in blocks if not any(b.path != one.path and _nested(b.path, one.path) for one in gone)}


def _dropped(module: nn.Module, block: Block, example: Inputs) -> Graph:
    """A copy in which whatever reads the block's output reads its input."""
    made = copy.deepcopy(module)
    assert isinstance(made, Graph)  # `wb.load` gives nothing else
    origin = {layer.writes: layer.node for layer in trace(module, example).layers}
    inputs = [node for node in made.graph.nodes if node.op == "placeholder"]
    source = node_of(made, origin[block.reads]) if block.reads in origin else inputs[block.reads]
    skip(made, node_of(made, block.layers[-1].node), source)
    return made
