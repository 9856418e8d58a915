"""What every factorization has in common: the plan, the edges, budgets, bad weights, data-aware fits."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from factorizing import actions, applied, images, relative_output_error, small_net
from torch import nn

import workbench as wb
from workbench.cost.compressed import compressed_bytes
from workbench.cost.file_size import file_bytes
from workbench.cost.network import Network
from workbench.cost.roofline import Device, device
from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.errors import BadValue, StepFailed, UnknownName
from workbench.factorization.step import Factorize
from workbench.step import REGISTRY, Context, Lower, Rewrite, Row, Step

FAMILIES = [wb.Tucker, wb.CP, wb.SVD, wb.SpatialSVD, wb.Separable, wb.Grouped, wb.Stack3x3]
RULED = [wb.Tucker, wb.CP, wb.SVD, wb.SpatialSVD, wb.Separable]


def plan(step: Factorize, net: nn.Module) -> list[Row]:
    x = images(1)
    return list(step.plan_on(trace(net, x), Weights(net)).rows)


@pytest.mark.parametrize("family", FAMILIES)
def test_every_layer_has_a_row_and_nothing_grows(family: type[Factorize]) -> None:
    rows = plan(family(), small_net())
    assert [row.layer for row in rows] == ["0", "3", "5", "7", "8", "12"]
    for row in rows:
        assert (
            row.macs_after < row.macs and row.params_after < row.params if row.applies else row.macs_after == row.macs
        )
        assert row.applies or row.action.startswith("left alone: ")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("aware", [False, True])
def test_the_sketch_is_what_is_built_and_the_input_stays(family: type[Factorize], aware: bool) -> None:
    net, x = small_net(), images()
    before = copy.deepcopy(net.state_dict())
    new, _ = applied(family(), net, x, aware=aware)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert torch.isfinite(new(x)).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_steps_hash_and_go_through_a_file(family: type[Factorize]) -> None:
    ruled = family(**{family.rule_field: {"0": 4, "*": 2}}, layers=["0", "3"])
    recipe = ruled | family()
    again = wb.Recipe.from_yaml(recipe.to_yaml())
    assert again == recipe
    assert hash(again) == hash(recipe)
    assert eval(recipe.code().split("recipe = ")[1], {"wb": wb}) == recipe


@pytest.mark.parametrize("family", RULED)
@pytest.mark.parametrize("rule", [0.4, "evbmf", "energy:0.8", "macs:0.7", "params:0.7"])
def test_every_rule_gives_a_plan_that_saves(family: type[Factorize], rule: Any) -> None:
    rows = plan(family(**{family.rule_field: rule}), small_net())
    assert sum(row.macs_after for row in rows) <= sum(row.macs for row in rows)
    assert any(row.applies for row in rows) or family is wb.CP  # small layers rarely gain by CP


@pytest.mark.parametrize("family", [*RULED, wb.Grouped])
@pytest.mark.parametrize("cost", ["macs", "params"])
def test_budgets_are_met_and_used(family: type[Factorize], cost: str) -> None:
    net, x = small_net(), images(1)
    network = trace(net, x)
    sketch = family(**{family.rule_field: f"{cost}:0.7"}).plan_on(network, Weights(net))
    share = getattr(sketch.network.totals, cost) / getattr(network.totals, cost)
    assert 0.5 < share <= 0.7


def test_a_budget_out_of_reach_names_the_least() -> None:
    with pytest.raises(BadValue, match=r"cannot be reached, the least is 0\.\d+"):
        plan(wb.Tucker("macs:0.02"), small_net())


def test_a_plan_shows_why_a_budget_is_out_of_reach() -> None:
    model = wb.load(small_net(), example=images(1))
    table = wb.Tucker("macs:0.02").plan(model)
    assert len(table) and not table.applies.any()
    assert {"left alone: the budget cannot be reached", "left alone: a linear layer has no taps, use SVD"} <= {
        *table.action
    }
    with pytest.raises(BadValue, match="cannot be reached"):
        wb.compress(model, wb.Tucker("macs:0.02"))
    nothing = wb.load(nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)), example=(1, 8))
    assert "no taps" in wb.Tucker("macs:0.5").plan(nothing).action[0]
    with pytest.raises(BadValue, match="no layer that Tucker can treat"):
        wb.compress(nothing, wb.Tucker("macs:0.5"))


def test_stem_and_head_keep_their_energy() -> None:
    rows = actions(plan(wb.SVD(0.1), small_net()))
    assert rows["0"].startswith("left alone: first or last layer: keeping 99% of its energy saves nothing")
    assert rows["12"].startswith("left alone: first or last layer")
    assert actions(plan(wb.SVD(2, layers=["0", "12"]), small_net())) == {"0": "rank 2", "12": "rank 2"}


def test_a_stem_keeps_its_inputs_under_tucker() -> None:
    rows = actions(plan(wb.Tucker("energy:0.3", layers="0"), small_net()))
    assert rows["0"].endswith(", 3") or "keeping 99%" in rows["0"]


def test_mappings_and_unknown_layers() -> None:
    rows = actions(plan(wb.Tucker({"3": 0.25, "5": (3, 2)}), small_net()))
    assert rows["3"] == "ranks 4, 3"
    assert rows["5"] == "ranks 3, 2"
    assert rows["0"] == "left alone: the mapping of ranks does not name it"
    with pytest.raises(UnknownName, match="no layer named 'conv9'"):
        plan(wb.Tucker(layers="conv9"), small_net())


def test_ranks_above_the_full_one() -> None:
    """Left alone where some layer can have that rank; an error where none can."""
    rows = actions(plan(wb.Tucker(14, layers=["3", "5"]), small_net()))
    assert rows["3"].startswith("left alone: ranks 14, 12 would make it")
    assert rows["5"] == "left alone: ranks 8, 8 is the full rank, nothing to save"
    with pytest.raises(BadValue, match="above the full rank of every layer"):
        plan(wb.Tucker(500), small_net())


@pytest.mark.parametrize(("family", "bad"), [(wb.Tucker, 0), (wb.CP, 50.0), (wb.SVD, (3, 4)), (wb.Grouped, 0.5)])
def test_bad_ranks_are_refused_when_written(family: type[Factorize], bad: Any) -> None:
    with pytest.raises(BadValue):
        family(bad)


def test_rounding() -> None:
    rows = actions(plan(wb.Tucker(0.6, layers="3", round_to=8), small_net()))
    assert rows["3"] == "ranks 8, 8"


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_broken_weights_are_said_and_refused(value: float) -> None:
    net, x = small_net(), images()
    with torch.no_grad():
        net[3].weight[0, 0, 0, 0] = value
    assert "NaN or infinite" in actions(plan(wb.Tucker(), net))["3"]
    with pytest.raises(StepFailed, match="'3' has NaN or infinite weights"):
        wb.Tucker().apply(net, Context(example=x[:1]))


@pytest.mark.parametrize("family", FAMILIES)
def test_zero_weights_are_left_alone(family: type[Factorize]) -> None:
    net, x = small_net(), images()
    with torch.no_grad():
        net[3].weight.zero_()
    new, rows = applied(family(**{family.rule_field: 2}), net, x, aware=True)
    assert not {row.layer: row for row in rows}["3"].applies
    assert torch.isfinite(new(x)).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_layer_that_sees_only_zeros_is_fitted_plainly(family: type[Factorize]) -> None:
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1)).eval()
    with torch.no_grad():
        net[0].weight.zero_()
        net[0].bias.fill_(-1.0)
    new, _ = applied(family(**{family.rule_field: 2}), net, images(), aware=True)
    assert torch.isfinite(new(images())).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_without_calibration_images_the_weights_are_fitted(family: type[Factorize]) -> None:
    net, x = small_net(), images(2)
    rank = {family.rule_field: 2}
    plain = family(**rank, data_aware=False).apply(net, Context(example=x[:1], calibration=x))
    assert torch.equal(family(**rank).apply(net, Context(example=x[:1]))(x), plain(x))


def test_images_that_are_not_finite_are_refused() -> None:
    x = images()
    x[0, 0, 0, 0] = float("inf")
    with pytest.raises(BadValue, match="index 0"):
        wb.Tucker().apply(small_net(), Context(example=x[:1], calibration=x))


def test_layers_that_read_what_is_not_finite_are_refused() -> None:
    x, net = images(), small_net()
    net[1].weight.data.fill_(3e38)  # more than float32 holds, where a normalised value is above 1.2
    with pytest.raises(StepFailed, match="data_aware=False"):
        wb.Tucker().apply(net, Context(example=x[:1], calibration=x))


def test_transposed_and_three_dimensional_convolutions_are_treated() -> None:
    folded = nn.Unflatten(2, (4, 4))
    net = nn.Sequential(nn.Conv3d(3, 8, 3), nn.ReLU(), nn.Flatten(2), folded, nn.ConvTranspose2d(8, 8, 3))
    table = wb.SVD(2).plan(wb.load(net, example=(1, 3, 3, 6, 6))).set_index("layer")
    assert table.action["0"] == table.action["4"] == "rank 2"


def test_a_shared_layer_is_replaced_once() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 5, padding=2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(torch.relu(self.conv(x)))

    torch.manual_seed(0)
    net = Twice().eval()
    new, (row,) = applied(wb.SpatialSVD(6), net, images())
    assert row.macs == 2 * trace(net, images(1)).layers[0].macs
    assert relative_output_error(net, new, images()) < 0.8


def test_the_weight_error_of_the_plan_is_that_of_the_factors() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1)).eval()
    x = torch.randn(1, 8, 12, 12)
    (row,) = wb.SpatialSVD(4).plan_on(trace(net, x), Weights(net)).rows
    vertical, horizontal = wb.SpatialSVD(4).apply(net, Context(example=x))[0]
    rebuilt = torch.einsum("orw,rih->oihw", horizontal.weight[:, :, 0], vertical.weight[..., 0])
    weight = net[0].weight.detach()
    assert row.relative_error == pytest.approx(float((weight - rebuilt.detach()).norm() / weight.norm()), rel=1e-4)


@pytest.mark.parametrize("family", [wb.Tucker, wb.SVD, wb.SpatialSVD, wb.Separable, wb.Grouped])
def test_calibration_data_lower_the_error_of_the_outputs(family: type[Factorize]) -> None:
    """On correlated inputs of unequal strength, as behind a ReLU, with a mean that a bias can take."""
    torch.manual_seed(0)
    strength = torch.arange(1, 13) ** -1.0
    x = torch.relu(torch.randn(64, 12, 10, 10).cumsum(1).cumsum(3) * strength[:, None, None]) + 0.3
    net = nn.Sequential(nn.Conv2d(12, 12, 3, padding=1)).eval()
    value = 2 if family in {wb.Separable, wb.Grouped} else 4
    errors = [
        relative_output_error(net, family(value).apply(net, Context(example=x[:1], calibration=seen)), x)
        for seen in (None, x)
    ]
    assert errors[1] < 0.7 * errors[0]


@pytest.mark.parametrize("norm", [False, True])
def test_the_mean_of_the_outputs_is_kept(norm: bool) -> None:
    """In the layer's bias, or where it has none in the running mean of the batch norm behind it."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1, bias=not norm), *([nn.BatchNorm2d(8)] if norm else [])).eval()
    x = torch.randn(400, 6, 8, 8).cumsum(1) + 1.0
    new = wb.SVD(2).apply(net, Context(example=x[:1], calibration=x))
    with torch.no_grad():
        shift = (new(x) - net(x)).mean((0, 2, 3)).norm() / net(x).mean((0, 2, 3)).norm()
    assert float(shift) < 0.02


