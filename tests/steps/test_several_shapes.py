"""Layers that run on maps of several sizes, as a detector's heads do: one chain for all runs, counted at each."""

from __future__ import annotations

import pytest
import torch
from factorizing import applied, relative_output_error
from torch import nn

import workbench as wb
from workbench.factorization.step import Factorize


class Heads(nn.Module):
    """One head on two sizes, with a stride that does not divide them, and one that is transposed."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stem = nn.Conv2d(3, 16, 3, padding=1)
        self.head = nn.Conv2d(16, 24, 3, stride=2)
        self.up = nn.ConvTranspose2d(24, 16, 3, stride=2, output_padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.stem(x))
        parts = [self.up(self.head(one)) for one in (x, x[:, :, ::2, ::2])]
        return torch.cat([one.flatten(2) for one in parts], 2)


def images() -> torch.Tensor:
    return torch.randn(12, 3, 14, 11, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "step",
    [wb.SVD(1.0), wb.Tucker(1.0), wb.TensorTrain(1.0), wb.SpatialSVD(1.0), wb.CP(1.0)],
    ids=lambda one: one.brief,
)
@pytest.mark.parametrize("asymmetric", [False, True])
def test_full_rank_is_exact(step: Factorize, asymmetric: bool) -> None:
    x, step = images(), type(step)(1.0, allow_growth=True, asymmetric=asymmetric)
    net = Heads().eval()
    new, rows = applied(step, net, x, aware=True)
    assert {"head", "up"} <= {row.layer for row in rows if row.applies}
    assert relative_output_error(net, new, x) < 1e-4


def test_every_run_is_counted() -> None:
    """The head gives 6 x 5 and 3 x 2 places, from 14 x 11 and 7 x 6: a layer of rank 4 and one of 1 x 1 behind it."""
    _, rows = applied(wb.SVD({"head": 4}), Heads().eval(), images())
    head = next(row for row in rows if row.layer == "head")
    places = 6 * 5 + 3 * 2
    assert head.macs == places * 16 * 9 * 24
    assert head.macs_after == places * (16 * 9 * 4 + 4 * 24)


@pytest.mark.parametrize("budget", ["macs:0.6", "params:0.6"])
def test_a_budget_counts_them_too(budget: str) -> None:
    model = wb.load(Heads(), example=(1, 3, 14, 11))
    plan = wb.SVD(budget).plan(model)
    share = plan.macs / model.network.totals.macs if "macs" in budget else plan.params / model.network.totals.params
    assert 0.45 < share <= 0.6
