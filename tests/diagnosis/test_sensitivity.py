"""Sensitivity of single layers: against torch, which applies the same step to one layer and compares probabilities."""

from __future__ import annotations

import pytest
import torch
from tiny import tiny_data, tiny_model

import workbench as wb
from workbench.diagnosis.sensitivity import IMAGES
from workbench.errors import BadValue, Cancelled
from workbench.recipe import Recipe


@pytest.fixture(scope="module")
def study() -> wb.Study:
    return wb.Study(tiny_model(), tiny_data(400))


def by_torch(study: wb.Study, layer: str) -> float:
    """Mean divergence in nats of the probabilities after the step on one layer."""
    inputs = study.data["validation"].inputs[:IMAGES]
    small = wb.compress(study.model, wb.SVD(rank=1, data_aware=False, layers=layer))
    with torch.no_grad():
        before, after = (m(inputs).double().log_softmax(1) for m in (study.model.module, small.module))
    return float((before.exp() * (before - after)).sum(1).mean())


def test_it_is_what_torch_finds_for_each_layer_alone(study: wb.Study) -> None:
    found = study.sensitivity(wb.SVD(rank=1, data_aware=False), progress=False)
    assert list(found.layers) == ["conv1", "conv2", "head"]
    for layer, one in found.layers.items():
        assert one.value == pytest.approx(by_torch(study, layer), rel=1e-3, abs=1e-6)
        assert one.low <= one.value <= one.high
    assert list(found.frame()["divergence"]) == sorted((one.value for one in found.layers.values()), reverse=True)
    assert found.images == 80


def test_a_step_of_the_artefact_is_tried_on_one_layer_at_a_time_too(study: wb.Study) -> None:
    found = study.sensitivity(wb.Quantize("int4"), progress=False)
    assert list(found.layers) == ["conv1", "conv2", "head"]
    whole = study.sensitivity(wb.Quantize("int4", exclude=("conv1", "head")), progress=False)
    assert whole.layers["conv2"].value == pytest.approx(found.layers["conv2"].value, abs=1e-5)


def test_a_step_that_changes_nothing_is_refused_with_the_reason(study: wb.Study) -> None:
    with pytest.raises(BadValue, match="changes no layer"):
        study.sensitivity(wb.Tucker(rank=1.0), progress=False)


def test_it_can_be_cancelled_between_layers_and_says_which_one(study: wb.Study) -> None:
    stages: list[str] = []
    job = study.submit_sensitivity(wb.SVD(rank=1, data_aware=False))

    def stop(_: object) -> None:
        stages.append(job.progress.stage)
        if "layer 2 of 3" in job.progress.stage:
            job.cancel()

    job.on_change(stop)
    with pytest.raises(Cancelled):
        job.result(60)
    assert "layer 2 of 3: conv2" in stages
    assert not any("layer 3" in stage for stage in stages)


def test_a_profile_needs_no_measurement_before_and_adds_up(study: wb.Study) -> None:
    assert study.find(Recipe()) is None
    table = study.submit_profile(Recipe()).result(60)
    assert {"conv1", "conv2", "head"} <= set(table["layer"])
    assert table["share"].sum() == pytest.approx(1)
