"""Layers, limits, lineage, comparison, and what was measured elsewhere: from a panel's message to its view."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from driving import act, until, view
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench import published as module
from workbench.estimate import Estimate, exact
from workbench.published import publish
from workbench.recipe import Recipe
from workbench.study import Study
from workbench.variant import Variant
from workbench_widgets import editing, scope
from workbench_widgets.planning import plan
from workbench_widgets.screen import Screen
from workbench_widgets.store import State

RECIPES = (Recipe(), wb.SVD(rank=0.5).recipe(), wb.SVD(rank=0.5) | wb.Quantize("int8"), wb.Quantize("fp16").recipe())


def invented(study: Study, recipe: Recipe, place: int) -> Variant:
    totals = recipe.plan(study.model)
    figures = {
        "accuracy": Estimate(0.9 - 0.02 * place, 0.88 - 0.02 * place, 0.92 - 0.02 * place, 100),
        "latency_ms": Estimate(2.0 / (1 + place), 1.9 / (1 + place), 2.1 / (1 + place), 50, "ms"),
        "speedup": Estimate(1.0 + place, 0.9 + place, 1.1 + place, 50),
        "file_bytes": exact(4000 / (1 + place)), "compressed_bytes": exact(3000 / (1 + place)),
        "macs": exact(totals.macs), "params": exact(totals.params),
        "memory_access_bytes": exact(totals.memory_access_bytes), "predicted_speedup": exact(1.0 + place),
    }  # fmt: skip
    id_ = study.id_of(recipe)
    return Variant(id_, recipe, figures, Path("none"), Path("none"), model=study.model, data=study.data)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Study:
    """Nothing measured here, four variants measured elsewhere."""
    monkeypatch.setattr(module, "FOLDER", tmp_path)
    there, here = (Study(tiny_model(), tiny_data()) for _ in range(2))
    for place, recipe in enumerate(RECIPES):
        there._variants[there.id_of(recipe)] = invented(there, recipe, place)
    (tmp_path / f"{here.model.name}.json").write_text(publish(there, "another machine", "2026-01-02"))
    return here


@pytest.fixture
def screen(study: Study) -> Iterator[Screen]:
    made = Screen(study)
    until(lambda: view(made, "layers")["rows"], "the study is shown")
    yield made
    for job in made.store.state.jobs:
        job.cancel()


def test_the_first_page_shows_what_was_measured_elsewhere_and_says_so(screen: Screen) -> None:
    chart, table = view(screen, "chart"), view(screen, "table")
    assert len(chart["rows"]) == len(table["rows"]) == len(RECIPES)
    assert all(row["elsewhere"] for row in chart["rows"])
    assert "another machine" in chart["elsewhere"]["text"]
    assert all("elsewhere" in row["remark"] for row in table["rows"])
    assert view(screen, "variant")["tag"] == "measured elsewhere"
    assert not screen.store.state.jobs  # nobody's processor is used unasked


def test_what_is_not_here_cannot_be_exported_but_its_recipe_can_be_edited(screen: Screen, study: Study) -> None:
    act(screen, "variant", "export", format="onnx")
    assert "Measure it here first" in view(screen, "status")["text"]
    act(screen, "table", "select", id=study.id_of(RECIPES[2]))
    act(screen, "variant", "edit")
    assert screen.store.state.recipe == RECIPES[2]


def test_measured_here_replaces_measured_elsewhere(screen: Screen, study: Study) -> None:
    published = screen.store.state.published
    assert published is not None
    screen.store.update(published=replace(published, variants=published.variants[:2]))  # two are enough to wait for
    act(screen, "chart", "remeasure")
    until(lambda: not any(row["remark"] for row in view(screen, "table")["rows"]), lambda: view(screen, "status"))
    assert [v.recipe for v in study.variants] == list(RECIPES[:2])
    assert len(view(screen, "table")["rows"]) == 2
    assert view(screen, "chart")["elsewhere"] is None


def test_limits_grey_and_never_drop(screen: Screen) -> None:
    act(screen, "chart", "limit", text="accuracy >= 0.87 and macs > 0")
    rows = view(screen, "table")["rows"]
    assert [row["grey"] for row in rows] == [False, False, True, True]
    assert [row["feasible"] for row in view(screen, "chart")["rows"]] == [True, True, False, False]
    assert "2 of 4 variants" in view(screen, "chart")["limit"]["said"]
    act(screen, "chart", "limit", text="accuracy >= 2")  # which nothing meets
    assert all(row["grey"] for row in view(screen, "table")["rows"])
    assert len(view(screen, "chart")["rows"]) == len(RECIPES)
    act(screen, "chart", "limit", text="accuracy is good")
    assert "cannot be read" in view(screen, "chart")["limit"]["problem"]
    assert not any(row["grey"] for row in view(screen, "table")["rows"])


def test_a_dragged_rule_and_the_text_are_one_limit(screen: Screen) -> None:
    act(screen, "chart", "axis", axis="x", column="latency_ms")
    act(screen, "chart", "limit", text="accuracy >= 0.85 and latency_ms < 1.5")
    x, y = view(screen, "chart")["rules"]
    assert (x["value"], x["sign"], x["low"]) == (1.5, "<", False)
    assert (y["value"], y["unit"], y["low"]) == (85, " %", True)
    act(screen, "chart", "drag", axis="y", value=87.4321)
    assert screen.store.state.limit == "accuracy >= 0.8743 and latency_ms < 1.5"
    assert [row["grey"] for row in view(screen, "table")["rows"]] == [True, False, True, True]
    act(screen, "chart", "drag", axis="x", value=None)
    assert screen.store.state.limit == "accuracy >= 0.8743"
    assert view(screen, "chart")["rules"][0]["value"] is None
    assert view(screen, "chart")["rules"][1]["value"] == pytest.approx(87.43)
    act(screen, "chart", "axis", axis="x", column="macs")
    act(screen, "chart", "drag", axis="x", value=0.1)
    assert screen.store.state.limit == "accuracy >= 0.8743 and macs <= 100000"


def test_a_rule_replaces_what_cannot_be_read(screen: Screen) -> None:
    act(screen, "chart", "limit", text="accuracy is good")
    assert [one["value"] for one in view(screen, "chart")["rules"]] == [None, None]
    act(screen, "chart", "drag", axis="y", value=90)
    assert screen.store.state.limit == "accuracy >= 0.9"
    assert view(screen, "chart")["limit"]["problem"] == ""
    act(screen, "chart", "drag", axis="z", value=1)
    assert view(screen, "status")["kind"] == "error"


def test_parallel_axes_come_and_go(screen: Screen) -> None:
    act(screen, "chart", "tab", tab="parallel")
    shown = view(screen, "chart")["shown"]
    assert "validation_accuracy" not in shown
    assert "compressed_bytes" not in shown
    act(screen, "chart", "parallel", column="compressed_bytes", on=True)
    assert view(screen, "chart")["shown"] == [*shown, "compressed_bytes"]
    for name in shown:
        act(screen, "chart", "parallel", column=name, on=False)
    assert view(screen, "chart")["shown"] == ["compressed_bytes"]
    act(screen, "chart", "parallel", column="compressed_bytes", on=False)
    assert "one axis at least" in view(screen, "status")["text"]


@pytest.mark.parametrize("tab", ["tradeoff", "speedup", "parallel", "lineage"])
def test_every_chart_shows_every_variant_and_says_so(screen: Screen, tab: str) -> None:
    act(screen, "chart", "limit", text="accuracy >= 0.88")
    act(screen, "chart", "tab", tab=tab)
    shown = view(screen, "chart")
    assert {row["id"] for row in shown["rows"]} - {None} == {row["id"] for row in view(screen, "table")["rows"]}
    assert "4 variants" in shown["summary"]
    assert shown["caption"]


def test_the_front_is_sought_within_the_limits(screen: Screen) -> None:
    act(screen, "chart", "limit", text="latency_ms > 0.9")
    marks = {row["name"]: row["mark"]["label"] for row in view(screen, "table")["rows"]}
    assert marks == {
        "original": "Original", "SVD 0.5": "Pareto front", "SVD 0.5 + int8": "Other variant", "fp16": "Other variant",
    }  # fmt: skip


def test_axes_scales_and_areas(screen: Screen) -> None:
    act(screen, "chart", "log", axis="x", on=True)
    act(screen, "chart", "size", column="file_bytes")
    text = str(view(screen, "chart")["spec"])
    assert "'type': 'log'" in text
    assert "File size" in text
    sizes = [row["size"] for row in view(screen, "chart")["rows"]]
    assert sizes == pytest.approx([0.004, 0.002, 0.004 / 3, 0.001], rel=1e-4)


def test_a_comparison_shows_differences_only(screen: Screen, study: Study) -> None:
    act(screen, "table", "select", id=study.id_of(RECIPES[1]))
    act(screen, "variant", "compare", id=study.id_of(RECIPES[2]))
    found = view(screen, "variant")["comparison"]
    assert [row["step"] for row in found["recipe"]] == ["Quantize()"]
    labels = [row["label"] for row in found["figures"]]
    assert "MACs" not in labels  # int8 leaves them as they are
    assert "Memory access" in labels
    changes = {row["label"]: row["change"] for row in found["figures"]}
    assert changes["Accuracy"] == "measured apart"  # these figures came without what a paired comparison needs
    assert changes["Measured speed-up"].startswith("0.67× as fast (0.6")  # 2 over 3, from both ratios to the original
    assert "Latency" not in labels  # two milliseconds of two moments do not compare
    assert found["layers"]
    assert "measure them on this machine" in found["missing"]
    act(screen, "variant", "answers")
    assert "Measure it here first" in view(screen, "status")["text"]
    act(screen, "variant", "compare", id="")
    assert view(screen, "variant")["comparison"] is None


def test_lineage_puts_a_recipe_under_the_one_it_continues(screen: Screen) -> None:
    act(screen, "table", "lineage", on=True)
    found = [(row["name"], row["depth"]) for row in view(screen, "table")["rows"]]
    assert found == [("original", 0), ("SVD 0.5", 1), ("SVD 0.5 + int8", 2), ("fp16", 1)]


def test_a_layer_chosen_in_the_table_scopes_the_step_being_edited(screen: Screen) -> None:
    act(screen, "recipe", "add", name="SVD")
    act(screen, "recipe", "add", name="Prune")
    act(screen, "recipe", "focus", index=0)
    act(screen, "layers", "toggle", layer="conv2")
    assert [entry.step.layers for entry in screen.store.state.stack] == ["conv2", "*"]  # type: ignore[attr-defined]
    until(lambda: [r["id"] for r in view(screen, "layers")["rows"] if r["chosen"]] == ["conv2"], "the choice")
    shown = view(screen, "layers")
    assert [row["id"] for row in shown["chart"]["rows"] if row["chosen"]] == ["conv2"]
    assert "1 layer alone" in shown["scope"]
    act(screen, "layers", "scope", layers=[])
    assert screen.store.state.stack[0].step.layers == "*"  # type: ignore[attr-defined]
    act(screen, "recipe", "undo")
    assert screen.store.state.stack[0].step.layers == "conv2"  # type: ignore[attr-defined]


def test_layers_chosen_before_there_is_a_step_are_for_the_next_one(screen: Screen) -> None:
    act(screen, "layers", "toggle", layer="conv1")
    act(screen, "recipe", "add", name="SVD")
    assert screen.store.state.stack[0].step.layers == ("conv1",)  # type: ignore[attr-defined]


def test_a_step_after_a_factorization_is_scoped_to_the_layers_parts(study: Study) -> None:
    state = State(study=study)
    state = editing.add(editing.add(state, wb.SVD(rank=0.25)), wb.Prune(0.5))
    state = replace(state, plan=plan(study, state.recipe), planned=state.recipe)
    state = scope.toggle(state, "conv2")
    assert state.stack[1].step.layers == "conv2.*"  # type: ignore[attr-defined]
    assert scope.chosen(state) == {"conv2"}
    assert not plan(study, state.recipe).problem


def test_shares_are_of_the_original_and_add_up(screen: Screen) -> None:
    rows = view(screen, "layers")["rows"]
    totals = screen.store.state.plan.original.totals  # type: ignore[union-attr]
    for index, total in enumerate((totals.macs, totals.params, totals.memory_access_bytes)):
        assert sum(row["cells"][index]["value"] for row in rows) == total
        assert max(row["cells"][index]["heat"] for row in rows) == 1


def test_a_step_switched_off_is_kept_and_left_out(screen: Screen) -> None:
    act(screen, "recipe", "add", name="SVD")
    act(screen, "recipe", "set", index=0, name="rank", value=0.3)
    act(screen, "recipe", "switch", index=0, on=False)
    assert screen.store.state.recipe == Recipe()
    assert view(screen, "recipe")["steps"][0]["main"][0]["text"] == "0.3"
    act(screen, "recipe", "switch", index=0, on=True)
    assert screen.store.state.recipe == wb.SVD(rank=0.3).recipe()
    act(screen, "recipe", "undo")
    assert screen.store.state.recipe == Recipe()
    assert len(screen.store.state.stack) == 1


def test_a_ready_recipe_replaces_the_stack_and_undo_brings_it_back(screen: Screen) -> None:
    act(screen, "recipe", "add", name="Prune")
    for entry in view(screen, "recipe")["ready"]:
        act(screen, "recipe", "ready", name=entry["name"])
        assert screen.store.state.recipe == Recipe.load(entry["name"])
        assert Recipe.from_yaml(view(screen, "recipe")["yaml"]) == screen.store.state.recipe
        act(screen, "recipe", "undo")
        assert screen.store.state.recipe == wb.Prune().recipe()
    act(screen, "recipe", "ready", name="../../secrets")
    assert "Not" not in view(screen, "status")["text"]
    assert view(screen, "status")["kind"] == "error"


def test_a_step_says_how_far_it_reaches(screen: Screen) -> None:
    def reach() -> Any:
        return view(screen, "recipe")["steps"][0]["reach"]

    act(screen, "recipe", "add", name="SVD")
    until(reach, "the plan")
    assert reach() == "1 layer changes, 2 left alone."


def test_a_step_that_changes_nothing_says_so_also_where_it_is_folded(screen: Screen) -> None:
    def steps() -> Any:
        return view(screen, "recipe")["steps"]

    act(screen, "recipe", "add", name="SVD")
    act(screen, "recipe", "add", name="Stack3x3")  # for kernels of 5 x 5 and 7 x 7, which this network has not
    until(lambda: steps()[1]["reach"], "the plan")
    assert [one["idle"] for one in steps()] == [False, True]
    act(screen, "recipe", "switch", index=1, on=False)
    until(lambda: steps()[1]["reach"].startswith("Off"), "the plan")
    assert not steps()[1]["idle"]


def test_a_step_is_known_by_the_same_key_where_it_is_moved_to(screen: Screen) -> None:
    """So that what the page knows of it, such as whether it is unfolded, goes with it."""

    def keys() -> list[str]:
        return [one["key"] for one in view(screen, "recipe")["steps"]]

    for name in ("SVD", "Prune", "SVD"):
        act(screen, "recipe", "add", name=name)
    before = keys()
    assert len(set(before)) == 3
    act(screen, "recipe", "move", index=1, by=-1)
    assert keys() == [before[1], before[0], before[2]]


def test_time_and_sensitivity_of_layers_are_measured_on_request(screen: Screen) -> None:
    asks = {one["action"]: one for one in view(screen, "layers")["asks"]}
    assert asks["times"]["enabled"]
    assert not asks["sensitivity"]["enabled"]  # to which step?
    assert "time" not in [one["key"] for one in view(screen, "layers")["columns"]]
    act(screen, "recipe", "add", name="Prune")
    act(screen, "layers", "times")
    until(lambda: len(screen.store.state.times) == 1, lambda: view(screen, "status"))
    until(lambda: view(screen, "layers")["asks"][1]["enabled"], "the next question can be asked")
    act(screen, "layers", "sensitivity")
    keys = lambda: [one["key"] for one in view(screen, "layers")["columns"] if one["heat"]]  # noqa: E731
    until(lambda: "sensitivity" in keys(), lambda: view(screen, "status"))
    shown, heat = view(screen, "layers"), keys()
    assert heat[-2:] == ["time", "sensitivity"]
    assert shown["columns"][heat.index("sensitivity") + 2]["unit"] == "to Prune 0.5, 10⁻³ nats"
    cells = {row["module"]: row["cells"] for row in shown["rows"] if row["module"]}
    measured = dict(screen.store.state.times)[Recipe()]
    for name in ("conv1", "conv2", "head"):
        time_, harm = cells[name][heat.index("time")], cells[name][heat.index("sensitivity")]
        assert time_["value"] == pytest.approx(measured[name])
        assert 0 < time_["heat"] <= 1
        assert harm["value"] == screen.store.state.sensitivity.layers[name].value  # type: ignore[union-attr]
    json.dumps(shown, allow_nan=False)