def test_after_an_earlier_step_the_plan_still_meets_the_budget() -> None:
    model = wb.load(small_net(), example=images(1))
    recipe = wb.Tucker(0.5) | wb.SVD("macs:0.8")
    assert recipe.plan(model).macs <= 0.8 * wb.Tucker(0.5).plan(model).macs
    assert math.isfinite(sum(wb.compress(model, recipe).module(images()).flatten().tolist()))


@pytest.fixture(scope="module")
def model() -> wb.models.Model:
    return wb.load(small_net(), example=images(1))


def figures(network: Network, on: Device) -> tuple[Any, ...]:
    return network.totals, on.latency_ms(network), file_bytes(network), compressed_bytes(network)


def anew(network: Network) -> Network:
    """The same network, of which nothing is remembered and that was made from no other."""
    return Network(tuple(replace(layer) for layer in network.layers))


@pytest.mark.parametrize("family", RULED)
@pytest.mark.parametrize("settings", [{}, {"round_to": 4}, {"allow_growth": True}])
@pytest.mark.parametrize(
    "after",
    [
        wb.Recipe(),
        wb.Quantize("int8").recipe(),
        wb.Quantize("int8-dynamic").recipe(),
        wb.Recalibrate() | wb.Quantize("fp16", exclude="5*"),
        wb.Prune(0.5).recipe(),
        wb.SVD(0.5).recipe(),
        wb.Ternary().recipe(),
    ],
    ids=lambda recipe: recipe.name,
)
def test_what_is_remembered_and_told_by_difference_is_what_a_network_made_anew_costs(
    family: type[Factorize], settings: dict[str, Any], after: wb.Recipe, model: wb.models.Model
) -> None:
    ranks: list[Any] = [percent / 100 for percent in range(3, 101, 8)]
    ranks += [1, 2, 6, "energy:0.6", "evbmf", "macs:0.8", {"0": 2, "3": 0.4}]
    server = device("server-core")
    for rank in ranks:
        recipe = family(rank, **settings) | after
        plan = recipe.plan(model)
        assert figures(plan.network, server) == figures(anew(plan.network), server), rank
        long, weights = anew(model.network), Weights(model.module)
        for step in recipe:
            part = step.plan_on(long, weights)
            long, weights = anew(part.network), weights.after(row.layer for row in part.rows if row.applies)
        assert plan.network == long, rank


