"""The screen without a browser: the real engine on a tiny network, driven as panels drive it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest
from driving import SECONDS, act, shown, until, view
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench.charts import COLUMNS
from workbench.cost.trace import trace
from workbench.errors import UnknownName
from workbench.recipe import Recipe
from workbench.study import Study
from workbench_widgets.screen import Screen

TOTALS = ("macs", "params", "memory_access_bytes", "peak_activation_bytes")


@pytest.fixture(scope="module")
def study() -> Study:
    made = Study(tiny_model(), tiny_data())
    made.run(Recipe(), progress=False)
    made.run(wb.Quantize("fp16"), progress=False)
    return made


@pytest.fixture
def screen(study: Study) -> Iterator[Screen]:
    made = Screen(study)
    shown(made)
    yield made
    for job in made.store.state.jobs:
        job.cancel()


def test_a_study_given_is_shown_with_all_its_variants(screen: Screen, study: Study) -> None:
    assert [row["name"] for row in view(screen, "table")["rows"]] == ["original", "fp16"]
    assert [row["id"] for row in view(screen, "chart")["rows"]] == [v.id for v in study.variants]
    assert view(screen, "variant")["name"] == "fp16"  # the newest


def test_every_view_is_plain_json(screen: Screen) -> None:
    for panel in screen.panels.values():
        json.dumps(panel.view, allow_nan=False)


def test_a_step_moves_the_prediction_before_anything_runs(screen: Screen) -> None:
    act(screen, "recipe", "add", name="SVD")
    state = until(lambda: (now := screen.store.state).planned == now.recipe and now.recipe.steps and now, "the plan")
    built = trace(wb.compress(state.study.model, state.recipe).module, state.study.model.example).totals
    shown = {row["name"]: row["after"] for row in view(screen, "prediction")["rows"]}
    assert {name: shown[name] for name in TOTALS} == {name: COLUMNS[name].text(getattr(built, name)) for name in TOTALS}
    acting = until(
        lambda: [r for r in view(screen, "layers")["rows"] if any(one["applies"] for one in r["actions"])], "the plan"
    )
    assert len(acting) == sum(row.applies for row in state.plan.rows)
    assert view(screen, "recipe")["code"] == screen.store.state.recipe.code()


def test_panels_stand_alone_and_stay_live(screen: Screen) -> None:
    found = screen.alone("recipe", "prediction")
    loader, column = found.children
    assert loader is screen.children[0]  # without the page's module no panel is drawn
    assert [one.panel for one in column.children] == ["recipe", "prediction"]
    act(screen, "recipe", "add", name="SVD")
    until(lambda: "SVD" in json.dumps(column.children[0].view), "the panel that stands alone")
    with pytest.raises(UnknownName, match="prediction"):
        screen.alone("predictions")


def test_the_tour_stops_at_panels_that_there_are(screen: Screen) -> None:
    panels = [stop["panel"] for stop in view(screen, "head")["tour"]]
    assert len(set(panels)) == len(panels) >= 8 and set(panels) <= set(screen.panels)


def test_latency_and_size_are_predicted_and_the_chart_follows(screen: Screen, study: Study) -> None:
    act(screen, "recipe", "add", name="SVD")
    act(screen, "recipe", "set", index=0, name="rank", value=0.2)
    recipe = screen.store.state.recipe
    plan = until(lambda: screen.store.state.planned == recipe and screen.store.state.plan, "the plan")

    def drawn() -> list[float]:
        return [row["after"] for row in view(screen, "layers")["chart"]["rows"]]

    until(lambda: sum(drawn()) == pytest.approx(plan.macs / 1e6, rel=1e-6), drawn)
    shown = {row["name"]: row for row in view(screen, "prediction")["rows"]}
    assert shown["latency_ms"]["after"] == f"{plan.latency_ms:,.3f} ms"
    assert plan.file_bytes < wb.Recipe().plan(study.model).file_bytes
    assert "less" in shown["file_bytes"]["change"]
    measured = study.baseline["file_bytes"].value
    original = wb.Recipe().plan(study.model)
    assert original.file_bytes == pytest.approx(measured, rel=0.3)  # so small a file is mostly names


def test_a_run_arrives_in_table_and_chart(screen: Screen, study: Study) -> None:
    before = len(study.variants)
    act(screen, "recipe", "add", name="Prune")
    act(screen, "run", "run")
    until(lambda: len(view(screen, "table")["rows"]) == before + 1, view(screen, "status"))
    newest = study.variants[-1]
    assert view(screen, "chart")["rows"][-1]["id"] == newest.id
    assert screen.panels["chart"].selected == screen.panels["table"].selected == newest.id
    assert newest.name in view(screen, "status")["text"]


def test_rows_change_but_the_specification_stays(screen: Screen) -> None:
    before = view(screen, "chart")["spec"]
    act(screen, "chart", "select", id=screen.store.state.study.variants[0].id)  # type: ignore[union-attr]
    assert view(screen, "chart")["spec"] == before
    act(screen, "chart", "axis", axis="x", column="macs")
    assert view(screen, "chart")["spec"] != before


def test_cancel_stops_at_the_next_report_and_loses_nothing(
    screen: Screen, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, asked, after = threading.Event(), threading.Event(), list[int]()

    def slow(recipe: Recipe, report: Any) -> None:  # stands for long work: it only reports, as steps do
        for n in range(3000):
            late = asked.is_set()
            report(n / 3000, f"layer {n} of 3000")
            after.extend([n] * late)
            started.set()
            time.sleep(0.02)

    monkeypatch.setattr(study, "_make", slow)
    act(screen, "recipe", "add", name="Quantize")
    act(screen, "run", "run")
    assert started.wait(SECONDS)
    job = until(lambda: [j for j in view(screen, "run")["jobs"] if j["active"]], "the job is shown")[0]
    act(screen, "run", "cancel", job=job["id"])
    asked.set()
    until(lambda: view(screen, "run")["jobs"][0]["state"] == "cancelled", "the job stops")
    assert not after  # a report that was made once it had been asked to stop has ended it
    until(lambda: "cancelled" in view(screen, "status")["text"], "it is said")
    assert len(view(screen, "table")["rows"]) == len(study.variants)


def test_a_bad_value_is_a_sentence_and_the_recipe_stays(screen: Screen) -> None:
    act(screen, "recipe", "add", name="Prune")
    before = screen.store.state.recipe
    act(screen, "recipe", "set", index=0, name="ratio", value="50", final=True)
    assert screen.store.state.recipe == before
    status = view(screen, "status")
    assert status["kind"] == "error"
    assert "0.5" in status["text"]
    assert view(screen, "recipe")["steps"][0]["main"][0]["problem"] == status["text"]
    act(screen, "recipe", "set", index=0, name="ratio", value="0.7", final=True)
    assert view(screen, "recipe")["steps"][0]["main"][0]["problem"] == ""


def test_an_unknown_layer_is_said_and_cannot_run(screen: Screen) -> None:
    act(screen, "recipe", "add", name="SVD")
    act(screen, "recipe", "set", index=0, name="layers", value="conv9", final=True)
    until(lambda: screen.store.state.plan.problem, "the prediction says why")  # type: ignore[union-attr]
    until(lambda: "conv9" in view(screen, "prediction")["note"], "the prediction shows why")
    until(lambda: not view(screen, "run")["enabled"], "it cannot run")


@pytest.mark.parametrize(("panel", "action", "detail"), [
    ("recipe", "add", {"name": "Tuker"}),
    ("recipe", "remove", {}),
    ("variant", "no such action", {}),
    ("table", "axis", {"axis": "x", "column": "nonsense"}),
])  # fmt: skip
def test_whatever_goes_wrong_is_said(screen: Screen, panel: str, action: str, detail: dict[str, Any]) -> None:
    act(screen, panel, action, **detail)
    status = view(screen, "status")
    assert status["kind"] == "error"
    assert "Traceback" not in status["text"]


def test_an_export_is_verified_and_downloads_are_its_files_only(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    act(screen, "variant", "export", format="onnx")
    done = until(lambda: view(screen, "variant").get("exported"), view(screen, "status"))
    assert "read back" in done["sentence"]
    sent: list[tuple[dict[str, Any], Any]] = []
    monkeypatch.setattr(screen.panels["variant"], "send", lambda content, buffers=(): sent.append((content, buffers)))
    file = next(one for one in done["files"] if one["name"] == "model.onnx")
    for offset in range(0, file["bytes"], 1000):
        act(screen, "variant", "piece", file="model.onnx", offset=offset, length=1000)
    manifest = dict(screen.store.state.exported)[screen.store.state.selected]
    assert b"".join(buffers[0] for _, buffers in sent) == (manifest.path / "model.onnx").read_bytes()
    act(screen, "variant", "piece", file="../../../etc/passwd", offset=0, length=1000)
    assert "not among the exported files" in sent[-1][0]["error"]
    assert not sent[-1][1]


def test_two_screens_share_nothing(study: Study) -> None:
    one, two = Screen(study), Screen(study)
    until(lambda: one.store.state.plan and two.store.state.plan, "both are shown")
    act(one, "recipe", "add", name="Prune")
    assert len(one.store.state.recipe) == 1
    assert len(two.store.state.recipe) == 0


def test_progress_is_said_in_words_and_percent(screen: Screen, study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = threading.Event()

    def work(recipe: Recipe, report: Any) -> None:
        report(0.25, "reading ONNX")
        gate.wait(SECONDS)
        report.check()

    monkeypatch.setattr(study, "_make", work)
    act(screen, "recipe", "add", name="Quantize")
    act(screen, "run", "run")
    job = until(lambda: [j for j in view(screen, "run")["jobs"] if j["percent"] == 25], "the progress")[0]
    assert job["stage"] == "Reading ONNX"
    act(screen, "run", "cancel", job=job["id"])
    gate.set()
    until(lambda: not any(j["active"] for j in view(screen, "run")["jobs"]), "the end")


def test_a_diagnosis_and_a_bisection_arrive_and_a_layer_is_restored(screen: Screen, study: Study) -> None:
    hurt = study.run(wb.SVD(rank=0.1), progress=False)
    screen.store.update(frame=study.frame(), selected=hurt.id)
    act(screen, "diagnosis", "diagnose")
    until(lambda: view(screen, "diagnosis")["chart"], lambda: view(screen, "status"))
    act(screen, "diagnosis", "bisect")
    until(lambda: view(screen, "diagnosis")["bisection"], lambda: view(screen, "status"))
    shown = view(screen, "diagnosis")
    json.dumps(shown, allow_nan=False)
    assert [row["layer"] for row in shown["layers"]] == [e.layer for e in study.diagnose(hurt, progress=False).errors]
    assert [row["step"] for row in shown["steps"]] == ["original", "SVD 0.1"]
    assert {row["name"] for row in shown["classes"]} <= set(study.data.classes)
    act(screen, "diagnosis", "toggle", layer="conv2")  # one choice of layers for all regions
    assert screen.panels["diagnosis"].selected == "conv2"
    until(lambda: [row["id"] for row in view(screen, "layers")["rows"] if row["chosen"]] == ["conv2"], "the choice")
    act(screen, "diagnosis", "toggle", layer="conv2")
    act(screen, "diagnosis", "restore", layers=["conv2"])
    assert screen.store.state.recipe == hurt.recipe.without(("conv2",), study.model)
    act(screen, "recipe", "undo")
    assert not screen.store.state.recipe.steps
