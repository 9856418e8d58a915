"""Data-aware fits against the best that there is: the error that Eckart and Young's theorem allows."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.step import Context

RANK = 3


def inputs() -> torch.Tensor:
    """Strongly correlated features around a mean, of very unequal size."""
    generator = torch.Generator().manual_seed(0)
    mixed = torch.randn(4000, 12, generator=generator) * torch.logspace(1, -1, 12)
    return mixed @ torch.linalg.qr(torch.randn(12, 12, generator=generator))[0] + 2.0


def layer(x: torch.Tensor, out: int = 10) -> nn.Linear:
    """A layer that reads the weak features as much as the strong ones: its weight alone says nothing of the data."""
    torch.manual_seed(1)
    new = nn.Linear(x.shape[1], out)
    new.weight.data = torch.linalg.qr(torch.randn(x.shape[1], out))[0].T.contiguous()
    return new


def spread(x: torch.Tensor) -> torch.Tensor:
    """(features, features): L with L L^T the covariance of x."""
    return torch.linalg.cholesky(torch.cov(x.double().T))


@torch.no_grad()
def error(net: nn.Module, new: nn.Module, x: torch.Tensor) -> float:
    """Root mean square of the change, summed over the outputs."""
    return float((net(x) - new(x)).double().square().sum(1).mean().sqrt())


def best(matrix: torch.Tensor) -> float:
    """The least error at the rank: what the singular values behind it hold."""
    return float(torch.linalg.svdvals(matrix)[RANK:].square().sum().sqrt())


def fitted(net: nn.Module, x: torch.Tensor, *, aware: bool) -> nn.Module:
    step = wb.SVD(RANK, layers="0", data_aware=aware, allow_growth=True)
    return step.apply(net.eval(), Context(example=x[:1], calibration=x))


def test_a_linear_layer_is_fitted_as_well_as_its_inputs_allow() -> None:
    x = inputs()
    net = nn.Sequential(layer(x))
    least = best(net[0].weight.detach().double() @ spread(x))
    assert least <= error(net, fitted(net, x, aware=True), x) <= 1.02 * least
    assert error(net, fitted(net, x, aware=False), x) > 2 * least  # which a fit of the weight is far from


def test_a_layer_is_fitted_to_what_the_next_one_makes_of_it() -> None:
    x = inputs()
    net = nn.Sequential(layer(x), nn.Linear(10, 10))
    torch.manual_seed(2)
    net[1].weight.data = torch.diag(torch.logspace(-1, 1, 10)) @ torch.linalg.qr(torch.randn(10, 10))[0]
    first, second = (one.weight.detach().double() for one in net)
    least = best(second @ first @ spread(x))
    assert least <= error(net, fitted(net, x, aware=True), x) <= 1.05 * least
    alone = nn.Sequential(fitted(nn.Sequential(net[0]), x, aware=True)[0], net[1])
    assert error(net, alone, x) > 1.2 * least


@pytest.mark.parametrize("bias", [True, False])
def test_a_mean_that_a_bias_can_hold_costs_no_rank(bias: bool) -> None:
    """With a bias the covariance counts; without one the mean is one more direction to keep."""
    x = inputs()
    net = nn.Sequential(layer(x))
    if not bias:
        net[0].bias = None
    moment = x.double().T @ x.double() / len(x)
    root = spread(x) if bias else torch.linalg.cholesky(moment)
    least = best(net[0].weight.detach().double() @ root)
    assert 0.999 * least <= error(net, fitted(net, x, aware=True), x) <= 1.02 * least
