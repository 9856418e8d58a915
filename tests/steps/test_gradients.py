"""What errors of layers' outputs cost at the end of the network, against exact Jacobians."""

from __future__ import annotations

import pytest
import torch
from factorizing import relative_output_error
from torch import nn

import workbench as wb
from workbench.cost.trace import trace
from workbench.jobs import Reporter
from workbench.statistics.gradients import sensitivities
from workbench.step import Context


def measured(net: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    network = trace(net, x[:1])
    layers = {name: ops[0] for name, ops in network.by_module.items() if ops[0].kind in {"conv", "linear"}}
    return sensitivities(net, network, layers, x, Reporter())


@pytest.mark.parametrize("groups", [1, 2])
def test_the_moment_is_that_of_the_jacobian(groups: int) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3, groups=groups), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(16, 3)).eval()
    x = torch.randn(400, 2, 4, 4)
    exact = torch.zeros(groups, 4 // groups, 4 // groups)
    for image in x:
        written = net[0](image[None]).detach()
        jacobian = torch.autograd.functional.jacobian(lambda y: net[1:](y.clone()), written)  # (1, 3, 1, 4, 2, 2)
        rows = jacobian.reshape(3, groups, 4 // groups, -1).permute(1, 2, 0, 3).flatten(2)
        exact += rows @ rows.mT
    found = measured(net, x)["0"]
    assert found.shape == exact.shape
    assert float((found - exact).norm() / exact.norm()) < 0.15  # one random direction an image


def test_the_network_stays_as_it_was() -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 3)).train()
    net[0].weight.requires_grad_(False)
    flags = [p.requires_grad for p in net.parameters()]
    measured(net, torch.randn(20, 1, 4, 4))
    assert [p.requires_grad for p in net.parameters()] == flags
    assert net.training and net[1].num_batches_tracked == 0
    assert all(p.grad is None for p in net.parameters())
    assert not net[0]._forward_hooks


def test_without_a_way_back_there_is_nothing() -> None:
    class Cut(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.detach()

    net = nn.Sequential(nn.Conv2d(1, 4, 3), Cut(), nn.Flatten(), nn.Linear(16, 3)).eval()
    assert set(measured(net, torch.randn(8, 1, 4, 4))) == {"3"}
    assert measured(nn.Sequential(nn.Conv2d(1, 4, 3), Cut()), torch.randn(8, 1, 4, 4)) == {}


def test_gradients_that_are_not_finite_do_not_count() -> None:
    class Root(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + (0 * x).sqrt()  # zero, of no slope

    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Conv2d(3, 8, 3), Root(), nn.Flatten(), nn.Linear(32, 3)).eval(), torch.randn(20, 3, 4, 4)
    assert set(measured(net, x)) == {"3"}
    new = wb.SVD(2, layers="0").apply(net, Context(example=x[:1], calibration=x))
    assert torch.isfinite(new(x)).all()


@pytest.mark.parametrize(
    "step",
    [wb.SVD(2, layers="0"), wb.Tucker((2, 6), layers="0"), wb.SpatialSVD(8, layers="0"),
     wb.TensorTrain((6, 9, 2), layers="0")],
)  # fmt: skip
def test_a_fit_keeps_what_the_rest_of_the_network_reads(step: wb.steps.base.Step) -> None:
    """Of eight outputs the next layer reads two mixtures, the weaker ones: two directions suffice."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(6, 8, 3), nn.Conv2d(8, 2, 1)).eval()
    strong, read = torch.linalg.qr(torch.randn(8, 8))[0].split([6, 2], dim=1)
    with torch.no_grad():
        net[0].weight += 0.5 * torch.einsum("or,rihw->oihw", strong, torch.randn(6, 6, 3, 3))
        net[1].weight.copy_((torch.randn(2, 2) @ read.T)[:, :, None, None])
    x = torch.randn(200, 6, 6, 6)
    errors = [
        relative_output_error(net, step.apply(net, Context(example=x[:1], calibration=seen)), x) for seen in (None, x)
    ]
    assert errors[1] < 0.25 * errors[0]
