"""Moments of the patches that layers read, against torch's own unfolding of all of them in double precision."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from workbench.cost.trace import trace
from workbench.data.batches import as_split
from workbench.jobs import Reporter
from workbench.statistics import moments
from workbench.statistics.collector import Feed
from workbench.statistics.moments import collect

Tensor = torch.Tensor


def of(net: nn.Module, x: Tensor, size: int = 7) -> dict[str, moments.Moments]:
    network = trace(net, x[:1])
    layers = {name: ops[0] for name, ops in network.by_module.items() if ops[0].kind in {"conv", "linear"}}
    return collect(net, layers, Feed(as_split(x), size), Reporter())


def unfolded(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """(groups, patches, d) of all positions."""
    patches = functional.unfold(x.double(), conv.kernel_size, conv.dilation, conv.padding, conv.stride)
    return patches.transpose(1, 2).reshape(-1, conv.groups, patches.shape[1] // conv.groups).transpose(0, 1)


CONVS = (
    nn.Conv2d(6, 4, 3, padding=1), nn.Conv2d(6, 4, (3, 2), stride=2, dilation=2), nn.Conv2d(6, 4, 3, groups=2),
    nn.Conv2d(6, 6, 3, groups=6), nn.Conv2d(70, 4, 3, padding=1), nn.Conv2d(130, 4, 3),
)  # fmt: skip


@pytest.mark.parametrize("conv", CONVS, ids=lambda c: f"{c.in_channels}-{c.kernel_size}-{c.groups}")
@pytest.mark.parametrize("rows", [512, 100])
def test_moments_are_those_of_all_patches(conv: nn.Conv2d, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of more columns than are multiplied at once, and of so many that they are summed in single precision."""
    monkeypatch.setattr(moments, "_ROWS", rows)
    torch.manual_seed(0)
    x = torch.randn(20, conv.in_channels, 9, 9) * 2 + 0.5
    found, patches = of(nn.Sequential(conv), x)["0"], unfolded(conv, x)
    assert found.count == patches.shape[1] and found.second.dtype == (
        torch.float64 if patches.shape[2] <= 1024 else torch.float32
    )
    mean, whole = patches.mean(1), patches.mT @ patches / patches.shape[1]
    assert torch.allclose(found.mean, mean, atol=1e-6)
    for centred, exact in ((False, whole), (True, whole - mean[:, :, None] * mean[:, None])):
        assert float((found.moment(centred=centred) - exact).norm() / exact.norm()) < 1e-5
    assert torch.equal(found.second, found.second.mT)


def test_a_sample_of_the_positions_tells_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Smooth images on a fine grid: a tenth of the places says what all do."""
    monkeypatch.setattr(moments, "SAMPLED_ELEMENTS", 1)
    torch.manual_seed(0)
    conv, x = nn.Conv2d(4, 2, 3), functional.interpolate(torch.randn(60, 4, 6, 6), (40, 40), mode="bilinear")
    found, patches = of(nn.Sequential(conv), x)["0"], unfolded(conv, x)
    assert 8 * 36 <= found.count < patches.shape[1] / 100
    exact = patches.mT @ patches / patches.shape[1]
    assert float((found.moment(centred=False) - exact).norm() / exact.norm()) < 0.25


def test_what_does_not_vary_has_no_spread() -> None:
    """Around a mean that rounding is large beside; one group of two varies."""
    x = torch.full((50, 4, 3, 3), 100.0)
    x[:, 2:] += torch.randn(50, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    spread = of(nn.Sequential(nn.Conv2d(4, 2, 1, groups=2)), x)["0"].moment(centred=True)
    assert float(spread[0].abs().max()) == 0.0
    variance = x[:, 2:].double().var((0, 2, 3), correction=0)
    assert torch.allclose(spread[1].diagonal(), variance, rtol=0.15)


def test_all_layers_share_a_pass() -> None:
    runs: list[int] = []

    class Counted(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            runs.append(len(x))
            return x

    torch.manual_seed(0)
    net, x = nn.Sequential(Counted(), nn.Linear(5, 6), nn.Linear(6, 7), nn.Linear(7, 2)), torch.randn(30, 5)
    found = of(net, x, 20)
    assert runs == [1, 20, 10]  # the trace, and one pass
    with torch.no_grad():
        for name, seen in (("1", x), ("2", net[1](x)), ("3", net[2](net[1](x)))):
            assert torch.allclose(found[name].mean[0].float(), seen.mean(0), atol=1e-5)
