"""What was known of the original's weights is not believed of those that an earlier step made."""

from __future__ import annotations

import warnings

import pytest
import torch
from factorizing import images, small_net
from torch import nn

import workbench as wb
from workbench.cost.weights import Weights
from workbench.models import Model
from workbench.step import Step


@pytest.fixture
def model() -> Model:
    return wb.load(small_net(), example=images(1))


FIRST = [wb.Prune(0.9), wb.Ternary(), wb.PruneChannels(0.4), wb.Tucker(0.6, layers="3")]
SECOND = [wb.SVD("energy:0.8"), wb.SpatialSVD("energy:0.8"), wb.SVD("params:0.95"), wb.Prune(0.5)]


@pytest.mark.filterwarnings("ignore::UserWarning")  # notes on zeros, and on what no images could score
@pytest.mark.parametrize("first", FIRST, ids=lambda step: step.brief)
@pytest.mark.parametrize("second", SECOND, ids=lambda step: step.brief)
def test_two_steps_at_once_are_one_after_the_other(first: Step, second: Step, model: Model) -> None:
    """The same layers, ranks and values, although the original's were asked for before."""
    for step in (first, second):
        step.plan(model)
        wb.compress(model, step)
    at_once = wb.compress(model, first | second).module
    in_turn = wb.compress(wb.compress(model, first), second).module
    found, expected = at_once.state_dict(), in_turn.state_dict()
    assert {name: tuple(one.shape) for name, one in found.items()} == {
        name: tuple(one.shape) for name, one in expected.items()
    }
    with torch.no_grad():
        torch.testing.assert_close(at_once(images()), in_turn(images()), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("third", [wb.Prune(0.5), wb.PruneChannels(0.3), wb.SVD(0.5)], ids=lambda step: step.brief)
@pytest.mark.parametrize("second", [wb.SVD("energy:0.7"), wb.SpatialSVD("energy:0.7")], ids=lambda step: step.brief)
def test_what_follows_from_weights_to_come_is_told_as_about(second: Step, third: Step, model: Model) -> None:
    """Ternary weights have other spectra than the original's: ranks differ, also whether there are any."""
    recipe = wb.Ternary() | second | third
    plan = recipe.plan(model)
    assert [part.exact for part in plan.parts] == [True, False, False]
    ternary = wb.compress(model, wb.Ternary())
    real = {row.layer: row for row in second.plan(ternary).rows}
    for row in plan.parts[1].rows:
        assert row.about or (row.applies, row.action) == (real[row.layer].applies, real[row.layer].action)
        assert row.action.startswith("about ") == (row.about and row.applies)
        assert row.action.startswith("left alone: ") or row.applies
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        wb.compress(model, recipe)
    assert not [one for one in said if "fault of the workbench" in str(one.message)]


def test_ranks_of_layers_that_no_step_changed_are_told_as_they_are(model: Model) -> None:
    rows = (wb.Ternary(layers="3") | wb.SVD("energy:0.8")).plan(model).parts[1].rows
    assert [row.layer for row in rows if row.about] == ["3"]
    rows = (wb.Ternary(layers="3") | wb.SVD("params:0.95")).plan(model).parts[1].rows  # each layer depends on all
    assert {row.layer for row in rows if row.about} == {"0", "3", "5", "8", "12"}
    rows = (wb.Ternary(layers="3") | wb.SVD({"3": 4, "5": "energy:0.8"})).plan(model).parts[1].rows
    assert not any(row.about for row in rows)


def net() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)))


def test_weights_are_unknown_from_the_first_change_on() -> None:
    weights = Weights(net())
    first = weights.after(["0"])
    second = first.after(["1"])
    known = [[one.of(name) is not None for name in ("0", "1.0", "1.1")] for one in (weights, first, second)]
    assert known == [[True, True, True], [False, True, True], [False, False, False]]
    assert first.analysed("0", "sum", torch.sum) is None
    assert first.analysed("1.0", "sum", torch.sum) == weights.module[1][0].weight.sum()
    only = weights.after(["1.0"])
    assert only.of("1.0") is None and only.of("1.1") is not None


def test_an_answer_holds_for_what_was_known_then() -> None:
    """And for the network and the question that it was given to; a rank of 1 and one of 1.0 are two questions."""
    weights = Weights(net())
    one, two = (wb.cost(net(), torch.zeros(1, 4)).network for _ in range(2))
    answers = [
        asked.remembered(network, question, lambda: object())
        for network in (one, two)
        for asked in (weights, weights.after(["0"]), weights.after(["1"]))
        for question in (("rank", 1), ("rank", 1.0), ("rank", 2))
    ]
    assert len(set(map(id, answers))) == len(answers)
    question = ("rank", 3)
    first = weights.remembered(one, question, lambda: object())
    assert weights.remembered(one, ("rank", 3), lambda: object()) is first
    assert weights.after([]).remembered(one, ("rank", 3), lambda: object()) is first
