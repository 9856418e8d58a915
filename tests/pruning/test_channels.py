"""Which channels are tied: by hand, against Torch-Pruning, and by what a cut does to a network."""

from __future__ import annotations

import copy
import itertools
from types import ModuleType

import numpy as np
import pytest
import torch
import torch_pruning
from nets import EXAMPLE, NETS, Concatenated, Depthwise, Gated, InGroups, Plain, Residual, Split, make
from torch import nn

import workbench as wb
from workbench.cost.trace import trace
from workbench.models.canonical import canonical
from workbench.models.graph import Graph
from workbench.pruning.channels import Channels, follow
from workbench.pruning.surgery import cut
from workbench.pruning.widths import Goal, shrink

EXPECTED: dict[type[nn.Module], set[frozenset[str]]] = {
    Plain: {frozenset("a"), frozenset("b"), frozenset("c")},
    Residual: {frozenset("ac"), frozenset("b")},
    Concatenated: {frozenset("a"), frozenset("b"), frozenset("ce")},
    Depthwise: {frozenset("ae"), frozenset("b")},
    Gated: {frozenset("ae"), frozenset("s"), frozenset("b")},
    Split: {frozenset("a"), frozenset("b"), frozenset("c")},
    InGroups: {frozenset("a"), frozenset("b"), frozenset("c")},
}


def graph_of(module: nn.Module) -> Graph:
    return canonical(module, EXAMPLE)


def channels_of(module: nn.Module) -> Channels:
    return follow(trace(module, EXAMPLE), module, EXAMPLE)


@pytest.mark.parametrize("kind", NETS)
def test_groups_are_those_found_by_hand(kind: type[nn.Module]) -> None:
    assert {frozenset(g.layers) for g in channels_of(graph_of(make(kind))).groups} == EXPECTED[kind]


@pytest.mark.parametrize("kind", [k for k in NETS if k is not Split])
def test_torch_pruning_ties_the_same_layers(kind: type[nn.Module]) -> None:
    net = make(kind)
    graph = torch_pruning.DependencyGraph().build_dependency(net, EXAMPLE)
    names = {m: n for n, m in net.named_modules()}
    makers = (torch_pruning.prune_conv_out_channels, torch_pruning.prune_linear_out_channels)
    for group in channels_of(graph_of(net)).groups:
        layer = net.get_submodule(group.layers[0])
        prune = makers[isinstance(layer, nn.Linear)]
        theirs = graph.get_pruning_group(layer, prune, idxs=[0])
        tied = {names[dep.target.module] for dep, _ in theirs if dep.handler in makers}
        assert tied == set(group.layers)


@pytest.mark.parametrize("kind", NETS)
def test_channels_that_say_nothing_can_go_without_a_trace(kind: type[nn.Module]) -> None:
    """A unit whose channels are all zero at every maker is cut: the outputs stay, whatever reads it."""
    net = graph_of(make(kind))
    channels = channels_of(net)
    for group in channels.groups:
        silent = _silenced(net, channels, group.units[:2])
        mask = np.ones(channels.count, dtype=bool)
        mask[group.units[:2]] = False
        x = torch.randn(3, *EXAMPLE.shape[1:], generator=torch.Generator().manual_seed(0))
        smaller = cut(silent, channels, mask)
        assert sum(p.numel() for p in smaller.parameters()) < sum(p.numel() for p in net.parameters())
        assert torch.allclose(smaller(x), silent(x), atol=1e-5), group.layers


def _silenced(net: nn.Module, channels: Channels, units: np.ndarray) -> nn.Module:
    """A copy whose channels of these units are zero wherever they are made, scaled or shifted."""
    net = copy.deepcopy(net)
    for layer, reads, writes in zip(channels.network.layers, channels.reads, channels.writes, strict=True):
        if not layer.module or not len(writes):
            continue
        part = net.get_submodule(layer.module)
        gone = torch.from_numpy(np.isin(writes, units))
        for tensor in (part.weight, part.bias):
            if tensor is not None:
                tensor.data[gone] = 0
        unread = torch.from_numpy(np.isin(reads, units))
        if isinstance(part, nn.Linear) or (isinstance(part, nn.Conv2d) and part.groups == 1):
            part.weight.data[:, unread] = 0  # a gate of sigmoid(0) is not zero, so nobody may look at it
    return net


