"""Two variants answer by answer, and the pictures of what they answer otherwise."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch
from driving import act, until, view
from tiny import CLASSES
from varied import varied_data, varied_model

import workbench as wb
from workbench.diagnosis import Answers, Comparison
from workbench_widgets.pictures import MOST, pictures
from workbench_widgets.screen import Screen


def test_answers_arrive_when_they_are_asked_for() -> None:
    study = wb.Study(varied_model(), varied_data(200), recalibrate=False)
    one, two = (study.run(wb.Prune(ratio=ratio), progress=False) for ratio in (0.5, 0.95))
    screen = Screen(study)
    until(lambda: view(screen, "variant").get("id") == two.id, "the study is shown")
    act(screen, "variant", "compare", id=one.id)
    shown = view(screen, "variant")["comparison"]
    assert shown["answers"] is None
    assert shown["missing"] == ""
    act(screen, "variant", "answers")
    until(lambda: view(screen, "variant")["comparison"]["answers"], lambda: view(screen, "status"))
    shown = view(screen, "variant")["comparison"]
    json.dumps(shown, allow_nan=False)
    assert not shown["busy"]
    assert shown["names"] == [one.name, two.name]  # from the one beside it to the chosen one
    expected = study.compare(one, two, progress=False)
    assert [row["name"] for row in shown["answers"]["classes"]] == expected.classes["name"].tolist()
    *said, speed = shown["answers"]["sentences"]
    assert said == str(expected).splitlines()[:-1]
    assert speed.endswith(", timed in turns.")
    assert shown["answers"]["pictures"] is None  # two channels are no picture
    assert shown["columns"][-1] == "Own error, dB"
    assert [row["layer"] for row in shown["layers"]] == expected.layers["layer"].tolist()
    act(screen, "table", "select", id=one.id)  # another pair, which nobody has asked about
    act(screen, "variant", "compare", id=study.baseline.id)
    assert view(screen, "variant")["comparison"]["answers"] is None


@pytest.fixture
def compared() -> Comparison:
    """Forty images with one channel: the first 30 are lost, 4 gained, the rest the same."""
    images = torch.rand(40, 1, 5, 5)
    labels = torch.arange(40) % CLASSES
    data = wb.data({"test": (images, labels), "validation": (images, labels)}, name="grey", classes=tuple("abcd"))
    right, wrong = (np.eye(CLASSES, dtype=np.float32)[(labels.numpy() + shift) % CLASSES] * 5 for shift in (0, 1))
    first, second = right.copy(), right.copy()
    second[:30], first[30:34] = wrong[:30], wrong[30:34]
    first[3] *= 2  # the surest

    class Owner:
        id, name = "one", "one"

    Owner.data = data  # type: ignore[attr-defined]
    owner: Any = Owner()
    return Comparison(owner, owner, "validation", ((), ()), Answers(first, second, labels.numpy(), tuple("abcd")))


def test_the_pictures_say_what_each_is_and_what_it_became(compared: Comparison) -> None:
    found = pictures(compared)
    assert found is not None
    lost, gained = found["kinds"]
    assert (lost["label"], gained["label"]) == ("Lost (30)", "Gained (4)")
    assert len(lost["pictures"]) == MOST
    assert str(MOST) in lost["note"]
    assert gained["note"] == ""
    first = lost["pictures"][0]
    assert (first["label"], first["before"], first["after"]) == ("d", "d", "a")  # image 3, the surest
    softmax = np.exp(10) / (np.exp(10) + 3), np.exp(5) / (np.exp(5) + 3)
    assert first["sure"] == f"{100 * softmax[0]:.0f} % sure → {100 * softmax[1]:.0f} %"
    assert "Image 3, d: taken for d" in first["alt"]
    assert first["url"].startswith("data:image/png;base64,")


def test_no_pictures_where_nothing_changed(compared: Comparison) -> None:
    answers = compared.answers
    assert answers is not None
    same = Answers(answers.original, answers.original, answers.labels)
    assert pictures(Comparison(compared.first, compared.second, "validation", ((), ()), same)) is None
