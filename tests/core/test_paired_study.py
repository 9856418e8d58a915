"""Every variant of a study is compared with every other on the same inputs, after reopening too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from varied import varied_data, varied_model

import workbench as wb
from workbench.diagnosis.comparison import change, figures
from workbench.estimate import Estimate, paired_change
from workbench.frames.frame import to_frame
from workbench.frames.pareto import front
from workbench.report.words import verdict
from workbench.variant import Variant


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def study(folder: Path) -> wb.Study:
    study = wb.Study(varied_model(), varied_data(200), path=folder, recalibrate=False)
    for ratio in (0.6, 0.95):
        study.run(wb.Prune(ratio=ratio), progress=False)
    return study


def answers(variant: Variant) -> np.ndarray:
    test = variant.data["test"]
    return (variant.module(test.inputs).argmax(1) == test.labels).numpy()


def test_every_variant_has_its_paired_change(study: wb.Study) -> None:
    base = answers(study.baseline)
    assert study.baseline["accuracy_change"] == Estimate(0.0, 0.0, 0.0, len(base))
    for variant in study.variants[1:]:
        mine = answers(variant)
        lost, gained = int((base & ~mine).sum()), int((~base & mine).sum())
        assert lost > 0
        assert variant["accuracy_change"] == paired_change(lost, gained, len(base))
    row = study.frame().iloc[1]
    found = study.variants[1]["accuracy_change"]
    assert (row.accuracy_change, row.accuracy_change_low) == (found.value, found.low)
    assert row.accuracy_change_high == found.high
    assert "validation_accuracy_change" in study.variants[1].estimates


def test_any_two_variants_are_compared_paired_after_reopening_too(study: wb.Study, folder: Path) -> None:
    again = wb.Study(varied_model(), varied_data(200), path=folder, recalibrate=False)
    _, one, two = again.variants
    first, second = answers(one), answers(two)
    lost, gained = int((first & ~second).sum()), int((~first & second).sum())
    assert change(one, two, "accuracy") == paired_change(lost, gained, len(first))
    figures = again.compare(one, two, progress=False).figures.set_index("figure")
    assert figures.loc["accuracy", "change"] == pytest.approx((gained - lost) / len(first))
    assert figures.loc["accuracy", "how"] == "on the same inputs"
    assert figures.loc["accuracy", "distinguishable"] == (not paired_change(lost, gained, len(first)).holds(0))


def without_changes(variant: Variant) -> dict[str, Estimate]:
    return {name: one for name, one in variant.estimates.items() if not name.endswith("_change")}


def test_a_study_that_kept_nothing_still_opens_and_says_so(study: wb.Study) -> None:
    one, two = (replace(v, written={}, estimates=without_changes(v)) for v in study.variants[1:])
    assert change(one, two, "accuracy") is None
    frame = to_frame([one, two])
    assert frame.accuracy_change.isna().all()
    assert len(front(frame, "params", "accuracy"))
    found = next(contrast for contrast in figures(one, two) if contrast.name == "accuracy")
    assert (found.how, found.change, found.distinguishable) == ("measured apart", None, None)
    said = verdict(one, study.baseline)
    assert "not compared on the same images" in said and "accuracy not distinguishable" not in said


def test_milliseconds_of_another_machine_are_converted_and_say_so(study: wb.Study) -> None:
    base, one, two = study.variants
    away = replace(one, id="away", machine="another machine")
    frame = to_frame([base, two, away]).set_index("id")
    assert frame.loc["away", "latency_ms"] == pytest.approx(base["latency_ms"].value / one["speedup"].value)
    assert frame.loc["away", "latency_ms_low"] < frame.loc["away", "latency_ms"] < frame.loc["away", "latency_ms_high"]
    assert frame.loc["away", "latency_note"].startswith("converted")
    assert frame.loc[two.id, "latency_ms"] == two["latency_ms"].value
    assert frame.loc[two.id, "latency_note"] == ""
    assert to_frame([away])["latency_note"].tolist() == [""]  # alone it is on its own machine
