"""Studies that have no accuracy on the screen, and panels that cannot be drawn."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from driving import act, until, view
from varied import images, varied_model

import workbench as wb
from workbench.charts import drawable
from workbench.errors import WorkbenchError
from workbench.tasks import Metric
from workbench_widgets import screen as screens
from workbench_widgets.screen import Screen
from workbench_widgets.store import State
from workbench_widgets.views import status

INPUTS = images(60, seed=2)


def off(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Such as a distance: less is better, and its name is in no list of ours."""
    return np.abs(outputs.mean(1) - labels)


def apart(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How far from the labels: of what these are the outputs of, nothing; of any other network more."""
    return np.abs(outputs - labels).mean(1)


def ready(study: wb.Study) -> Screen:
    screen = Screen(study)
    until(lambda: len(view(screen, "table")["rows"]) == 1, lambda: screen.store.state.message.text)
    return screen


@pytest.fixture(scope="module")
def unlabelled() -> Screen:
    screen = ready(wb.Study(varied_model(), wb.data({"train": INPUTS, "test": INPUTS[:30]})))
    act(screen, "recipe", "add", name="Prune")
    act(screen, "run", "run")
    until(lambda: len(view(screen, "table")["rows"]) == 2, lambda: screen.store.state.message.text)
    return screen


def test_without_labels_the_chart_stands_on_agreement(unlabelled: Screen) -> None:
    shown = view(unlabelled, "chart")
    assert shown["axes"]["y"] == "agreement"
    measured = unlabelled.store.state.frame["agreement"]
    assert sorted(row["y"] for row in shown["rows"]) == pytest.approx(sorted(100 * measured))
    assert not shown["empty"]
    assert "agreement" in [one["key"] for one in view(unlabelled, "table")["columns"]]
    labels = [one["label"] for one in view(unlabelled, "variant")["figures"]]
    assert labels[0] == "Agreement with the original" and "Accuracy" not in labels
    act(unlabelled, "chart", "tab", tab="parallel")
    assert view(unlabelled, "chart")["shown"][0] == "agreement"
    act(unlabelled, "chart", "tab", tab="tradeoff")


@pytest.mark.parametrize("form", ["onnx", "safetensors", "bundle"])
def test_a_variant_without_accuracy_is_exported_from_the_screen(unlabelled: Screen, form: str) -> None:
    done = dict(unlabelled.store.state.exported)
    act(unlabelled, "variant", "export", format=form)
    until(lambda: dict(unlabelled.store.state.exported) != done, lambda: unlabelled.store.state.message.text)
    found = view(unlabelled, "variant")["exported"]
    assert "its outputs are the measured ones" in found["sentence"]
    assert unlabelled.store.state.message.kind == "info"


def test_a_metric_of_ones_own_can_be_chosen_for_every_axis() -> None:
    labels = INPUTS.mean((1, 2, 3)).numpy()
    data = wb.data({name: (INPUTS[:n], labels[:n]) for name, n in (("train", 60), ("test", 30))})
    screen = ready(wb.Study(varied_model(), data, metric=off))
    shown = view(screen, "chart")
    assert "failed" not in shown, shown
    assert (shown["axes"]["x"], shown["axes"]["y"]) == (State().x, "off")
    assert {"value": "off", "label": "Off"} in shown["options"]
    value = screen.store.state.frame["off"].iloc[0]
    assert shown["rows"][0]["y"] == pytest.approx(value)
    act(screen, "chart", "axis", axis="x", column="off")
    act(screen, "chart", "size", column="off")
    assert view(screen, "chart")["rows"][0]["x"] == pytest.approx(value)
    act(screen, "chart", "limit", text="off < 1000")
    assert "1 of 1 variant within the limits" in view(screen, "chart")["limit"]["said"]
    act(screen, "chart", "axis", axis="x", column="nonsense")
    assert "nonsense" in screen.store.state.message.text
    assert screen.store.state.x == "off"


@pytest.mark.parametrize(("rising", "trend"), [(True, "wb-better"), (False, "wb-worse")])
def test_a_change_is_judged_as_the_metric_says(rising: bool, trend: str) -> None:
    model = varied_model()
    with torch.no_grad():
        answers = model.module(INPUTS).numpy()
    data = wb.data({name: (INPUTS[:n], answers[:n]) for name, n in (("train", 60), ("test", 30))})
    screen = ready(wb.Study(model, data, metric=Metric("apart", apart, more_is_better=rising)))
    act(screen, "recipe", "add", name="Prune")
    act(screen, "run", "run")
    until(lambda: "Prune" in view(screen, "variant")["name"], lambda: screen.store.state.message.text)
    shown = view(screen, "table")["columns"]
    assert [(one["key"], one["label"]) for one in shown[1:3]] == [
        ("apart", "Apart"), ("apart_change", "Change of apart"),
    ]  # fmt: skip
    fact = view(screen, "variant")["figures"][0]
    assert (fact["label"], fact["trend"]) == ("Apart", trend)
    assert fact["change"].startswith("+")
    assert " to +" in fact["change"]
    frame = screen.store.state.frame
    act(screen, "variant", "compare", id=frame["id"].iloc[0])
    found = {one["label"]: one for one in view(screen, "variant")["comparison"]["figures"]}
    assert (found["Apart"]["change"], found["Apart"]["trend"]) == (fact["change"], trend)


def test_a_choice_of_axis_outlives_another_study_only_where_that_has_the_figure(unlabelled: Screen) -> None:
    kept = unlabelled.store.state
    act(unlabelled, "chart", "axis", axis="y", column="macs")
    act(unlabelled, "models", "choose", name=unlabelled.store.state.model)
    until(lambda: unlabelled.store.state.study is not None, "the study again")
    assert unlabelled.store.state.y == "macs"
    unlabelled.store.edit(lambda s: replace(s, y="accuracy"))
    act(unlabelled, "models", "choose", name=unlabelled.store.state.model)
    until(lambda: unlabelled.store.state.study is not None, "the study again")
    assert unlabelled.store.state.y == "agreement"
    assert "agreement" in drawable(kept.frame) and "accuracy" not in drawable(kept.frame)


def test_one_panel_that_fails_says_so_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = {"on": True}

    def chart(state: State) -> dict[str, Any]:
        if failing["on"]:
            raise KeyError("accuracy")
        return {"fine": True}

    monkeypatch.setitem(screens.PANELS, "chart", (chart, ("message",)))
    monkeypatch.setitem(screens.PANELS, "status", (status, ("message",)))
    screen = Screen(wb.Study(varied_model(), wb.data({"train": INPUTS, "test": INPUTS[:30]})))
    screen.store.say("here")
    assert "KeyError: 'accuracy'" in view(screen, "chart")["failed"]
    assert view(screen, "status")["text"] == "here"  # drawn behind the one that failed
    failing["on"] = False
    screen.store.say("there")
    assert view(screen, "chart") == {"fine": True}


def test_a_panel_that_failed_is_drawn_again_when_the_page_asks_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    failing = {"on": True}

    def chart(state: State) -> dict[str, Any]:
        if failing["on"]:
            raise WorkbenchError("The rows are gone.")
        return {"model": state.model}

    monkeypatch.setitem(screens.PANELS, "chart", (chart, ()))
    screen = Screen(wb.Study(varied_model(), wb.data({"train": INPUTS, "test": INPUTS[:30]})))
    assert "The rows are gone." in view(screen, "chart")["failed"]
    failing["on"] = False
    act(screen, "chart", "again")
    assert view(screen, "chart") == {"model": screen.store.state.model}


def test_a_view_that_cannot_be_sent_is_said_in_its_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(screens.PANELS, "head", (lambda state: {"text": state.limit}, ("limit",)))
    screen = Screen(wb.Study(varied_model(), wb.data({"train": INPUTS, "test": INPUTS[:30]})))

    def refusing(change: Any) -> None:
        if change["new"].get("text") == "unsendable":
            raise TypeError("not JSON")

    screen.panels["head"].observe(refusing, "view")
    act(screen, "chart", "limit", text="unsendable")
    assert "not JSON" in view(screen, "head")["failed"]
    assert view(screen, "chart")["limit"]["text"] == "unsendable"
    act(screen, "chart", "limit", text="fine")
    assert view(screen, "head") == {"text": "fine"}


def test_a_part_that_is_no_panel_leaves_no_panel_stale(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("no such part")

    screen = Screen(wb.Study(varied_model(), wb.data({"train": INPUTS, "test": INPUTS[:30]})))
    until(lambda: screen.store.state.plan, "the plan")
    monkeypatch.setattr(screens.scope, "chosen", broken)
    act(screen, "recipe", "add", name="Prune")
    assert len(view(screen, "recipe")["steps"]) == 1
    until(lambda: screen.store.state.planned.steps, "the next plan: its thread lives on")  # type: ignore[union-attr]
    until(lambda: view(screen, "run")["label"] != "Run", lambda: view(screen, "run"))


class Pixels(torch.nn.Module):
    """Three classes for every pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = torch.nn.Conv2d(2, 8, 3, padding=1), torch.nn.Conv2d(8, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(torch.relu(self.body(x)))
        return scores


def test_the_screen_of_a_segmentation_speaks_of_pixels_and_of_no_accuracy_but_theirs() -> None:
    torch.manual_seed(0)
    module = Pixels().eval()
    with torch.no_grad():
        labels = module(INPUTS).argmax(1)
    data = wb.data({"train": (INPUTS, labels), "test": (INPUTS[:30], labels[:30])})
    screen = ready(wb.Study(wb.load(module, example=INPUTS[:1]), data))
    act(screen, "recipe", "add", name="Prune")
    act(screen, "run", "run")
    until(lambda: len(view(screen, "table")["rows"]) == 2, lambda: screen.store.state.message.text)
    chosen = view(screen, "variant")
    assert [one["label"] for one in chosen["figures"][:2]] == ["Mean IoU", "Pixel accuracy"]
    assert "mean IoU" in chosen["verdict"] and "mean IoU" in screen.store.state.message.text
    assert view(screen, "chart")["axes"]["y"] == "miou"
    assert "Taken for segmentation, judged by mean IoU" in view(screen, "models")["data"]["sentence"]
    panels = ("chart", "table", "variant", "models", "diagnosis", "layers", "run", "status")
    said = " ".join(str(view(screen, panel)) for panel in panels).lower()
    assert "accura" not in said.replace("pixel accuracy", "").replace("pixel_accuracy", "")
