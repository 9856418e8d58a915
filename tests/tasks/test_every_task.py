"""A small network of every task through a study: pruned, fine-tuned, in integers, exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from by_task import CASES, X, flat

import workbench as wb
from workbench.charts import column
from workbench.errors import BadValue, StepFailed
from workbench.tasks import METRICS

PERFECT = {"mae": 0.0, "psnr": 100.0, "character_error_rate": 0.0}


@pytest.fixture(scope="module", params=list(CASES))
def known(request: pytest.FixtureRequest) -> tuple[str, wb.Study]:
    if request.param == "boxes":
        request.getfixturevalue("torchvision")
    study = CASES[request.param].study()
    study.run(wb.Prune(ratio=0.7), progress=False)
    study.run(wb.Finetune(epochs=1, lr=1e-3) | wb.Quantize("int8"), progress=False)
    return request.param, study


def test_it_is_taken_for_what_it_is(known: tuple[str, wb.Study]) -> None:
    name, study = known
    case = CASES[name]
    assert (study.task.name, study.metric_name) == (case.task, case.metric)
    said = " ".join(study.data.notes)
    assert ("Taken for" in said) is (case.task != "classification" and case.asked is None)


def test_its_own_answers_are_perfect_and_those_of_a_pruned_one_are_not(known: tuple[str, wb.Study]) -> None:
    name, study = known
    metric = METRICS[study.metric_name]
    original, pruned = study.variants[0][metric.name], study.variants[1][metric.name]
    if name == "boxes":  # of four boxes two are wanted, the surest ones
        assert original.value > 0.9
    elif name in {"labels", "mask", "vectors"}:  # a threshold of the labels' own
        assert 0.2 < original.value <= 1
    else:
        assert original.value == pytest.approx(PERFECT.get(metric.name, 1.0), abs=1e-5)
        assert metric.better(original.value, pruned.value)
    change = study.variants[1][f"{metric.name}_change"]
    assert change.value == pytest.approx(pruned.value - original.value, abs=1e-6)
    assert change.low <= change.value <= change.high


def test_its_figures_are_those_of_its_answers(known: tuple[str, wb.Study]) -> None:
    """What the artefact was measured to be is what the torch network gives, computed in one go."""
    from workbench.tasks.metric import Tally

    _, study = known
    variant, test = study.variants[1], study.data["test"]
    with torch.no_grad():
        outputs = variant.module(test.inputs)
    several = isinstance(outputs, tuple)
    given = tuple(one.numpy() for one in outputs) if several else outputs.numpy()
    for metric in study.task.metrics:
        tally = Tally(metric)
        tally.add(given, test.labels.numpy())
        assert variant[metric.name].value == pytest.approx(tally.value(), rel=1e-3, abs=1e-3)


def test_no_study_speaks_of_what_it_does_not_measure(known: tuple[str, wb.Study], tmp_path: Path) -> None:
    name, study = known
    variant = study.variants[2]
    words = [variant.verdict, *variant.notes, str(wb.charts.tradeoff(study.frame()).to_dict()["layer"])]
    words.append(str(study.diagnose(study.variants[1], progress=False)))
    if name != "classification":
        said = " ".join(words).lower().replace("token accuracy", "").replace("pixel accuracy", "")
        assert "accura" not in said
    assert column(study.metric_name).label in words[-2]
    checked = wb.export(variant, tmp_path / "out").verified
    assert checked[study.metric_name] == pytest.approx(variant[study.metric_name].value, abs=1e-6)
    assert wb.export(study.variants[1], tmp_path / "weights", format="safetensors").verified.keys() == checked.keys()


@pytest.mark.parametrize("name", ["pixels", "values", "tokens", "text", "labels", "image"])
def test_training_on_labels_alone_learns_them(name: str) -> None:
    """From other weights towards the labels: what it is judged by gets better than it was."""
    case = CASES[name]
    study = case.study()
    metric = METRICS[case.metric]
    broken = study.run(wb.Prune(ratio=0.6), progress=False)
    step = wb.Finetune(epochs=8, lr=0.02, distill="none", optimizer="adam", augment="none", batch=8)
    healed = study.run(wb.Prune(ratio=0.6) | step, progress=False)
    assert metric.better(healed[f"validation_{metric.name}"].value, broken[f"validation_{metric.name}"].value)


def test_integers_are_trained_towards_values() -> None:
    study = CASES["values"].study()
    variant = study.run(wb.QAT(epochs=1), progress=False)
    plain = study.run(wb.Quantize("int8"), progress=False)
    assert variant["validation_mae"].value <= plain["validation_mae"].value + 1e-6  # the start is among what is kept


def test_float_layers_are_kept_for_what_the_study_is_judged_by() -> None:
    study = CASES["values"].study()
    all_integers = study.run(wb.Quantize("int8", stem="int8"), progress=False)
    bound = all_integers["validation_mae"].value / 4
    mixed = study.run(wb.Quantize("int8", stem="int8", max_drop=bound), progress=False)
    assert mixed["validation_mae"].value <= bound + 1e-6


def test_channels_are_chosen_by_the_loss_of_the_task() -> None:
    for name in ("values", "pixels", "tokens"):
        study = CASES[name].study()
        variant = study.run(wb.PruneChannels(0.4, importance="taylor"), progress=False)
        assert variant["params"].value < study.baseline["params"].value


def test_without_labels_the_original_teaches() -> None:
    torch.manual_seed(1)
    model = wb.load(flat(4).eval(), example=X[:1])
    study = wb.Study(model, wb.data({"train": X, "validation": X[:24], "test": X[24:]}))
    assert study.task.name == "none" and study.metric_name == "agreement"
    broken = study.run(wb.Prune(ratio=0.8), progress=False)
    tuned = study.run(wb.Prune(ratio=0.8) | wb.Finetune(epochs=5, lr=0.02, optimizer="adam"), progress=False)
    assert tuned["kl_divergence"].value < broken["kl_divergence"].value
    with pytest.raises(StepFailed, match="nothing to learn from: there are no labels"):
        study.run(wb.Finetune(epochs=1, distill="none"), progress=False)


def test_values_without_labels_are_judged_by_how_far_they_are() -> None:
    torch.manual_seed(1)
    model = wb.load(flat(1).eval(), example=X[:1])
    study = wb.Study(model, wb.data({"train": X, "test": X[24:]}))
    variant = study.run(wb.Prune(ratio=0.7), progress=False)
    assert study.metric_name == "logit_error" and study.baseline["logit_error"].value == 0
    assert variant["logit_error"].value > 0 and "agreement" not in variant.estimates
    assert study.pareto(x="params").id.tolist() == [study.baseline.id]  # less is better


@pytest.mark.usefixtures("torchvision")
def test_boxes_are_not_trained_on_without_a_teacher() -> None:
    with pytest.raises(StepFailed, match="labels of a detection are not trained on"):
        CASES["boxes"].study().run(wb.Finetune(epochs=1, distill="none"), progress=False)


def test_what_does_not_fit_gets_a_sentence() -> None:
    model = wb.load(flat(4).eval(), example=X[:1])
    values = wb.data({"test": (X, torch.rand(len(X)))})
    with pytest.raises(BadValue, match=r"gives \(4,\) for an input, and the labels are float32 of shape \(\).*task"):
        wb.Study(model, values)
    with pytest.raises(BadValue, match=r"that is no segmentation, which needs outputs \(classes, H, W\)"):
        wb.Study(model, values, task="segmentation")
    with pytest.raises(wb.WorkbenchError, match="no task named 'segmentatoin'"):
        wb.Study(model, values, task="segmentatoin")
