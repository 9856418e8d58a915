"""Over seventy odd networks and every step: the plan is the work to the number, or the plan says no; full rank is
exact; nothing raises what is not ours.
"""

from __future__ import annotations

from typing import Any

import odd
import pytest
import torch

import workbench as wb
from workbench.building.build import rewrite
from workbench.data import Data
from workbench.models import Model
from workbench.modules.calling import call, flatten

NETWORKS = odd.networks()
#: Steps that need images to work on, and may then train.
WITH_DATA = (wb.GlobalPool(), wb.DropBlocks(1), wb.ShareWeights(4, epochs=0), wb.Recalibrate())
STEPS = (
    wb.Tucker(0.5), wb.Tucker("macs:0.7"), wb.CP(0.3), wb.SVD(0.4), wb.SpatialSVD(0.4),
    wb.TensorTrain(0.5), wb.TensorTrain("macs:0.7"), wb.Separable(1),
    wb.Stack3x3(), wb.Grouped(2), wb.Shift(), wb.Resolution(8), wb.Prune(0.5), wb.PruneNM(2, 4),
    wb.PruneChannels(0.4), wb.Ternary(), wb.Binary(), *WITH_DATA,
    wb.Shift() | wb.PruneChannels(0.4), wb.PruneChannels(0.4) | wb.Tucker(0.5), wb.PruneChannels(0.3) | wb.Shift(),
)  # fmt: skip
#: Steps that are exact at full rank; a kernel of four by four has sixteen terms.
FULL = (
    wb.Tucker(1.0, allow_growth=True), wb.CP(1.0, allow_growth=True), wb.SVD(1.0, allow_growth=True),
    wb.SpatialSVD(1.0, allow_growth=True), wb.TensorTrain(1.0, allow_growth=True),
)  # fmt: skip


@pytest.fixture(scope="module")
def models() -> dict[str, Model]:
    return {name: wb.load(net.module, example=net.example) for name, net in NETWORKS.items()}


def data_for(example: Any) -> Data | None:
    """A few inputs with labels, where the network takes one tensor of numbers."""
    if not isinstance(example, torch.Tensor) or not example.is_floating_point():
        return None
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(40, *example.shape[1:], generator=generator)
    y = torch.arange(40) % odd.CLASSES
    return wb.data({"train": (x, y), "test": (x, y)})


def named(step: Any) -> str:
    return str(getattr(step, "brief", None) or step.name)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_plan_is_the_work(name: str, models: dict[str, Model]) -> None:
    model, data = models[name], data_for(NETWORKS[name].example)
    for step in STEPS:
        needs = any(one in WITH_DATA for one in step.recipe()) if hasattr(step, "recipe") else False
        if needs and data is None:
            continue
        try:
            plan = step.plan(model)
        except wb.WorkbenchError:
            continue  # the plan says no
        if plan.problem:
            continue
        small = wb.compress(model, step, data=data if needs else None)
        found = wb.cost(small)
        assert (found.macs, found.params) == (plan.macs, plan.params), named(step)
        assert len(plan) and (plan.applies.any() or found.macs == wb.cost(model).macs), named(step)
        outputs = flatten(call(small.module, model.example))
        assert all(bool(one.isfinite().all()) for one in outputs), named(step)


@pytest.mark.parametrize("name", NETWORKS)
def test_full_rank_is_exact(name: str, models: dict[str, Model]) -> None:
    model = models[name]
    data = data_for(NETWORKS[name].example)
    for step in FULL:
        for seen in (None, data):
            module = rewrite(model, wb.Recipe((step,)), seen, recalibrate=False)
            for before, after in zip(
                flatten(call(model.module, model.example)), flatten(call(module, model.example)), strict=True
            ):
                assert float((before - after).abs().max()) <= 1e-4 * float(before.abs().max()), named(step)


def test_a_plan_that_changes_nothing_says_why(models: dict[str, Model]) -> None:
    for name, model in models.items():
        plan = wb.Tucker(0.5).plan(model)
        assert len(plan), name
        assert all(action for action in plan.action), name


def test_a_part_names_what_is_in_it(models: dict[str, Model]) -> None:
    applies = wb.Prune(0.5, layers="m").plan(models["attention"]).set_index("layer").applies
    assert not applies["f"] and applies.drop("f").all() and applies.drop("f").index.str.startswith("m.").all()


def test_a_plan_that_waits_for_an_earlier_step_says_about(models: dict[str, Model]) -> None:
    """Ranks under a budget follow from spectra, which nobody knows before the channels are gone."""
    model = models["residual"]
    table = (wb.PruneChannels(0.4) | wb.Tucker("macs:0.6")).plan(model)
    treated = table[(table.step == "Tucker macs:0.6") & table.applies]
    assert len(treated) and treated.action.str.startswith("about ranks").all()
    settled = (wb.PruneChannels(0.4) | wb.Tucker(4, layers="*.conv2")).plan(model)
    assert not settled[settled.applies].action.str.startswith("about").any()
