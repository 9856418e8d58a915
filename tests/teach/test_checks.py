"""What the labs call right, against torch, a plan and brute force; and what is said of wrong answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.errors import UnknownName
from workbench.teach import check, forget, rubric
from workbench.teach.judging import Choice, Function, Number, Question
from workbench.teach.labs import LABS, filters, low_rank
from workbench.teach.made import Made

EVERY = [one for questions in LABS.values() for one in questions]
#: What was made is judged in test_capstone.py: it is no answer that can be written down.
QUESTIONS = [one for one in EVERY if not isinstance(one, Made)]


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    forget()
    yield
    forget()


def named(name: str) -> Any:
    return next(one for one in QUESTIONS if one.name == name).right  # type: ignore[attr-defined]


def chain(**setting: Any) -> tuple[int, int]:
    """MACs and weights that the workbench plans in place of the lab's convolution."""
    layer = nn.Conv2d(64, 128, 3, padding=1, bias=False)
    model = wb.load(nn.Sequential(layer), example=torch.zeros(1, 64, 28, 28))
    (name, value), = setting.items()  # fmt: skip
    step = wb.Tucker(rank=value, layers="*") if name == "tucker" else wb.CP(rank=value, layers="*")
    plan = step.plan(model)
    return plan.macs, plan.network.totals.params


def test_what_chains_cost_is_what_the_workbench_plans() -> None:
    assert named("tucker-macs") == chain(tucker=(32, 16))[0]  # of outputs, of inputs
    assert named("cp-macs") == chain(cp=48)[0]
    r = named("tucker-rank")
    half = low_rank.CONV_MACS / 2
    assert chain(tucker=(2 * r, r))[0] <= half < chain(tucker=(2 * r + 2, r + 1))[0]


def test_svd_by_torch() -> None:
    thin = nn.Sequential(nn.Linear(512, 32, bias=False), nn.Linear(32, 256, bias=False))
    assert named("svd-params") == sum(one.numel() for one in thin.parameters())
    r = named("svd-break-even")
    assert r * (256 + 512) < 256 * 512 <= (r + 1) * (256 + 512)
    matrix = np.random.default_rng(3).normal(size=(7, 5))
    u, s, v = torch.linalg.svd(torch.from_numpy(matrix), full_matrices=False)
    nearest = (u[:, :2] * s[:2]) @ v[:2]
    error = float(torch.linalg.norm(nearest - torch.from_numpy(matrix)) / torch.linalg.norm(torch.from_numpy(matrix)))
    assert low_rank.best_error(matrix, 2) == pytest.approx(error)
    assert 100 < 0.9 * 130.25 <= 125 and named("energy-rank") == 2  # 10² alone is too little, 10² + 5² enough


def weights(*layers: nn.Module) -> int:
    return sum(one.numel() for layer in layers for one in layer.parameters())


def test_filters_by_torch() -> None:
    def conv(kernel: Any, groups: int = 1, c: int = 96) -> nn.Conv2d:
        return nn.Conv2d(c, c, kernel, groups=groups, bias=False)

    assert named("two-3x3") == pytest.approx(weights(conv(3), conv(3)) / weights(conv(5)))
    assert named("spatial") == pytest.approx(weights(conv((3, 1)), conv((1, 3))) / weights(conv(3)))
    assert named("separable") == pytest.approx(weights(conv(3, 96), conv(1)) / weights(conv(3)))
    assert named("groups") == weights(conv(1, 4))
    maps = torch.randn(2, 12, 3, 5)
    assert np.array_equal(filters.shuffled(maps.numpy(), 3), nn.ChannelShuffle(3)(maps).numpy())


def wrong_answers(question: Question) -> list[Any]:
    if isinstance(question, Choice):
        return [*question.wrong, "yes"]
    assert isinstance(question, (Number, Function))
    return [one.answer for one in question.mistakes]


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda one: one.name)
def test_right_is_right_and_usual_mistakes_get_their_own_word(question: Any) -> None:
    assert check(question.name, question.right).passed
    wrong = wrong_answers(question)
    verdicts = [check(question.name, one) for one in wrong]
    assert len(wrong) >= 5 and not any(one.passed for one in verdicts)
    said = [one.text for one in verdicts]
    assert len({*said}) == len(said) and not {*said} & {*question.hints}


@pytest.mark.parametrize("question", EVERY, ids=lambda one: one.name)
@pytest.mark.parametrize("answer", [None, ..., "", float("nan"), [1, 2], "three", object(), lambda: None, True])
def test_no_other_thing_passes(question: Question, answer: Any) -> None:
    found = check(question.name, answer)
    assert not found.passed and found.text and found.points == 0


def test_numbers_of_any_kind_are_taken() -> None:
    for answer in (24576, 24576.0, np.int64(24576), torch.tensor(24576), np.array([24576])):
        assert check("svd-params", answer).passed
    assert check("tucker-macs", 1.004 * named("tucker-macs")).passed
    assert not check("tucker-macs", 1.006 * named("tucker-macs")).passed
    assert not check("svd-params", 24577).passed  # what is counted is exact


def test_hints_become_plainer_and_the_last_one_stays() -> None:
    first, second, third = (check("svd-params", one).text for one in (3, 5, 7))
    assert first != second == third
    assert check("svd-params", 24576).passed


def test_units_and_percentages_are_told_apart() -> None:
    assert "million" in check("tucker-macs", named("tucker-macs") / 1e6).text
    assert "percentage" in check("two-3x3", 72).text


def test_a_function_that_raises_or_changes_its_input_is_told() -> None:
    def raising(matrix: Any, rank: int) -> float:
        raise ZeroDivisionError("oh")

    def spoiling(matrix: Any, rank: int) -> float:
        found = low_rank.best_error(matrix, rank)
        matrix[:] = 0
        return found

    assert "ZeroDivisionError" in check("svd-error", raising).text
    assert check("svd-error", spoiling).passed
    assert "without calling" in check("svd-error", 0.3).text


def test_the_rubric_counts_what_was_reached() -> None:
    check("svd-params", 1)
    check("svd-params", 24576)
    check("tucker-macs", named("tucker-macs"))
    found = rubric("low-rank").set_index("question")
    assert found.loc["svd-params", ["points", "reached", "tried"]].tolist() == [1, 1, 2]
    assert found["reached"].sum() == 3
    assert {*rubric()["lab"]} == {*LABS}


def test_names_that_there_are_not() -> None:
    with pytest.raises(UnknownName, match="tucker-macs"):
        check("tucker-mac", 1)
    with pytest.raises(UnknownName, match="low-rank"):
        rubric("lowrank")


def test_a_verdict_shows_itself_in_a_notebook() -> None:
    shown = check("svd-error", lambda a, r: 1 / 0)._repr_html_()
    assert 'role="status"' in shown and "Not yet." in shown
    assert "<" not in check("why-not-faster", "<script>").text
