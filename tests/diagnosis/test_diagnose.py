"""A diagnosis and a bisection from end to end, on a tiny network with layers that were broken on purpose."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from varied import varied_data, varied_model

import workbench as wb
from workbench.diagnosis import Evaluator, bisect
from workbench.errors import BadValue, Cancelled, StepFailed
from workbench.estimate import paired_change
from workbench.measure.accuracy import evaluate
from workbench.step import Lower, Plan
from workbench.steps import REGISTRY

LAYERS = ("conv1", "conv2", "head")
REST = wb.Prune(ratio=0.02) | wb.Quantize("int8", types="u8s8")


def broken(*layers: str) -> wb.Recipe:
    """Nearly all weights of these layers are gone; every layer is pruned a little and quantized."""
    return wb.Prune(ratio=0.97, layers=layers) | REST


@pytest.fixture(scope="module")
def study() -> wb.Study:
    return wb.Study(varied_model(), varied_data(600), recalibrate=False)


@pytest.fixture(scope="module")
def evaluator(study: wb.Study) -> Evaluator:
    """What `study.bisect` works with, but for the test split: choices never see it."""
    assert study.baseline["accuracy"].value == 1.0
    splits = {name: split for name, split in study.data.splits.items() if name != "test"}
    return replace(study._evaluator("validation"), data=replace(study.data, splits=splits))


@pytest.mark.parametrize("layer", LAYERS)
def test_the_broken_layer_is_found(layer: str, evaluator: Evaluator) -> None:
    found = bisect(evaluator, broken(layer))
    assert found.layers == (layer,)
    assert found.evaluations <= math.log2(3) + 3
    assert found.drop.value > 0.2 and found.explained >= 0.9 and found.complete
    assert not any(layer in step.options().get("layers", ()) for step in found.recipe)
    assert layer in found.recipe.steps[-1].options()["exclude"]
    assert f"Restoring {layer} takes away" in str(found)
    assert found.frame().layers.max() <= 3
    suspected = bisect(evaluator, broken(layer), {layer: 1.0})
    assert suspected.layers == (layer,) and suspected.evaluations == 1


def test_two_broken_layers(evaluator: Evaluator) -> None:
    found = bisect(evaluator, broken("conv1", "head"))
    assert found.layers == ("conv1", "head")


def test_nothing_lost_is_nothing_to_explain(evaluator: Evaluator) -> None:
    found = bisect(evaluator, wb.Quantize("fp16").recipe())
    assert found.layers == () and found.evaluations == 0
    assert "nothing to explain" in str(found)


def test_the_question_to_a_study(study: wb.Study) -> None:
    variant = study.run(broken("conv2"), progress=False)
    seen: list[str] = []
    found = study.bisect(variant.id, progress=lambda _, stage: seen.append(stage))
    assert found.layers == ("conv2",)
    assert found.evaluations == 1  # it adds the most error of its own, and was tried first
    assert any("layers restored" in stage for stage in seen)
    job = study.submit_bisection(variant)
    job.cancel()
    with pytest.raises(Cancelled):
        job.result(60)


def test_the_diagnosis(study: wb.Study) -> None:
    variant = study.run(broken("conv2"), progress=False)
    found = study.diagnose(variant, progress=False)
    assert found.metric_name == "accuracy" and found.split == "validation"
    # Which layer: conv2 adds the most error of its own; conv1, before it, knows nothing of it.
    layers = found.layers.set_index("layer")
    assert layers.own_sqnr_db.idxmin() == "conv2"
    assert layers.own_sqnr_db["head"] > layers.sqnr_db["head"] + 10
    # Which step: the first, and the accuracies are those of the artefacts.
    assert found.steps.step.tolist() == ["original", "Prune 0.97", "Prune 0.02", "int8 types=u8s8"]
    assert found.steps["drop"].idxmax() == 1
    assert found.steps.accuracy[0] == 1.0
    assert found.steps.accuracy.iloc[-1] == pytest.approx(variant["validation_accuracy"].value)
    assert found.drop.value == pytest.approx(1 - variant["validation_accuracy"].value)
    # Which images: every mistake is one that the original did not make.
    assert len(found.flips) == round(found.drop.value * len(study.data["validation"]))
    assert set(found.flips.change) == {"lost"}
    images, rows = found.images(5)
    assert images.shape == (5, 2, 12, 12)
    torch.testing.assert_close(torch.from_numpy(images[0]), study.data["validation"].inputs[int(rows["index"][0])])
    assert found.classes.n.sum() == len(study.data["validation"])
    assert found.divergence.agreement.value == pytest.approx(1 - found.drop.value)
    said = str(found)
    assert "Most of it goes with Prune 0.97" in said and "conv2 adds the most error" in said
    assert found.restore("conv2") == variant.recipe.without("conv2", study.model)


def test_a_comparison_holds_differences_only(study: wb.Study) -> None:
    one, two = (study.run(broken(layer), progress=False) for layer in ("conv2", "conv1"))
    found = study.compare(one.id, two, progress=False)
    figures = found.figures.set_index("figure")
    assert {"macs", "params"}.isdisjoint(figures.index)  # weights that are gone leave both as they are
    assert figures.loc["accuracy", ["first", "second"]].tolist() == [one["accuracy"].value, two["accuracy"].value]
    right = [evaluate(v.onnx, study.data["test"]).right for v in (one, two)]
    change = paired_change(int((right[0] & ~right[1]).sum()), int((~right[0] & right[1]).sum()), len(right[0]))
    assert figures.loc["accuracy", ["change", "change_low", "change_high"]].tolist() == [
        change.value, change.low, change.high
    ]  # fmt: skip
    assert figures.loc["accuracy", "distinguishable"] == (not change.holds(0))
    assert figures.loc["speedup", "how"] == "timed in turns" and "latency_ms" not in figures.index
    noise = found.layers.set_index("layer")
    assert noise.loc["conv2", "own_sqnr_db_first"] < noise.loc["conv2", "own_sqnr_db_second"] - 5
    assert noise.loc["conv1", "own_sqnr_db_first"] > noise.loc["conv1", "own_sqnr_db_second"] + 5
    split = study.data["validation"]
    says = [evaluate(v.onnx, split).predictions for v in (one, two)]  # another way to the answers
    assert sorted(found.flips["index"]) == np.flatnonzero(says[0] != says[1]).tolist()
    labels = split.labels.numpy()
    for row in found.classes.itertuples():
        mine = labels == "abcd".index(row.name)
        assert row.before == pytest.approx((says[0][mine] == labels[mine]).mean())
        assert row.after == pytest.approx((says[1][mine] == labels[mine]).mean())
        assert row.before != row.after
    lost = int(((says[0] == labels) & (says[1] != labels)).sum())
    assert f"{len(found.flips)} of {len(labels)} answers differ: {lost} right ones are lost" in str(found)
    images, rows = found.images(3, "gained")
    assert (rows["after"] == rows["label"]).all()
    np.testing.assert_array_equal(images, split.inputs[rows["index"].tolist()].numpy())


def test_costs_that_differ_by_layer(study: wb.Study) -> None:
    one, two = (study.run(recipe, progress=False) for recipe in (wb.SVD(rank=0.25), wb.SVD(rank=0.25, layers="conv1")))
    found = study.compare(one, two, progress=False)
    costs = [wb.cost(variant.module, example=study.model.example).params for variant in (one, two)]
    assert (found.layers["params_first"] - found.layers["params_second"]).sum() == costs[0] - costs[1]
    assert "conv1" not in found.layers["layer"].tolist()


def test_a_comparison_needs_two(study: wb.Study) -> None:
    with pytest.raises(BadValue, match="compared with itself"):
        study.compare(study.baseline, study.baseline, progress=False)


def test_restoring_helps(study: wb.Study) -> None:
    found = study.bisect(study.run(broken("conv1"), progress=False), progress=False)
    better = study.run(found.recipe, progress=False)
    assert better["validation_accuracy"].value == pytest.approx(1 - found.left.value)


class Hopeless(Lower, abstract=True):
    """Sets every logit to noise, whatever the layers are."""

    def plan_on(self, network, weights):  # type: ignore[no-untyped-def]
        return Plan(network, network, ())

    def lower(self, source, target, context):  # type: ignore[no-untyped-def]
        import onnx

        model = onnx.load(str(source))
        for one in model.graph.initializer:
            if one.name == "head.bias":
                one.CopyFrom(onnx.numpy_helper.from_array(np.array([90, 0, 0, 0], np.float32), one.name))
        onnx.save(model, str(target))


def test_a_loss_that_no_layer_explains(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import dataclass

    step = dataclass(frozen=True)(Hopeless)
    monkeypatch.setitem(REGISTRY, "Hopeless", step)
    found = bisect(evaluator, wb.Prune(ratio=0.3) | step())
    assert found.layers == () and found.evaluations == 1
    assert "still with every layer restored" in str(found)


def test_bad_requests(study: wb.Study, evaluator: Evaluator) -> None:
    with pytest.raises(BadValue, match="changes no layer"):
        study.bisect(study.baseline, progress=False)
    with pytest.raises(BadValue, match="share=1.5"):
        bisect(evaluator, broken("conv1"), share=1.5)
    with pytest.raises(StepFailed, match="works on the network as a whole"):
        bisect(evaluator, wb.Prune(ratio=0.97) | wb.QAT())
    bare = wb.data({"test": (study.data["test"].inputs, study.data["test"].labels)})
    alone = wb.Study(varied_model(), bare)
    with pytest.raises(BadValue, match="no split 'validation'"):
        alone.diagnose(alone.baseline, progress=False)
    assert alone.diagnose(alone.baseline, split="test", progress=False).drop.value == 0
    other = wb.Study(varied_model(), varied_data(600))
    with pytest.raises(BadValue, match="not a variant of this study"):
        other.diagnose(study.run(broken("conv1"), progress=False))


def test_no_layer_is_blamed_where_too_few_can_be_compared() -> None:
    study = wb.Study(varied_model(), varied_data(60))
    pruned = study.run(wb.PruneChannels(ratio=0.5, round_to=2), progress=False)
    found = study.diagnose(pruned, progress=False)
    known = {one.layer for one in found.errors if not np.isnan(one.own_sqnr_db)}
    # Every convolution and the head gives or reads fewer channels, so none has an error of its own to compare.
    assert len(known) < len(found.errors) / 2
    assert f"Only {len(known)} of {len(found.errors)} layers can be compared" in str(found)
    assert "adds the most error of its own" not in str(found)
