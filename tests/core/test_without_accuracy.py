"""Studies of data without labels, of segmentations, and with a metric of the user's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import SHAPE, tiny_data, tiny_model
from torch import nn
from varied import images, varied_model

import workbench as wb
from workbench.errors import BadValue

INPUTS = images(90, seed=2)


def answers(variant: wb.Variant, inputs: torch.Tensor) -> np.ndarray:
    with torch.no_grad():
        return variant.module(inputs).numpy()


def test_without_labels_agreement_is_measured(tmp_path: Path) -> None:
    data = wb.data({"train": INPUTS, "test": INPUTS[:40]})
    assert not data["test"].labelled and len(data["validation"]) == 18
    study = wb.Study(varied_model(), data, path=tmp_path)
    variant = study.run(wb.Prune(ratio=0.8), progress=False)
    assert study.metric_name == "agreement"
    assert study.baseline["agreement"].value == 1 and study.baseline["kl_divergence"].value == 0
    before, after = (answers(one, INPUTS[:40]) for one in (study.baseline, variant))
    assert variant["agreement"].value == (before.argmax(1) == after.argmax(1)).mean()
    error = np.linalg.norm(after - before) / np.linalg.norm(before)
    assert variant["logit_error"].value == pytest.approx(error, rel=1e-3)
    assert variant["agreement"].low < variant["agreement"].value < 1
    assert "accuracy" not in variant.estimates
    frame = study.frame()
    assert frame.agreement.tolist() == [1.0, variant["agreement"].value]
    assert frame.accuracy.isna().all()
    assert study.pareto(x="params").id.tolist() == [study.baseline.id]  # as large, and it agrees with itself
    assert "Agreement with the original (%)" in wb.charts.tradeoff(frame, x="params", y="agreement").to_json()
    assert study.diagnose(variant, progress=False).metric_name == "agreement"
    assert "accuracy" not in wb.export(variant, tmp_path / "out").verified
    again = wb.Study(varied_model(), data, path=tmp_path)
    assert again.frame().agreement.tolist() == frame.agreement.tolist()
    with pytest.raises(BadValue, match="Split 'test' has no labels"):
        _ = data["test"].labels
    with pytest.raises(BadValue, match="metric 'top5' compares outputs with labels"):
        wb.Study(varied_model(), data, metric="top5")


class Segmenter(nn.Module):
    """A class for every pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 3, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(torch.relu(self.body(x)))
        return scores


def test_a_segmentation_is_measured_by_mean_iou() -> None:
    torch.manual_seed(0)
    module = Segmenter().eval()
    with torch.no_grad():
        labels = module(INPUTS).argmax(1)
    labels[:, :3] = 255  # void
    data = wb.data({"train": (INPUTS, labels), "test": (INPUTS[:40], labels[:40])})
    model = wb.load(module, example=torch.zeros(1, *SHAPE))
    study = wb.Study(model, data)
    assert study.task.name == "segmentation" and study.metric_name == "miou"
    variant = study.run(wb.Prune(ratio=0.6), progress=False)
    assert study.baseline["miou"].value == 1
    assert 0 < variant["miou"].low < variant["miou"].value < variant["miou"].high < 1
    assert study.frame().columns.isin(["miou", "miou_low", "validation_miou", "pixel_accuracy"]).sum() == 4
    found = study.diagnose(variant, progress=False)
    assert found.metric_name == "agreement" and 0 < found.drop.value < 1
    with pytest.raises(BadValue, match="no answers to compare"):
        _ = found.classes


def test_a_function_of_the_users_own() -> None:
    def log_loss(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        shares = np.exp(outputs) / np.exp(outputs).sum(1, keepdims=True)
        return -np.log(shares[np.arange(len(labels)), labels])

    data = tiny_data()
    study = wb.Study(tiny_model(), data, metric=log_loss)
    test = data["test"]
    expected = log_loss(answers(study.baseline, test.inputs), test.labels.numpy()).mean()
    assert study.metric_name == "log_loss"
    assert study.baseline["log_loss"].value == pytest.approx(expected, rel=1e-4)
    assert study.frame().attrs["more_is_better"] == ["log_loss"]
    plain = wb.Study(tiny_model(), data)
    assert plain.id_of(wb.Recipe()) != study.id_of(wb.Recipe())
