"""`GlobalPool`: a fully connected head on whole maps becomes global average pooling and one linear layer."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import nn

from workbench.cost.layer import Layer
from workbench.cost.network import Network
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.errors import StepFailed
from workbench.lowrank.moments import regularised, solve
from workbench.models.edit import node_of, skip
from workbench.modules.calling import answer
from workbench.statistics.collector import Feed, hooked, private
from workbench.step import Context, Decision, Plan, Rewrite, Row, row


@dataclass(frozen=True)
class Head:
    """The layers from a flattened map to the output."""

    flat: Layer  # the linear layer that reads the flattened map
    flatten: Layer  # what flattens it
    shape: tuple[int, ...]  # of the map, (C, H, W)
    behind: tuple[Layer, ...]  # every operation after it
    classes: int


@dataclass(frozen=True)
class GlobalPool(Rewrite):
    """Average every channel over the map, and read the classes from the averages by one linear layer.

    The new layer is fitted to the old head's logits on calibration images by least squares; fine-tuning with
    distillation should follow. Source: Lin et al. 2014, "Network in Network", section 3.2.
    """

    title: ClassVar[str] = "Global pooling"
    summary: ClassVar[str] = "Replace a fully connected head by global average pooling: most parameters go."
    family: ClassVar[str] = "rewrite"

    def plan_on(self, network: Network, weights: Weights) -> Plan:
        """A row for the head's linear layers, or for the last layer when there is no head to replace."""
        head = find_head(network)
        if head is None:
            last = network.layers[-1]
            why = "the network does not end in fully connected layers on a flattened map"
            return Plan(network, network, (row(self.brief, last, Decision.UNFIT, {"why": why}),))
        after = network.replace({head.flat.module: _chain(head)})
        gone = {layer.writes for layer in (*head.behind, head.flatten)}
        kept = (layer for layer in after.layers if layer.writes not in gone)
        reads_map = (layer.but(reads=tuple(_instead(t, head.flatten) for t in layer.reads)) for layer in kept)
        return Plan(network, Network(tuple(reads_map)), self._rows(head))

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy with the new head; as it was when there is none to replace. Raises: `StepFailed`, `Cancelled`."""
        module = copy.deepcopy(module)
        head = find_head(trace(module, context.example))
        if head is None:
            return module
        if context.calibration is None:
            raise StepFailed("GlobalPool() fits its new layer on calibration images, and there are none. Give data=.")
        linear = self._fitted(module, head, context)
        module.set_submodule(head.flat.module, nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), linear))
        pooled, last = node_of(module, head.flat.node), node_of(module, (head.behind or (head.flat,))[-1].node)
        pooled.args = node_of(module, head.flatten.node).args[:1]  # the map itself
        skip(module, last, pooled)
        return module.eval()

    @torch.no_grad()
    def _fitted(self, module: nn.Module, head: Head, context: Context) -> nn.Linear:
        """Ridge regression from the pooled map to the old logits."""
        assert context.calibration is not None
        pooled: list[torch.Tensor] = []
        feed = Feed.of(context.calibration, trace(module, context.example))
        reads = {head.flat.module: lambda x: pooled.append(x.unflatten(1, head.shape).flatten(2).mean(2))}
        own = private(module)
        with hooked(own, reads=reads):  # the whole of it runs: its logits are wanted too
            logits = [answer(own, batch) for batch in feed.reported(context.progress, self.title)]
        x, y = torch.cat(pooled).double(), torch.cat(logits).double()
        centre, mean = x - x.mean(0), y.mean(0)
        spread = regularised(centre.T @ centre / len(x), len(x))
        scale = (centre.square().sum() / len(x) / x.shape[1]).clamp_min(1e-12)  # what `regularised` divides by
        weight = solve(spread, centre.T @ (y - mean) / len(x) / scale).T
        linear = nn.Linear(x.shape[1], head.classes)
        linear.weight.copy_(weight)
        linear.bias.copy_(mean - weight @ x.mean(0))
        return linear

    def _rows(self, head: Head) -> tuple[Row, ...]:
        new = _chain(head)[-1]
        area = " x ".join(map(str, head.shape))
        what = f"averages the {area} map, then reads {head.classes} classes from {head.shape[0]} averages"
        rows = [
            row(self.brief, head.flat, Decision.CHANGED, {"what": what}, new)
        ]  # fmt: skip
        why = ": the head has one layer"
        rows += [
            row(self.brief, x, Decision.GOES, {"why": why})._replace(macs_after=0, params_after=0)
            for x in head.behind
            if x.module
        ]
        return tuple(rows)


def find_head(network: Network) -> Head | None:
    """The fully connected head on a flattened map, where a network ends in one of plain modules."""
    flats = {
        layer.writes: layer
        for layer in network.layers
        if layer.kind == "reshape" and len(layer.input) == 3 and len(layer.output) == 1
    }
    for index, layer in enumerate(network.layers):
        flatten = flats.get(layer.reads[0]) if layer.reads else None
        if layer.kind != "linear" or not layer.module or flatten is None or flatten.input[1:] == (1, 1):
            continue
        behind = network.layers[index + 1 :]
        if all(_removable(one, network) for one in behind) and _alone(layer, flatten, behind, network):
            return Head(layer, flatten, flatten.input, behind, network.layers[-1].c_out)
    return None


def _alone(flat: Layer, flatten: Layer, behind: tuple[Layer, ...], network: Network) -> bool:
    """Whether each operation of the head is read by the next alone, so that the head may go as a whole."""
    chain = (flatten, flat, *behind)
    one_by_one = all(after.reads == (before.writes,) for before, after in pairwise(chain))
    others = [layer for layer in network.layers if layer not in chain]
    if any(layer.result for layer in (flatten, flat, *behind)[:-1]):  # the network gives what would go
        return False
    return one_by_one and not any(set(layer.reads) & {one.writes for one in chain} for layer in others)


def _removable(layer: Layer, network: Network) -> bool:
    """A linear layer used once, or what computes on its outputs alone and has no weights."""
    if layer.kind == "linear":
        return bool(layer.module) and len(network.by_module[layer.module]) == 1
    return layer.kind in {"activation", "reshape"} and len(layer.reads) == 1 and not layer.fixed and not layer.module


def _instead(tensor: int, flatten: Layer) -> int:
    return flatten.reads[0] if tensor == flatten.writes else tensor


def _chain(head: Head) -> tuple[Layer, ...]:
    """What takes the place of the head's first linear layer, and reads the map."""
    channels, flat = head.shape[0], head.flat
    pool = Layer("", "pool", head.shape, (channels, 1, 1), op="_adaptive_avg_pool2d", bits=flat.bits)
    linear = flat.but(input=(channels,), output=(head.classes,), bias=True, result=True)
    flatten = Layer("", "reshape", pool.output, (channels,), op="view", bits=flat.bits)
    return pool, flatten, linear.but(weights=linear.weight_elements)
