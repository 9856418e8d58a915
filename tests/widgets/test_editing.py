"""Editing a recipe: every change is a value, so each can be taken back."""

from __future__ import annotations

from dataclasses import replace

import pytest

import workbench as wb
from workbench.errors import BadValue
from workbench_widgets import editing
from workbench_widgets.store import Message, State

PRUNE, HALF, EIGHT = wb.Prune(0.5), wb.Quantize("fp16"), wb.Quantize("int8")


def state(*steps: wb.steps.Step) -> State:
    return State(recipe=wb.Recipe(steps), stack=editing.of_recipe(wb.Recipe(steps)))


def test_undo_and_redo_walk_through_every_change() -> None:
    seen = [state()]
    seen.append(editing.add(seen[-1], PRUNE))
    seen.append(editing.set_value(seen[-1], (0, "ratio"), 0.8, final=True))
    seen.append(editing.add(seen[-1], EIGHT))
    recipes = [one.recipe for one in seen]
    now = seen[-1]
    for expected in reversed(recipes[:-1]):
        now = editing.undo(now)
        assert now.recipe == expected
    assert editing.undo(now) is now
    for expected in recipes[1:]:
        now = editing.redo(now)
        assert now.recipe == expected
    assert editing.redo(now) is now


def test_a_new_change_forgets_what_was_taken_back() -> None:
    now = editing.undo(editing.add(state(PRUNE), EIGHT))
    assert now.future
    assert not editing.add(now, HALF).future


def test_a_drag_is_one_change() -> None:
    now = state(PRUNE)
    for value in (0.51, 0.52, 0.53):
        now = editing.set_value(now, (0, "ratio"), value, final=False)
    now = editing.set_value(now, (0, "ratio"), 0.54, final=True)
    assert editing.undo(now).recipe == wb.Recipe((PRUNE,))
    again = editing.set_value(now, (0, "ratio"), 0.6, final=False)  # a second drag is a second change
    assert editing.undo(again).recipe == wb.Recipe((wb.Prune(0.54),))


def test_a_rewrite_is_put_before_what_lowers() -> None:
    assert editing.add(state(EIGHT), PRUNE).recipe.steps == (PRUNE, EIGHT)


def test_an_order_that_cannot_work_is_refused() -> None:
    with pytest.raises(BadValue, match="must come after"):
        editing.move(state(PRUNE, EIGHT), 1, -1)


def test_move_and_remove() -> None:
    other = wb.Prune(0.9)
    assert editing.move(state(PRUNE, other), 0, 1).recipe.steps == (other, PRUNE)
    assert editing.remove(state(PRUNE, EIGHT), 0).recipe.steps == (EIGHT,)


def test_a_bad_value_leaves_the_recipe_and_says_where() -> None:
    with pytest.raises(BadValue, match=r"write 0\.5"):
        editing.set_value(state(PRUNE), (0, "ratio"), 50.0, final=True)
    now = editing.with_problem(state(PRUNE), (0, "ratio"), "50", "why")
    assert now.recipe.steps == (PRUNE,)
    assert now.problem is not None
    assert (now.problem.step, now.problem.setting, now.problem.text) == (0, "ratio", "50")


def test_what_was_said_of_the_recipe_before_does_not_stay_beside_the_next() -> None:
    failed = replace(state(PRUNE), message=Message("It failed.", "error"))
    assert editing.add(failed, EIGHT).message == Message()
    assert editing.undo(replace(editing.add(state(), PRUNE), message=failed.message)).message == Message()
    assert editing.set_value(failed, (0, "ratio"), PRUNE.ratio, final=True).message == Message()  # as it was
    assert editing.focus(failed, 0).message == failed.message
    busy = replace(failed, message=Message("Running.", "busy"))
    assert editing.add(busy, EIGHT).message == busy.message
