"""The panel that searches: what is asked for, what is drawn before it is measured, what is found, what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from driving import act, shown, until, view
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench.cost.trace import trace
from workbench.recipe import Recipe
from workbench.search.found import Promise
from workbench.search.goal import goal_of
from workbench.search.outlook import outlook
from workbench.study import Study
from workbench.tasks.classification import ACCURACY
from workbench_widgets import wishes
from workbench_widgets.screen import Screen
from workbench_widgets.wishes import Bound, Wish


@pytest.fixture(scope="module")
def study() -> Study:
    made = Study(tiny_model(), tiny_data(300))
    made.run(Recipe(), progress=False)
    return made


@pytest.fixture
def screen(study: Study) -> Iterator[Screen]:
    made = Screen(study)
    shown(made)
    yield made
    for job in made.store.state.jobs:
        job.cancel()
    for job in made.store.state.jobs:
        job.join()


def ask(screen: Screen, minutes: str, *bounds: tuple[str, str], minimise: str = "macs") -> None:
    """Type a wish as a visitor does, row after row."""
    act(screen, "search", "want", minimise=minimise)
    act(screen, "search", "want_time", minutes=minutes)
    while view(screen, "search")["limits"]:
        act(screen, "search", "unbind", index=0)
    for index, (figure, text) in enumerate(bounds):
        act(screen, "search", "bind_more")
        act(screen, "search", "bind", index=index, figure=figure, text="")
        act(screen, "search", "bind", index=index, figure=figure, text=text)


def rows(screen: Screen, kind: str) -> list[dict[str, Any]]:
    return [row for row in view(screen, "chart")["rows"] if row["kind"] == kind]


def test_it_begins_with_a_sensible_wish(screen: Screen) -> None:
    found = view(screen, "search")
    (limit,) = found["limits"]
    assert (limit["figure"], limit["words"], limit["text"], limit["unit"]) == ("loss", "at most", "1", "points")
    assert (found["minimise"], found["minutes"], found["train"]) == ("latency_ms", "10", False)


def test_every_limit_is_read_by_the_engine_in_the_unit_that_stands_behind_it(study: Study) -> None:
    typed = {
        "loss": "1.5", "floor": "92", "speedup": "3", "params": "30", "macs": "25", "latency_ms": "0.5",
        "peak_activation_bytes": "64", "file_bytes": "256",
    }  # fmt: skip
    assert set(typed) == set(wishes.figures(ACCURACY))
    wish = Wish(bounds=tuple(Bound(*pair) for pair in typed.items()))
    goal = goal_of("macs", wishes.where(wish, ACCURACY), ACCURACY)
    assert goal.loss == pytest.approx(0.015)
    assert goal.floor == pytest.approx(0.92)
    assert {one.column: (one.comparison, one.value) for one in goal.limits} == {
        "speedup": (">=", 3.0), "params": ("<=", 0.3), "macs": ("<=", 0.25), "latency_ms": ("<=", 0.5),
        "peak_activation_bytes": ("<=", 64e3), "file_bytes": ("<=", 256e3),
    }  # fmt: skip


def test_each_row_begins_with_a_number_that_can_be_asked_for(screen: Screen, study: Study) -> None:
    while (before := view(screen, "search"))["more"]:
        act(screen, "search", "bind_more")
        if len(view(screen, "search")["limits"]) == len(before["limits"]):
            break
    limits = view(screen, "search")["limits"]
    assert len(limits) >= 7
    assert len({one["figure"] for one in limits}) == len(limits)
    assert not [one["problem"] for one in limits if one["problem"]]
    file = next(one for one in limits if one["figure"] == "file_bytes")
    assert 0.3 < float(file["text"]) * 1e3 / study.baseline["file_bytes"].value < 0.7


@pytest.mark.parametrize(("figure", "text"), [("loss", "-1"), ("loss", "one"), ("speedup", ""), ("params", "150")])
def test_what_is_no_limit_is_said_beside_its_row_and_searches_nothing(screen: Screen, figure: str, text: str) -> None:
    ask(screen, "1", (figure, text))
    (limit,) = view(screen, "search")["limits"]
    assert text.strip("-") in limit["problem"]
    act(screen, "search", "search")
    until(lambda: view(screen, "search")["problem"] == limit["problem"], "it is said")
    until(lambda: view(screen, "status")["kind"] == "error", lambda: view(screen, "status"))
    assert not screen.store.state.jobs


def test_a_comma_is_a_point(screen: Screen) -> None:
    ask(screen, "1,5", ("loss", "0,5"))
    assert not view(screen, "search")["limits"][0]["problem"]
    assert wishes.minutes(screen.store.state.wish) == 1.5


@pytest.mark.slow
def test_a_search_is_predicted_first_and_found_at_last(screen: Screen, study: Study) -> None:
    ask(screen, "0.4", ("loss", "90"))
    act(screen, "search", "search")
    front = until(lambda: rows(screen, "front"), "the predicted front")
    assert [one["id"] for one in view(screen, "search")["front"]] == [one["id"] for one in front]
    found = until(lambda: view(screen, "search")["found"], lambda: (view(screen, "search"), view(screen, "status")))
    json.dumps(view(screen, "search"), allow_nan=False)
    best = study[found["id"]]
    assert screen.store.state.selected == best.id
    assert best["macs"].value == min(one["macs"].value for one in screen.store.state.searches[0].found)  # type: ignore[union-attr]
    assert [best.name in one["text"] for one in found["proofs"]] == [True, True]
    assert "validation" in found["proofs"][0]["text"] and "test" in found["proofs"][1]["text"]
    assert [row["layer"] for row in found["why"]] == ["conv1", "conv2", "head"]
    assert {one["id"] for one in rows(screen, "measured")} == {one.id for one in study.variants}
    assert not [job for job in view(screen, "run")["jobs"] if job["active"]]
    act(screen, "search", "take_found")
    assert screen.store.state.recipe == best.recipe
    act(screen, "chart", "select", id=front[0]["id"])  # a point of the front goes to the editor, and is not chosen
    assert screen.store.state.recipe == screen.store.state.searches[0].front[0].recipe
    assert screen.store.state.selected == best.id


@pytest.mark.slow
def test_a_search_that_is_stopped_keeps_what_it_measured(study: Study) -> None:
    own = Study(tiny_model(1), study.data)
    screen = Screen(own)
    shown(screen)
    ask(screen, "5", ("loss", "90"))
    act(screen, "search", "search")
    until(lambda: len(own.variants) > 1, "something is measured")
    job = until(lambda: view(screen, "search")["job"], "the progress")
    assert job["left"] <= 300
    act(screen, "search", "cancel", job=job["id"])
    until(lambda: "Stopped" in view(screen, "search")["said"], lambda: view(screen, "search"))
    kept = len(own.variants)
    assert kept > 1
    assert view(screen, "search")["label"] == "Search on"
    assert view(screen, "search")["problem"] == ""
    until(lambda: len(view(screen, "table")["rows"]) == kept, "the table has them")


@pytest.mark.slow
def test_limits_that_cannot_be_met_are_said_in_the_panel(screen: Screen) -> None:
    ask(screen, "1", ("loss", "90"), ("macs", "0.001"))
    act(screen, "search", "search")
    said = until(lambda: view(screen, "search")["problem"], lambda: view(screen, "status"))
    assert "MACs" in said
    assert "the least that any choice reaches is" in said
    assert view(screen, "search")["job"] is None
    assert view(screen, "search")["found"] is None


def test_training_without_a_place_to_train_on_is_refused_in_the_panel(study: Study) -> None:
    splits = {name: study.data[name] for name in ("calibration", "validation", "test")}
    pairs = {name: (one.read(range(len(one)))[0], one.labels) for name, one in splits.items()}
    screen = Screen(Study(tiny_model(), wb.data(pairs, classes=tuple("abcd"))))
    shown(screen)
    assert "no 'train' split" in view(screen, "search")["train_hint"]
    act(screen, "search", "want_training", on=True)
    act(screen, "search", "search")
    assert "train" in until(lambda: view(screen, "search")["problem"], "it is said")


def test_a_published_page_plans_no_longer_than_its_jobs_may_take(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKBENCH_LIMIT_JOB_MINUTES", "10")
    act(screen, "search", "want_time", minutes="10")
    found = view(screen, "search")
    assert found["minutes_hint"] == "at most 7 on this page"
    assert "10 minutes are more than the 7" in found["minutes_problem"]
    act(screen, "search", "want_time", minutes="7")
    assert view(screen, "search")["minutes_problem"] == ""


def test_a_recipe_s_outlook_is_what_it_comes_to(study: Study) -> None:
    recipe = wb.SVD(rank=0.3).recipe()
    promise = Promise(recipe, value=1.0, loss=0.02, gap=0.0, speedup=3.0)
    found = outlook(recipe.plan(study.model), study.baseline, study.task.principal, promise)
    built = trace(wb.compress(study.model, recipe).module, study.model.example).totals
    assert (found["macs"], found["params"]) == (built.macs, built.params)
    assert found["accuracy"] == pytest.approx(study.baseline["accuracy"].value - 0.02)
    assert found["accuracy_change"] == -0.02
    assert found["speedup"] == 3.0
    assert found["latency_ms"] * found["speedup"] == pytest.approx(study.baseline["latency_ms"].value)
    unknown = outlook(recipe.plan(study.model), study.baseline, study.task.principal)
    assert "accuracy" not in unknown


def test_the_recipe_being_edited_stands_hollow_in_the_chart_and_moves_with_the_slider(
    screen: Screen, study: Study
) -> None:
    assert not rows(screen, "recipe")
    act(screen, "chart", "axis", axis="x", column="params")
    act(screen, "recipe", "add", name="SVD")
    places = []
    for rank in (0.5, 0.3):
        act(screen, "recipe", "set", index=0, name="rank", value=rank, final=False)
        recipe = screen.store.state.recipe
        params = trace(wb.compress(study.model, recipe).module, study.model.example).totals.params
        wanted = [pytest.approx(params / 1e3)]
        until(lambda wanted=wanted: [one["x"] for one in rows(screen, "recipe")] == wanted, "the mark has moved")
        (mark,) = rows(screen, "recipe")
        places.append(mark["x"])
        assert not mark["known"]  # its accuracy is not
    assert places[0] > places[1]
    assert "not known before it runs" in view(screen, "chart")["summary"]
    act(screen, "run", "run")
    until(lambda: study.find(screen.store.state.recipe), "it is measured")
    until(lambda: not rows(screen, "recipe"), "it is a point like the others now")
