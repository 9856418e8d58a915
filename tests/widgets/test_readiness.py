"""When a recipe can be run from the screen, and why not."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench_widgets import editing
from workbench_widgets.planning import plan
from workbench_widgets.store import State
from workbench_widgets.views import run


@pytest.fixture(scope="module")
def study() -> wb.Study:
    return wb.Study(tiny_model(), tiny_data(20))


def state(study: wb.Study, *steps: wb.Step) -> State:
    edited = State(study=study)
    for step in steps:
        edited = editing.add(edited, step)
    return replace(edited, plan=plan(study, edited.recipe), planned=edited.recipe)


def test_a_recipe_runs_once_it_has_a_step(study: wb.Study) -> None:
    assert not run(State())["enabled"]
    assert not run(state(study))["enabled"]
    assert run(state(study, wb.Prune(ratio=0.5)))["enabled"]
    assert run(state(study, wb.Finetune()))["enabled"]
    assert run(state(study, wb.Recalibrate()))["enabled"]


def test_a_control_in_error_turns_run_off_and_says_why(study: wb.Study) -> None:
    wrong = editing.with_problem(state(study, wb.Prune(ratio=0.5)), (0, "ratio"), "50", "For 50 % write 0.5.")
    shown = run(wrong)
    assert not shown["enabled"]
    assert "For 50 % write 0.5." in shown["note"]
    assert run(editing.set_value(wrong, (0, "ratio"), 0.6, final=True))["enabled"]


@pytest.mark.parametrize("step", [wb.Resolution(size=200), wb.Stack3x3(), wb.Prune(ratio=0.0), wb.DropBlocks()])
def test_a_recipe_that_changes_nothing_is_not_run_and_the_first_reason_is_said(study: wb.Study, step: wb.Step) -> None:
    before = state(study, step)
    shown = run(before)
    assert not shown["enabled"]
    assert "changes nothing" in shown["note"]
    row = before.plan.rows[0]  # type: ignore[union-attr]  # it was predicted above
    assert row.action in shown["note"]
    assert run(state(study, wb.Prune(ratio=0.3), step))["enabled"]


def test_of_a_recipe_whose_prediction_is_on_its_way_nothing_is_claimed(study: wb.Study) -> None:
    idle = state(study, wb.Prune(ratio=0.0))
    assert run(editing.set_value(idle, (0, "ratio"), 0.4, final=True))["enabled"]
