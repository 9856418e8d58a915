"""Certificates of a study's variants, and of data without labels and metrics of one's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import SHAPE, tiny_model

import workbench as wb
from workbench.certificate import Answer
from workbench.jobs import Reporter
from workbench.measure.certify import LOOK, Claim, Pair, certify
from workbench.measure.sequential import Bounded
from workbench.tasks import Metric
from workbench.tasks.classification import ACCURACY


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> wb.Study:
    """A bundled network on two times 900 of its pictures."""
    data = wb.data("fashion-mnist")
    pairs = {name: data[name].first(900).read(range(900)) for name in ("validation", "test")}
    named = wb.data(pairs, name="some", classes=data.classes)
    return wb.Study(wb.load("fashion-mobilenet"), named, tmp_path_factory.mktemp("study"))


def test_a_variant_that_is_the_original_passes(study: wb.Study) -> None:
    same = study.run(wb.Tucker(rank=1.0), progress=False)
    found = study.certify(same, margin=0.02, progress=False)
    assert found.passes
    assert (found.loss, found.answer) == (0.0, Answer.PASSES)
    looks = [n for n in range(LOOK, 901, LOOK) if Bounded(0.05).evidence(np.zeros(n), -0.02)[-1] >= 0]
    assert found.inputs == looks[0]
    assert found.at_most <= 0.02


def test_a_variant_that_is_ruined_fails_and_says_in_which_class(study: wb.Study) -> None:
    ruined = study.run(wb.PruneChannels(0.8), progress=False)
    found = study.certify(ruined, margin=0.01, progress=False)
    before, after = (one.samples["validation_accuracy"].values for one in (study.baseline, ruined))
    seen = np.random.default_rng(0).permutation(900)[: found.inputs]
    assert found.answer is Answer.FAILS
    assert found.loss == pytest.approx(before[seen].mean() - after[seen].mean())
    assert found.at_least > 0.01
    by_class = study.certify(ruined.id, margin=0.01, worst_class=True, split="test", progress=False)
    assert by_class.class_name in study.data.classes
    assert by_class.answer is Answer.FAILS


def test_running_both_says_what_was_measured_says(study: wb.Study) -> None:
    """Inputs are run until the answer is known, and the answer is that of the marks that the study has kept."""
    ruined, original = study.run(wb.PruneChannels(0.8), progress=False), study.baseline
    claim = Claim(ACCURACY, 0.01, 0.05)
    name = "validation_accuracy"
    known = Pair(original.onnx, ruined.onnx, study.data["validation"], labelled=True,
                 known=(original.samples[name], ruined.samples[name]))  # fmt: skip
    groups = np.zeros(900, int)
    assert certify(known, claim, groups, Reporter()) == certify(replace(known, known=None), claim, groups, Reporter())


def test_without_labels_it_is_about_agreement(tmp_path: Path) -> None:
    inputs = torch.randn(500, *SHAPE, generator=torch.Generator().manual_seed(0))
    bare = wb.Study(tiny_model(), wb.data({"validation": inputs, "test": inputs[:50]}), tmp_path)
    same = bare.run(wb.Tucker(rank=1.0), progress=False)
    found = bare.certify(same, margin=0.05, progress=False)
    assert found.passes
    assert found.metric == "agreement with the original"
    with pytest.raises(wb.errors.BadValue, match="worst_class"):
        bare.certify(same, worst_class=True, progress=False)


def test_metrics_without_a_value_for_each_input_are_refused(study: wb.Study, tmp_path: Path) -> None:
    whole = wb.Study(study.model, study.data, tmp_path, metric="balanced_accuracy")
    same = whole.run(wb.Tucker(rank=1.0), progress=False)
    with pytest.raises(wb.errors.BadValue, match="one figure of all inputs together"):
        whole.certify(same, progress=False)
    with pytest.raises(wb.errors.UnknownName, match="accuracy"):
        study.certify(study.baseline, metric="miou", progress=False)


def test_a_metric_of_ones_own_in_its_own_unit(study: wb.Study, tmp_path: Path) -> None:
    """Distances have no bounds: the margin is in their unit, and less is better."""
    distance = Metric("distance", lambda outputs, labels: np.abs(outputs).mean(1) + 0 * labels, more_is_better=False)
    own = wb.Study(study.model, study.data, tmp_path, metric=distance)
    same = own.run(wb.Tucker(rank=1.0), progress=False)
    found = own.certify(same, margin=3.0, progress=False)
    assert found.passes
    assert found.inputs >= 100
    assert "3 of distance" in str(found)
