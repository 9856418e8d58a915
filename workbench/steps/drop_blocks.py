"""`DropBlocks`: whole residual blocks taken out, those first that are missed least."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import nn

from workbench.cost.network import Layer, Network
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.data.batches import batches
from workbench.errors import BadValue, StepFailed
from workbench.jobs import Reporter
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


@dataclass(frozen=True)
class DropBlocks(Rewrite):
    """Take out the residual blocks without which the network's outputs change least, one after another.

    The harm is the divergence of the outputs on calibration images from the original's, measured with batch
    norm re-estimated. Which blocks go is known only then; the plan assumes the last ones. Sources: Veit et
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
        gone = blocks[-self.count :]
        after = network
        for block in gone:
            after = without(after, block)
        rows = tuple(self._row(block, block in gone, len(blocks)) for block in blocks)
        return Sketch(after, rows)

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy without the blocks. Raises: `BadValue`, `StepFailed` without calibration images, `Cancelled`."""
        module = copy.deepcopy(module)
        blocks = self._candidates(trace(module, context.example))
        if not blocks:
            return module
        self._refuse_too_few(blocks)
        if context.calibration is None:
            raise StepFailed(f"{self.expression()} measures harm on calibration images: give data that have some.")
        inputs = context.calibration[:IMAGES]
        wanted = _logits(module, inputs)
        for index in range(self.count):
            report = context.progress.part(index / self.count, (index + 1) / self.count)
            left = {block.path for block in residual_blocks(trace(module, context.example))}
            paths = [block.path for block in blocks if block.path in left]
            module = self._least_harmed(module, paths, wanted, replace(context, progress=report))
        return module

    def _least_harmed(
        self, module: nn.Module, paths: Sequence[str], wanted: torch.Tensor, context: Context
    ) -> nn.Module:
        assert context.calibration is not None
        best: tuple[float, nn.Module] | None = None
        for index, path in enumerate(paths):
            context.progress(index / len(paths), f"{self.title} {path}")
            tried = _put(copy.deepcopy(module), path, nn.Identity())
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
        if len(blocks) < self.count:
            raise BadValue(
                f"DropBlocks(count={self.count}): {len(blocks)} of the chosen blocks can go: "
                f"{', '.join(block.path for block in blocks)}. Use a smaller count."
            )

    def _row(self, block: Block, gone: bool, candidates: int) -> Row:
        macs, params = sum(x.macs for x in block.layers), sum(x.params for x in block.layers)
        action = f"one of {candidates} blocks, of which {self.count} go by measured harm"
        if gone:
            action += "; the plan's costs are without this one"
        left = 0 if gone else 1
        return Row(self.brief, block.path, "block", True, action, macs, macs * left, params, params * left)


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
    weighed = any(layer.params for layer in inside)
    return Block(path, tuple(inside), first.reads[0], last.writes) if sound and weighed else None


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
    return torch.cat([module.eval()(batch) for batch in batches(inputs, BATCH)])


def _put(module: nn.Module, path: str, new: nn.Module) -> nn.Module:
    parent, _, leaf = path.rpartition(".")
    setattr(module.get_submodule(parent), leaf, new)
    return module
