"""A recipe is its steps one after another: what is known of the original weights is not used once they have changed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from tiny import SHAPE, TinyNet, tiny_data, tiny_model

import workbench as wb
from workbench.errors import StepFailed
from workbench.step import Step

#: Ranks that the weights decide: those of a changed weight are others.
STEPS: list[Step] = [
    *(family("energy:0.8", data_aware=False) for family in (wb.Tucker, wb.SVD, wb.SpatialSVD, wb.TensorTrain)),
    wb.CP("energy:0.5", data_aware=False, allow_growth=True),
    wb.Tucker("macs:0.7", data_aware=False),
    wb.Separable(2, data_aware=False),
    wb.Grouped(2, data_aware=False),
    wb.PruneNM(2, 4),
    wb.PruneChannels(0.5, layers="conv1"),
]


def weights(model: wb.Model) -> list[torch.Tensor]:
    return [one.detach() for one in model.module.state_dict().values()]


@pytest.mark.filterwarnings("ignore:Prune")  # that zeros alone make nothing faster
@pytest.mark.parametrize("step", STEPS, ids=lambda one: one.brief)
def test_a_recipe_is_its_steps_one_after_another(step: Step) -> None:
    model, first = tiny_model(), wb.Prune(0.6)
    step.plan(model)  # which remembers what it found of these weights
    alone = wb.compress(model, step)
    together = wb.compress(model, first | step)
    after = wb.compress(wb.compress(model, first), step)
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(weights(together), weights(after), strict=True))
    assert not all(
        a.shape == b.shape and torch.equal(a, b) for a, b in zip(weights(together), weights(alone), strict=True)
    )
    assert wb.cost(together).macs == wb.cost(after).macs
    again = wb.compress(model, step)  # and a recipe leaves nothing behind that the next one takes for the original's
    assert all(torch.equal(a, b) for a, b in zip(weights(alone), weights(again), strict=True))


def test_outputs_that_are_no_numbers_any_more_are_refused_with_the_step() -> None:
    torch.manual_seed(0)
    model = wb.load(TinyNet(), example=torch.zeros(1, *SHAPE))

    class Breaks(wb.Prune, abstract=True):  # type: ignore[misc, valid-type, call-arg]
        def apply(self, module: Any, scene: Any) -> Any:
            new = super().apply(module, scene)
            with torch.no_grad():
                new.get_parameter("head.weight").mul_(float("inf"))
            return new

    for data in (None, tiny_data()):
        with pytest.raises(StepFailed, match=r"After .*NaN or infinite outputs"):
            wb.compress(model, Breaks(0.5), data)
