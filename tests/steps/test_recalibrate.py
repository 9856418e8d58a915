"""`Recalibrate`: batch-norm statistics from calibration images."""

from __future__ import annotations

import torch
from torch import nn

import workbench as wb
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.step import Context
from workbench.steps.recalibrate import _Sums


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.5), nn.Flatten()).eval()


def images(n: int) -> torch.Tensor:
    return torch.randn(n, 2, 8, 8, generator=torch.Generator().manual_seed(1)) * 3 + 1


def test_statistics_are_those_of_all_images_together() -> None:
    """Over several batches of unequal size."""
    module, x = net(), images(230)
    new = wb.Recalibrate().apply(module, Context(example=x[:1], calibration=x))
    with torch.no_grad():
        seen = module[0](x).double()
    assert torch.allclose(new[1].running_mean.double(), seen.mean((0, 2, 3)), atol=1e-6)
    assert torch.allclose(new[1].running_var.double(), seen.var((0, 2, 3)), rtol=1e-5)


def test_the_module_given_stays_and_the_new_one_is_ready_to_run() -> None:
    module, x = net(), images(40)
    before = module[1].running_mean.clone()
    new = wb.Recalibrate(images=20).apply(module, Context(example=x[:1], calibration=x))
    assert torch.equal(module[1].running_mean, before)
    assert not any(part.training for part in new.modules())
    assert all(part.track_running_stats for part in new.modules() if isinstance(part, nn.BatchNorm2d))
    assert new[1].momentum == module[1].momentum


def test_without_calibration_or_norms_nothing_changes() -> None:
    module, x = net(), images(4)
    same = wb.Recalibrate().apply(module, Context(example=x[:1]))
    assert torch.equal(same(x), module(x))
    plain = nn.Sequential(nn.Conv2d(2, 6, 3)).eval()
    assert torch.equal(wb.Recalibrate().apply(plain, Context(example=x[:1], calibration=x))(x), plain(x))


def test_the_plan_names_the_norms() -> None:
    module, x = net(), images(1)
    sketch = wb.Recalibrate().plan_on(trace(module, x), Weights(module))
    assert [(row.layer, row.applies) for row in sketch.rows] == [("1", True)]
    assert sketch.network.totals == trace(module, x).totals


def test_the_plan_tells_norms_without_statistics_apart() -> None:
    """A layer norm takes its mean from each input, and so does a batch norm that keeps none."""
    layers = (nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.GroupNorm(2, 4), nn.BatchNorm2d(4, track_running_stats=False))
    model = wb.load(nn.Sequential(*layers, nn.InstanceNorm2d(4, affine=True)), example=images(1))
    plan = wb.Recalibrate().plan(model).set_index("layer")
    assert plan.applies.to_dict() == {"1": True, "2": False, "3": False, "4": False}
    assert "keeps no statistics" in plan.action["2"]


def test_of_maps_with_sides_unlike_their_channels() -> None:
    """The count that a variance is taken over is that of the values of a channel."""
    x = torch.randn(7, 3, 2, 5, generator=torch.Generator().manual_seed(2)) + 1
    new = wb.Recalibrate().apply(nn.Sequential(nn.BatchNorm2d(3)).eval(), Context(example=x[:1], calibration=x))
    assert torch.allclose(new[0].running_var, x.var((0, 2, 3)), rtol=1e-5)
    assert torch.allclose(new[0].running_mean, x.mean((0, 2, 3)), atol=1e-6)


def test_one_value_tells_of_no_variance() -> None:
    norm = nn.BatchNorm1d(2)
    seen = _Sums(norm)
    seen.see(torch.tensor([[3.0, 5.0]]))
    assert norm.running_var.tolist() == [1.0, 1.0] and norm.running_mean.tolist() == [0.0, 0.0]
    seen.see(torch.tensor([[5.0, 5.0]]))
    assert norm.running_var.tolist() == [2.0, 0.0] and norm.running_mean.tolist() == [4.0, 5.0]
