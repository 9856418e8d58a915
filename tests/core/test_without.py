"""'Restore this layer': the same recipe without a layer, for steps of every kind."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench.building.build import rewrite
from workbench.errors import StepFailed, UnknownName
from workbench.models import Model
from workbench.step import WITH_WEIGHTS, select
from workbench.steps import REGISTRY


@pytest.fixture(scope="module")
def model() -> Model:
    return tiny_model()


def test_an_exclamation_mark_takes_out() -> None:
    names = ("a.0", "a.1", "b")
    assert select(("*", "!a.1"), names) == ("a.0", "b")
    assert select("!a.*", names) == ("b",)
    assert select(("a.*", "!a.0"), names) == ("a.1",)
    with pytest.raises(UnknownName, match="no layer named 'c'"):
        select(("*", "!c"), names)


def test_a_restored_layer_has_its_own_weights(model: Model) -> None:
    recipe = wb.Ternary(keep_ends=False) | wb.Prune(ratio=0.5)
    assert recipe.changed(model) == ("conv1", "conv2", "head")
    module = rewrite(model, recipe.without("conv2", model), tiny_data(20), recalibrate=False)
    torch.testing.assert_close(module.conv2.weight, model.module.conv2.weight, rtol=0, atol=0)
    for name in ("conv1", "head"):
        assert not torch.equal(module.get_submodule(name).weight, model.module.get_submodule(name).weight)


def test_chains_and_lowering_follow_the_original_name(model: Model) -> None:
    recipe = wb.SVD(rank=(2,), allow_growth=True) | wb.Quantize("int8")
    assert set(recipe.plan(model).network.by_module) >= {"conv2.0", "conv2.1"}
    restored = recipe.without(("conv2",), model)
    assert restored.steps[0] == wb.SVD(rank=(2,), allow_growth=True, layers=("*", "!conv2"))
    assert restored.steps[1] == wb.Quantize("int8", exclude=("conv2",))  # its name now, not the chain's
    assert restored.changed(model) == ("conv1", "head")


def test_nothing_left_to_do_is_no_step(model: Model) -> None:
    recipe = wb.SVD(rank=0.4, layers="conv2") | wb.Prune(ratio=0.5)
    assert recipe.without("conv2", model).steps == (wb.Prune(ratio=0.5, layers=("*", "!conv2")),)
    assert len(recipe.without("*", model)) == 0
    assert recipe.without("conv2", model).without("conv2", model) == recipe.without("conv2", model)


def test_under_a_budget_the_other_layers_keep_their_ranks(model: Model) -> None:
    recipe = wb.Recipe((wb.Tucker(rank="macs:0.7"),))
    before = {row.layer: row.action for row in recipe.plan(model).parts[0].rows if row.applies}
    gone = next(iter(before))
    after = {
        row.layer: row.action for s in recipe.without(gone, model).plan(model).parts for row in s.rows if row.applies
    }
    assert after == {name: action for name, action in before.items() if name != gone}


@pytest.mark.parametrize("name", sorted(REGISTRY))
def test_every_step_leaves_a_layer_out_or_says_that_it_cannot(name: str, mobilenet: Model) -> None:
    """The round trip of the class: whatever `without` gives no longer touches the layer."""
    try:
        recipe = REGISTRY[name]().recipe()
        changed = recipe.changed(mobilenet)
    except wb.WorkbenchError as error:  # a step that must be told more, or cannot work on this network
        pytest.skip(str(error))
    if not changed:
        pytest.skip("changes no layer of this network")
    layer = changed[-1]
    try:
        left = recipe.without(layer, mobilenet)
    except StepFailed:
        with pytest.raises(StepFailed, match=f"cannot leave out {layer}"):
            recipe.without(layer, mobilenet)
        return
    if name == "PruneChannels":  # what reads a narrower layer stays narrower, whatever its own outputs do
        return
    rows = [row for sketch in left.plan(mobilenet).parts for row in sketch.rows if row.kind in WITH_WEIGHTS]
    assert layer not in {row.layer for row in rows if row.applies}
    assert set(left.changed(mobilenet)) <= set(changed) - {layer}


def test_a_layer_that_is_not_there(model: Model) -> None:
    with pytest.raises(UnknownName, match="Did you mean 'conv1'"):
        wb.Prune().recipe().without("conv11", model)
