"""A plan as a value: what it says of the network before and after, of each step, and of what cannot be done."""

from __future__ import annotations

import copy
import pickle
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import workbench as wb
from workbench.cost import calibrated
from workbench.cost.by_layer import COSTS
from workbench.errors import OutOfReach
from workbench.models import Model
from workbench.plan import Decision, Row, chained


@pytest.fixture(scope="module")
def model() -> Model:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(16, 16, bias=False), nn.ReLU(), nn.Linear(16, 16, bias=False), nn.Linear(16, 4))
    return wb.load(net, example=torch.zeros(1, 16))


RECIPE = wb.SVD({"0": 4}) | wb.SVD({"2": 2})


def test_the_steps_follow_each_other(model: Model) -> None:
    plan = RECIPE.plan(model)
    whole, first, second = 2 * 256 + 64, 256 + 128 + 64, 64 + 128 + 64
    assert (plan.before.macs, plan.parts[0].macs, plan.parts[1].macs) == (whole, first, second) != (0, 0, 0)
    assert plan.macs == plan.totals.macs == 4 * 32 + 2 * 32 + 64
    assert plan.params == 4 * 32 + 2 * 32 + 64 + 4
    assert [plan.seen_by(index).totals.macs for index in (0, 1, 2)] == [whole, 4 * 32 + 256 + 64, plan.macs]
    assert plan.seen_by(3) is plan.original  # no such step
    assert plan.original is model.network and plan.network is plan.parts[-1].network
    assert plan.exact and not plan.problem and plan.required() is plan
    assert plan.memory_access_bytes == plan.network.totals.memory_access_bytes
    assert plan.peak_activation_bytes == plan.network.totals.peak_activation_bytes == 4 * (16 + 4)


@pytest.mark.parametrize("after", [wb.Recipe(), wb.Quantize("int8").recipe(), wb.Quantize("fp16").recipe()])
def test_layers_are_made_when_somebody_looks_at_them(model: Model, after: wb.Recipe) -> None:
    plan = (wb.SVD({"0": 3, "2": 5}) | after).plan(model)
    assert plan.rows and plan.macs and plan.latency_ms and plan.file_bytes and plan.compressed_bytes
    network = plan.network
    assert "layers" not in vars(network)
    assert [one.module for one in network.layers if one.module] == ["0.0", "0.1", "2.0", "2.1", "3"]
    assert [(x.name, x.module, x.reads, x.writes, x.result) for x in network.layers] == [x[1:] for x in network.flow]
    made = [one.writes for one in network.layers]
    assert len({*made}) == len(made) and [x.reads for x in network.layers[1:]] == [(before,) for before in made[:-1]]
    assert pickle.loads(pickle.dumps(network)) == network == copy.copy(network)


def test_latency_is_predicted_of_the_network_after_it(
    model: Model, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # a machine that is not calibrated
    monkeypatch.setattr(calibrated, "_found", {})
    small = wb.compress(model, RECIPE)
    assert RECIPE.plan(model).latency_ms == pytest.approx(wb.cost(small).on("server-core").latency_ms) != 0


def test_what_is_left_alone_does_not_change() -> None:
    assert not [one for one in Decision if one.applies and one.sentence.startswith(("left alone", "stays", "{why}"))]
    assert len({(one.applies, one.name) for one in Decision}) == len(Decision) == len(Decision.__members__)


def test_errors_are_told_of_what_is_approximated(model: Model) -> None:
    plan = RECIPE.plan(model)
    assert list(plan.weight_errors) == ["0", "2"]
    for name, rank in (("0", 4), ("2", 2)):
        values = torch.linalg.svdvals(model.module.get_parameter(f"{name}.weight")).detach()
        least = float((values[rank:].square().sum() / values.square().sum()).sqrt())
        assert plan.weight_errors[name] == pytest.approx(least, abs=1e-3)
    assert not wb.Prune(0.5).plan(model).weight_errors


def test_a_row_a_layer_and_step(model: Model) -> None:
    plan = RECIPE.plan(model)
    frame = plan.frame()
    assert list(frame.columns) == [
        "step", "layer", "kind", "applies", "action", "macs", "macs_after", "params", "params_after", "relative_error",
    ]  # fmt: skip
    assert len(plan) == len(frame) == len(plan.rows) == sum(len(part) for part in plan.parts)
    assert plan["macs"].sum() == frame.macs.sum() and "rank 4" in str(plan) and "rank 4" in plan._repr_html_()
    pairs = {pair.name: pair for pair in plan.pairs}
    assert "0" in pairs and [one.name for one in pairs["0"].after] == ["0.0", "0.1"]
    assert all(any(max(pair.cost(name)) for name in COSTS) for pair in plan.pairs)
    for other in (copy.copy(plan), copy.deepcopy(plan), pickle.loads(pickle.dumps(plan))):
        assert other.rows == plan.rows and other.totals == plan.totals


def test_a_plan_that_does_nothing_says_why(model: Model) -> None:
    plan = wb.SVD({"0": 16}).plan(model)
    assert not plan.changes and plan
    assert plan.idle == "SVD on 1 layer, 0: left alone: rank 16 is the full rank, nothing to save."
    assert RECIPE.plan(model).idle == "" and RECIPE.plan(model).changes
    empty = wb.Recipe().plan(model)
    assert empty and not len(empty) and empty.idle == "" and empty.network is empty.original and empty.exact
    none = wb.Recalibrate().plan(model)  # the network has no norm
    assert [row.decision for row in none.rows] == [Decision.NOTHING]
    assert (none.rows[0].macs, none.rows[0].macs_after, none.rows[0].params, none.rows[0].params_after) == (0, 0, 0, 0)
    assert none.rows[0].relative_error is None and not none.rows[0].about


def test_a_problem_of_one_step_is_the_recipe_s(model: Model) -> None:
    plan = (wb.SVD({"0": 4}) | wb.SVD("macs:0.01")).plan(model)
    assert "cannot be reached" in plan.problem == plan.parts[1].problem
    with pytest.raises(OutOfReach, match="cannot be reached") as refused:
        plan.required()
    assert tuple(refused.value.rows) == plan.rows
    assert plan.network.totals == plan.parts[0].network.totals  # the step that cannot work leaves what it was given


def test_about_is_said_of_what_is_not_settled() -> None:
    layer = ("Step", "a", "conv")
    known = Row(*layer, Decision.FACTORIZED, {"ranks_said": "rank 3"})
    assert known.action == "rank 3" and known._replace(about=True).action == "about rank 3"
    left = Row(*layer, Decision.UNFIT, {"why": "so it is"}, about=True)
    assert left.action.startswith("left alone: so it is; ") and not left.applies


def test_one_uncertain_step_makes_the_chain_uncertain(model: Model) -> None:
    one = wb.SVD({"0": 4}).plan(model)
    assert chained(model.network, [one, one]).exact
    assert not chained(model.network, [one, replace(one, exact=False)]).exact
    assert chained(model.network, []).network is model.network


class Again(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(6, 6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.a(self.a(x))


def test_a_layer_that_runs_twice_and_is_left_alone_costs_twice() -> None:
    (row,) = wb.SVD(5).plan(wb.load(Again(), example=torch.zeros(1, 6))).rows
    assert row.decision is Decision.LARGER
    assert (row.macs, row.macs_after, row.params, row.params_after) == (72, 72, 42, 42)