def test_of_a_layer_that_only_the_chain_has_the_name_can_be_excluded(model: wb.models.Model) -> None:
    plan = (wb.Tucker(0.5) | wb.Quantize("fp16", exclude="3.0")).plan(model)
    bits = {layer.module: layer.bits for layer in plan.network.layers if layer.module.startswith("3")}
    assert bits == {"3.0": 32, "3.1": 16, "3.2": 16}
    with pytest.raises(UnknownName):
        (wb.Tucker() | wb.Quantize(exclude="conv9")).plan(model)


def test_a_plan_refuses_slips_and_tells_of_budgets_out_of_reach(model: wb.models.Model) -> None:
    with pytest.raises(BadValue, match="above the full rank of every layer"):
        wb.Tucker(500).plan(model)
    with pytest.raises(UnknownName):
        wb.Tucker(layers="conv9").plan(model)
    plan = wb.Tucker("macs:0.02").plan(model)
    assert "cannot be reached" in plan.problem
    with pytest.raises(BadValue, match="cannot be reached"):
        plan.required()


def test_ranks_that_are_equal_numbers_and_other_rules_have_plans_of_their_own(model: wb.models.Model) -> None:
    one, whole = wb.SVD(1).plan(model), wb.SVD(1.0).plan(model)
    assert one.macs < whole.macs == model.network.totals.macs


@pytest.mark.parametrize("base", [Step, Rewrite, Lower, Factorize])
def test_base_classes_cannot_be_made(base: type[Step]) -> None:
    assert base.__name__ not in REGISTRY
    with pytest.raises(TypeError, match="abstract"):
        base()
