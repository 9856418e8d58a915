"""Names, tags and notes of variants on the screen, and taking one out of the study."""

from __future__ import annotations

from pathlib import Path

import pytest
from driving import act, until, view
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench_widgets.screen import Screen


@pytest.fixture
def study(tmp_path: Path) -> wb.Study:
    study = wb.Study(tiny_model(), tiny_data(20), path=tmp_path / "study")
    for ratio in (0.3, 0.6):
        study.run(wb.Prune(ratio=ratio), progress=False)
    return study


@pytest.fixture
def screen(study: wb.Study) -> Screen:
    screen = Screen(study)
    until(lambda: "is loaded" in view(screen, "status")["text"], "the study is shown")  # the status is drawn last
    return screen


def names(screen: Screen) -> list[str]:
    return [row["name"] for row in view(screen, "table")["rows"]]


def test_a_variant_is_named_tagged_and_annotated_and_a_reopened_study_knows(
    screen: Screen, study: wb.Study, tmp_path: Path
) -> None:
    act(screen, "variant", "rename", name="the good one")
    until(lambda: "the good one" in names(screen), lambda: view(screen, "status"))
    assert view(screen, "variant")["name"] == "the good one"
    act(screen, "variant", "tag", tags="best, for the phone")
    until(lambda: view(screen, "variant")["label"]["tags"] == ["best", "for the phone"], lambda: view(screen, "status"))
    act(screen, "variant", "tag", tags="for the phone, last")
    until(lambda: view(screen, "variant")["label"]["tags"] == ["for the phone", "last"], lambda: view(screen, "status"))
    assert "for the phone, last" in view(screen, "table")["rows"][-1]["remark"]
    act(screen, "variant", "annotate", text="Try it on Monday.")
    until(lambda: view(screen, "variant")["label"]["text"] == "Try it on Monday.", lambda: view(screen, "status"))
    again = wb.Study(study.model, study.data, path=tmp_path / "study")
    assert again[screen.store.state.selected].name == "the good one"
    assert again[screen.store.state.selected].annotation == "Try it on Monday."
    act(screen, "variant", "rename", name="")
    until(lambda: view(screen, "variant")["name"] == "Prune 0.6", lambda: view(screen, "status"))


def test_a_name_that_another_has_is_refused_with_a_sentence(screen: Screen) -> None:
    act(screen, "variant", "rename", name="Prune 0.3")
    until(lambda: view(screen, "status")["kind"] == "error", "it is refused")
    assert names(screen) == ["original", "Prune 0.3", "Prune 0.6"]


def test_a_deleted_variant_is_gone_and_another_is_chosen(screen: Screen, study: wb.Study) -> None:
    gone = screen.store.state.selected
    assert view(screen, "variant")["label"]["deletable"]
    act(screen, "variant", "delete")
    until(lambda: len(names(screen)) == 2, lambda: view(screen, "status"))
    assert gone not in {one.id for one in study.variants}
    assert screen.store.state.selected in {one.id for one in study.variants}
    act(screen, "table", "select", id=study.baseline.id)
    assert not view(screen, "variant")["label"]["deletable"]  # the others are compared with it
    act(screen, "variant", "delete")
    until(lambda: "compared with" in view(screen, "status")["text"], "the reason")


def test_the_screen_says_where_variants_are_kept(screen: Screen, study: wb.Study) -> None:
    assert study.kept in view(screen, "models")["kept"]
    assert "3 variants of before" in view(screen, "status")["text"]
