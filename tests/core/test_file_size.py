"""The predicted size of a file beside files that were written: here, and for the published studies."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

import workbench as wb
from workbench import onnx_file
from workbench.cost.file_size import file_bytes
from workbench.published import published
from workbench.study import Study


@pytest.mark.parametrize("name", ["fashion-vgg", "fashion-resnet", "fashion-mobilenet"])
def test_it_is_close_to_the_files_that_were_measured(name: str) -> None:
    study = Study(wb.load(name), wb.data("fashion-mnist"))
    found = published(study)
    assert found is not None
    for variant in found.variants:
        predicted = file_bytes(variant.recipe.plan(study.model).network)
        assert predicted == pytest.approx(variant["file_bytes"].value, rel=0.05), variant.name


@pytest.mark.parametrize("bias", [True, False])
def test_it_is_close_to_a_file_written_here(tmp_path: Path, bias: bool) -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 64, 3, bias=bias), nn.BatchNorm2d(64), nn.ReLU(), nn.Conv2d(64, 64, 3, groups=8, bias=bias),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 300),
    )  # fmt: skip
    model = wb.load(net, example=torch.zeros(1, 3, 16, 16))
    written = onnx_file.write_onnx(net.eval(), model.example, tmp_path / "net.onnx")
    assert file_bytes(model.network) == pytest.approx(onnx_file.file_bytes(written), rel=0.02)


def test_weights_in_four_bits_are_an_eighth_also_behind_a_factorization() -> None:
    model = wb.load("fashion-vgg")
    for before in (wb.Recipe(), wb.Tucker(rank=0.5).recipe()):
        dense, stored = (file_bytes(one.plan(model).network) for one in (before, before | wb.Quantize("int4")))
        assert stored == pytest.approx(dense / 8, rel=0.04)  # scales, and names
