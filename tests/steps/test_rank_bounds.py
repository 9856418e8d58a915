"""Ranks above what a layer has: refused where no layer could take them, limited where some can."""

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.errors import BadValue
from workbench.models import Model


def model() -> Model:
    net = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1))
    return wb.load(net, example=torch.zeros(1, 8, 6, 6))


@pytest.mark.parametrize("rank", [99, (99, 4), {"0": 99}, {"2": 8, "0": (4, 99)}])
def test_a_rank_that_no_layer_has_is_refused(rank: object) -> None:
    with pytest.raises(BadValue, match="99.*full rank"):
        wb.Tucker(rank=rank).plan(model())


def test_a_rank_that_some_layers_have_is_limited_in_the_others() -> None:
    plan = wb.Tucker(rank=(20, 8)).plan(model()).set_index("layer")
    assert "ranks 20, 8" in plan.action["2"]
    assert "ranks 16, 8" in plan.action["0"]