@pytest.mark.parametrize("kind", NETS)
def test_shapes_are_predicted_exactly(kind: type[nn.Module]) -> None:
    net = graph_of(make(kind))
    channels = channels_of(net)
    for ratio in (0.25, 0.5):
        widths = Goal(ratio, None, 1).widths(channels, channels.groups, None)
        assert widths.macs == pytest.approx(widths.network.totals.macs, rel=1e-12)
        assert widths.network.layers == trace(cut(net, channels, widths.mask()), EXAMPLE).layers


@pytest.mark.parametrize(("name", "share"), [*itertools.product(["fashion-vgg", "fashion-resnet"], [0.3, 0.7])])
def test_a_goal_in_macs_is_reached_from_below(name: str, share: float) -> None:
    model = wb.load(name)
    channels = follow(model.network, model.module)
    widths = Goal(None, share, 8).widths(channels, channels.groups, None)
    reached = widths.network.totals.macs / model.network.totals.macs
    assert share - 0.03 < reached <= share
    assert all(kept % 8 == 0 for kept, group in zip(widths.kept, widths.groups, strict=True) if len(group.units) >= 32)


def test_what_is_not_followed_is_left_alone_with_its_reason() -> None:
    class Sorted(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.d = nn.Conv2d(3, 16, 3), nn.Linear(16, 5)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.d(torch.cumsum(self.a(x).mean((2, 3)), 1))

    channels = channels_of(graph_of(Sorted().eval()))
    assert "mixes or reorders" in channels.why_frozen("a")
    assert "network's outputs" in channels.why_frozen("d")


class Reused(nn.Module):
    """A convolution used twice between two that are not; its inputs and its outputs are the same channels."""

    def __init__(self, tied: bool) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 24, 3)
        self.again = nn.Conv2d(16, 16, 1) if tied else self.b
        if tied:
            self.again.weight = self.b.weight
        self.d = nn.Linear(24, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.b(torch.relu(self.a(x))))
        return self.d(torch.relu(self.c(self.again(x))).mean((2, 3)))


@pytest.mark.filterwarnings("ignore::UserWarning")  # which layers were left alone, and that there are no images
@pytest.mark.parametrize("tied", [False, True], ids=["a layer used twice", "two layers of one weight"])
def test_what_is_used_twice_keeps_its_width_and_that_of_its_inputs(tied: bool) -> None:
    net = make(lambda: Reused(tied))
    channels = channels_of(graph_of(net))
    assert {frozenset(g.layers) for g in channels.groups} == {frozenset("c")}
    assert ("shares its weight" if tied else "used more than once") in channels.why_frozen("b")
    assert channels.why_frozen("a") == channels.why_frozen("b")  # what it makes, the other reads
    small = wb.compress(net, wb.PruneChannels(0.5), example=EXAMPLE).module
    widths = {name: small.get_submodule(name).weight.shape[:2] for name in "abc"}
    assert widths["a"] == (16, 3) and widths["b"] == (16, 16) and 1 <= widths["c"][0] < 24


def test_torchvision_networks(torchvision: ModuleType) -> None:
    """Concatenations in DenseNet and GoogLeNet, gates in MobileNetV3, groups in ResNeXt: cut and still run."""
    x = torch.zeros(1, 3, 64, 64)
    for name in ("resnet18", "mobilenet_v3_small", "densenet121", "squeezenet1_1", "shufflenet_v2_x0_5"):
        net = canonical(getattr(torchvision.models, name)(weights=None).eval(), x)
        network = trace(net, x)
        channels = follow(network, net, x)
        assert channels.groups, name
        widths = Goal(0.3, None, 1).widths(channels, channels.groups, None)
        smaller = cut(net, channels, widths.mask())
        assert shrink(channels, widths.mask()).totals == trace(smaller, x).totals, name
        assert smaller(x).shape == (1, 1000), name


def test_an_output_that_a_side_head_reads_too_keeps_its_width() -> None:
    """The network gives the logits, and what a second head makes of them."""

    class Sided(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.logits, self.side = nn.Conv2d(3, 32, 3), nn.Linear(32, 16), nn.Linear(16, 2)

        def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            logits = self.logits(torch.relu(self.body(x)).mean((2, 3)))
            return logits, self.side(logits)

    model = wb.load(Sided(), example=(1, 3, 8, 8))
    plan = wb.PruneChannels(0.5).plan(model).set_index("layer")
    small = wb.compress(model, wb.PruneChannels(0.5))
    assert [tuple(one.shape) for one in small.module(torch.zeros(2, 3, 8, 8))] == [(2, 16), (2, 2)]
    assert plan.applies["body"] and "network's outputs" in plan.action["logits"]
