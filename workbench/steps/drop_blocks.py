"""`DropBlocks`: whole residual blocks taken out, those first that are missed least."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from workbench.calling import Inputs, answer
from workbench.cost.network import Layer, Network
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.errors import BadValue, StepFailed
from workbench.jobs import Reporter
from workbench.models.edit import node_of, skip
from workbench.models.graph import Graph
from workbench.steps.base import Context, Layers, Rewrite, Row, Sketch, layers_setting, select, setting
from workbench.steps.recalibrate import Recalibrate
from workbench.training.distill import soft

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Calibration images on which harm is measured.
IMAGES = 500
BATCH = 100


@dataclass(frozen=True)
class Block:
    """A residual block whose input and output have one shape: without it the network still runs."""

    path: str
    layers: tuple[Layer, ...]
    reads: int  # the tensor that it takes
    writes: int  # and the one that it gives

    @property
    def size(self) -> tuple[int, int]:
        """Its multiply-accumulates and parameters."""
        return sum(layer.macs for layer in self.layers), sum(layer.params for layer in self.layers)


@dataclass(frozen=True)
class DropBlocks(Rewrite):
    """Take out the residual blocks without which the network's outputs change least, one after another.

    The plan says how many blocks of each size go, from the last backwards. Which of equally large ones it is,
    measurement decides: the harm is the divergence of the outputs on calibration images from the original's, with
    batch norm re-estimated. Sources: Veit et
    al. 2016, "Residual Networks Behave Like Ensembles"; Huang et al. 2016 for training by dropping blocks.
    """

    title: ClassVar[str] = "Drop blocks"
    summary: ClassVar[str] = "Take out whole residual blocks by measured harm: fewer layers, lower latency."
    family: ClassVar[str] = "pruning"

    count: int = setting(1, "integer", "Residual blocks to take out.", low=1, high=100)
    layers: Layers = layers_setting()

    def sketch(self, network: Network, weights: Weights) -> Sketch:
        """A row for each block that can go. Raises: `BadValue` when there are fewer than `count`."""
        blocks = self._candidates(network)
        if not blocks:
            why = "left alone: there is no residual block whose input and output have one shape"
            return Sketch(network, (Row(self.brief, network.layers[0].name, "block", False, why),))
        self._refuse_too_few(blocks)
        gone = self._last(blocks)
        after = network
        for block in gone:
            after = without(after, block)
        return Sketch(after, tuple(self._row(block, blocks, gone) for block in blocks))

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy without the blocks. Raises: `BadValue`, `StepFailed` without calibration images, `Cancelled`."""
        blocks = self._candidates(trace(module, context.example))
        if not blocks:
            return copy.deepcopy(module)
        self._refuse_too_few(blocks)
        if context.calibration is None:
            raise StepFailed(f"{self.expression()} measures harm on calibration images: give data that have some.")
        inputs = context.calibration[:IMAGES]
        wanted = _logits(module, inputs)
        for index, size in enumerate(block.size for block in self._last(blocks)):
            report = context.progress.part(index / self.count, (index + 1) / self.count)
            left = [block for block in residual_blocks(trace(module, context.example)) if block.size == size]
            chosen = {block.path for block in blocks}
            left = [block for block in left if block.path in chosen]
            module = self._least_harmed(module, left, wanted, replace(context, progress=report))
        return module

    def _last(self, blocks: Sequence[Block]) -> list[Block]:
        """As many blocks as shall go, from the last backwards, none within another."""
        found: list[Block] = []
        for block in reversed(blocks):
            if len(found) < self.count and not any(_nested(block.path, one.path) for one in found):
                found.append(block)
        return found

    def _least_harmed(
        self, module: Graph, blocks: Sequence[Block], wanted: torch.Tensor, context: Context
    ) -> Graph:
        assert context.calibration is not None
        best: tuple[float, Graph] | None = None
        for index, block in enumerate(blocks):
            context.progress(index / len(blocks), f"{self.title} {block.path}")
            tried = _dropped(module, block, context.example)
            tried = Recalibrate(images=IMAGES).apply(tried, replace(context, progress=Reporter()))
            harm = float(soft(_logits(tried, context.calibration[:IMAGES]), wanted, 1.0))
            if best is None or harm < best[0]:
                best = (harm, tried)
        assert best is not None
        return best[1]

    def _candidates(self, network: Network) -> list[Block]:
        """The chosen blocks."""
        blocks = residual_blocks(network)
        if not blocks:
            return []
        chosen = set(select(self.layers, [block.path for block in blocks]))
        return [block for block in blocks if block.path in chosen]

    def _refuse_too_few(self, blocks: Sequence[Block]) -> None:
        possible = len(self._last(blocks))
        if possible < self.count:
            raise BadValue(
                f"DropBlocks(count={self.count}): {possible} of the chosen blocks can go: "
                f"{', '.join(block.path for block in blocks)}. Use a smaller count."
            )

    def _row(self, block: Block, blocks: Sequence[Block], gone: Sequence[Block]) -> Row:
        """What happens to a block: it goes or stays by its size, or by harm among those of its size."""
        macs, params = block.size
        alike, going = ([one for one in some if one.size == block.size] for some in (blocks, gone))
        left = 0 if block in gone else 1
        if not going:
            action = "stays: the last blocks go first"
        elif len(going) == len(alike):
            action = "goes"
        else:
            action = f"one of {len(alike)} equally large blocks, of which {len(going)} go by measured harm"
        return Row(self.brief, block.path, "block", bool(going), action, macs, macs * left, params, params * left)


def residual_blocks(network: Network) -> list[Block]:
    """The modules that add something to their input and give the same shape, in execution order."""
    found: list[Block] = []
    for layer in network.layers:
        path = layer.name.rpartition(".")[0]
        if layer.kind == "add" and len(layer.reads) > 1 and path and all(block.path != path for block in found):
            block = _block(network, path)
            if block is not None:
                found.append(block)
    return found


def _block(network: Network, path: str) -> Block | None:
    inside = [layer for layer in network.layers if layer.name.startswith(f"{path}.")]
    written = {layer.writes for layer in inside}
    outside = {tensor for layer in inside for tensor in layer.reads} - written
    read_behind = {t for layer in network.layers if layer not in inside for t in layer.reads} & written
    first, last = inside[0], inside[-1]
    sound = len(outside) == 1 and read_behind <= {last.writes} and first.input == last.output
    once = all(not layer.module or len(network.by_module[layer.module]) == 1 for layer in inside)
    weighed = any(layer.params for layer in inside) and not any(layer.tied or layer.shared for layer in inside)
    return Block(path, tuple(inside), *outside, last.writes) if sound and once and weighed else None


def without(network: Network, block: Block) -> Network:
    """The network with a block's output read from its input."""
    gone = set(block.layers)
    kept = (layer for layer in network.layers if layer not in gone)
    return Network(
        tuple(
            layer._replace(reads=tuple(block.reads if t == block.writes else t for t in layer.reads)) for layer in kept
        )
    )


@torch.no_grad()
def _logits(module: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    return torch.cat([answer(module.eval(), batch) for batch in inputs.split(BATCH)])


def _nested(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def _dropped(module: Graph, block: Block, example: Inputs) -> Graph:
    """A copy in which whatever reads the block's output reads its input."""
    made = copy.deepcopy(module)
    origin = {layer.writes: layer.node for layer in trace(module, example).layers}
    inputs = [node for node in made.graph.nodes if node.op == "placeholder"]
    source = node_of(made, origin[block.reads]) if block.reads in origin else inputs[block.reads]
    skip(made, node_of(made, block.layers[-1].node), source)
    return made
