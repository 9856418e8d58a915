"""Asymmetric fits: the original's outputs from the inputs of a network that was already changed."""

from __future__ import annotations

from typing import cast

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.cost.trace import trace
from workbench.data.batches import as_split
from workbench.errors import BadValue, Cancelled
from workbench.factorization.asymmetric import collect_cross_moments
from workbench.jobs import Reporter
from workbench.statistics.collector import Feed
from workbench.step import Context


def deep_net() -> nn.Sequential:
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for c_in, c_out in ((3, 16), (16, 16), (16, 24), (24, 24), (24, 24)):
        layers += [nn.Conv2d(c_in, c_out, 3, padding=1, bias=False), nn.BatchNorm2d(c_out), nn.ReLU()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(24, 5))
    with torch.no_grad():
        net.train()(torch.randn(64, 3, 10, 10))
    return net.eval()


def pictures() -> torch.Tensor:
    return torch.randn(120, 3, 10, 10, generator=torch.Generator().manual_seed(1))


def error(net: nn.Module, changed: nn.Module, x: torch.Tensor) -> float:
    with torch.no_grad():
        return float((net(x) - changed(x)).norm() / (net(x) - net(x).mean(0)).norm())


def test_inputs_that_were_mixed_are_unmixed() -> None:
    """The inputs are A x in place of x: the best weight is W A^-1, whatever the inputs' moments."""
    torch.manual_seed(3)
    mixing = torch.eye(6) + 0.1 * torch.randn(6, 6)
    original = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 4))
    changed = nn.Sequential(nn.Linear(6, 6, bias=False), nn.Linear(6, 4))
    original[0].weight.data = torch.eye(6)
    changed[0].weight.data = mixing
    x = torch.randn(2000, 6) @ torch.diag(torch.linspace(0.5, 2, 6)) + 1.0
    pair = collect_cross_moments(
        original, changed, trace(original, x[:1]).by_module["1"][0], Feed(as_split(x)), Reporter()
    )
    for centred in (False, True):
        found = pair.adjusted(original[1].weight.detach(), centred=centred)
        assert torch.allclose(found, original[1].weight @ mixing.inverse(), atol=0.02)
    assert torch.allclose(pair.mean[0].float(), x.mean(0), atol=1e-5)
    assert torch.allclose(pair.changed.mean[0].float(), x.mean(0) @ mixing.T, atol=1e-5)


@pytest.mark.parametrize("step", [wb.Tucker, wb.SVD, wb.SpatialSVD, wb.TensorTrain])
def test_errors_do_not_add_up(step: type[wb.Tucker]) -> None:
    """Of the last map of features: five layers, each fitted at a third of its rank."""
    net, x = deep_net(), pictures()
    scene = Context(example=x[:1], calibration=x)
    fits = [cast(nn.Sequential, step(0.3, asymmetric=flag).apply(net, scene)) for flag in (False, True)]
    fresh = torch.randn(200, 3, 10, 10, generator=torch.Generator().manual_seed(2))
    for seen in (x, fresh):
        plain, asymmetric = (error(net[:-3], fit[:-3], seen) for fit in fits)
        assert asymmetric < 0.97 * plain


def test_full_rank_stays_exact() -> None:
    net, x = deep_net(), pictures()
    fit = wb.Tucker(1.0, asymmetric=True, allow_growth=True).apply(net, Context(example=x[:1], calibration=x))
    assert error(net, fit, x) < 1e-3


def test_the_original_and_its_hooks_are_left_alone() -> None:
    net, x = deep_net(), pictures()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    wb.Tucker(0.4, asymmetric=True).apply(net, Context(example=x[:1], calibration=x))
    assert all(torch.equal(value, net.state_dict()[name]) for name, value in before.items())
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_without_images_it_is_the_plain_fit() -> None:
    net, x = deep_net(), pictures()
    plain, same = (wb.SVD(0.4, asymmetric=flag).apply(net, Context(example=x[:1])) for flag in (False, True))
    assert error(plain, same, x) < 1e-6


def test_it_needs_data() -> None:
    with pytest.raises(BadValue, match="asymmetric=True, data_aware=False"):
        wb.Tucker(0.5, asymmetric=True, data_aware=False)


def test_it_can_be_cancelled() -> None:
    net, x, report = deep_net(), pictures(), Reporter()
    report.cancelled.set()
    with pytest.raises(Cancelled):
        wb.Tucker(0.5, asymmetric=True).apply(net, Context(example=x[:1], calibration=x, progress=report))
