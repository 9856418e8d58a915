"""Channels through every kind of operation: groups by hand; what is cut is what nobody looked at; plan is work."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from kinds import IMAGE, KINDS, Made, conv
from torch import nn

import workbench as wb
from workbench.cost.trace import trace
from workbench.pruning.channels import Channels, follow
from workbench.pruning.surgery import cut
from workbench.pruning.widths import shrink


@pytest.fixture(params=KINDS)
def case(request: pytest.FixtureRequest) -> Any:
    found = KINDS[request.param]()
    model = wb.load(found.module, example=found.shape)
    return found, model, follow(model.network, model.module, model.example)


def test_groups_are_those_found_by_hand(case: Any) -> None:
    found, _, channels = case
    assert sorted((sorted(group.layers), len(group.units)) for group in channels.groups) == found.groups


def test_a_cut_leaves_what_readers_see_without_the_channels(case: Any) -> None:
    """Each group alone: some of its units go, and in the original the layers that read them have zeros there."""
    found, model, channels = case
    x = torch.randn(2, *found.shape[1:], generator=torch.Generator().manual_seed(0))
    for group in channels.groups:
        mask = np.ones(channels.count, dtype=bool)
        mask[group.units[[0, len(group.units) // 2]]] = False
        if not mask[group.units].any():  # of two units, one stays
            mask[group.units[0]] = True
        small = cut(model.module, channels, mask)
        with torch.no_grad():
            wanted = _unread(model.module, channels, mask)(x)
            assert torch.allclose(small(x), wanted, rtol=1e-4, atol=1e-5), group.layers


def _unread(module: nn.Module, channels: Channels, kept: np.ndarray) -> nn.Module:
    module = copy.deepcopy(module)
    for place in channels.places:
        gone = torch.from_numpy(~kept[place.taken])
        if not place.layer.module or not len(place.made) or not gone.any():
            continue
        part = module.get_submodule(place.layer.module)
        each = len(gone) // getattr(part, "groups", 1)
        with torch.no_grad():
            if isinstance(part, nn.ConvTranspose2d):
                part.weight[gone] = 0
            elif each > 1:
                part.weight[:, gone[:each]] = 0
    return module


def test_the_plan_has_the_shapes_of_the_network_cut(case: Any) -> None:
    _, model, channels = case
    for share in (3, 2):
        mask = np.ones(channels.count, dtype=bool)
        for group in channels.groups:
            mask[group.units[1 : max(1, len(group.units) - 1) : share]] = False
        planned, found = shrink(channels, mask), trace(cut(model.module, channels, mask), model.example)
        assert planned.totals.macs == found.totals.macs == channels.macs(mask)
        assert planned.totals.params == found.totals.params
        assert [(one.input, one.output) for one in planned.layers] == [(one.input, one.output) for one in found.layers]


def test_the_users_network_stays(case: Any) -> None:
    _, model, channels = case
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    text = model.module.code
    for group in channels.groups:
        mask = np.ones(channels.count, dtype=bool)
        mask[group.units[1:]] = False
        cut(model.module, channels, mask)
    assert model.module.code == text
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())


def by_count(x: torch.Tensor) -> torch.Tensor:
    return x / x.shape[1]


def by_place(x: torch.Tensor) -> torch.Tensor:
    return x.cumsum(1) * x[:, 2:3]


REFUSED = {
    "rolled": (lambda net, x: net.d(torch.roll(net.a(x), 1, 1).mean((2, 3))), "in an order"),
    "softmax": (lambda net, x: net.d(torch.softmax(net.a(x), 1).mean((2, 3))), "mixes or reorders"),
    "one norm": (lambda net, x: net.d(net.n(net.a(x)).mean((2, 3))), "normalises over several channels"),
    "by the count": (lambda net, x: net.d(by_count(net.a(x)).mean((2, 3))), "sizes that stay"),
    "one by its place": (lambda net, x: net.d(by_place(net.a(x)).mean((2, 3))), ""),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_cut_would_change_is_refused_with_its_reason(name: str) -> None:
    forward, why = REFUSED[name]
    parts = {"n": nn.GroupNorm(1, 12)} if name == "one norm" else {}
    net = Made(forward, a=conv(3, 12), d=nn.Linear(12, 3), **parts).eval()
    model = wb.load(net, example=IMAGE)
    channels = follow(model.network, model.module, model.example)
    assert why in channels.why_frozen("a") and channels.why_frozen("a")
