"""Errors of layers against torch's own hooks, and against ranges that are known to be too small."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from tiny import TinyNet, tiny_model
from torch import nn

import workbench as wb
from workbench.artefact.onnx_graph import tidy
from workbench.building.build import lower, rewrite
from workbench.diagnosis.layer_errors import LayerError, layer_errors
from workbench.diagnosis.places import layer_names, places
from workbench.jobs import Reporter
from workbench.onnx_file import save_onnx, write_onnx
from workbench.quantization.qdq import TYPES, quantize_graph
from workbench.quantization.ranges import activation_ranges
from workbench.recipe import Recipe

INPUTS = torch.randn(70, 2, 12, 12, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def net() -> nn.Module:
    return tiny_model().module


@pytest.fixture(scope="module")
def original(net: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_onnx(net, INPUTS[:1], tmp_path_factory.mktemp("original") / "net.onnx")


def results(net: nn.Module) -> dict[str, np.ndarray]:
    """What the next layer reads of each layer of TinyNet, by hand."""
    conv1, bn1, conv2, head = map(net.get_submodule, ("conv1", "bn1", "conv2", "head"))
    with torch.no_grad():
        first = torch.relu(bn1(conv1(INPUTS)))
        second = torch.relu(conv2(first))
        logits = head((first + second).mean((2, 3)))
    return {"conv1": first.numpy(), "conv2": second.numpy(), "head": logits.numpy()}


def by_name(errors: list[LayerError]) -> dict[str, LayerError]:
    return {one.layer: one for one in errors}


def test_a_file_has_no_error_against_itself(original: Path) -> None:
    errors = layer_errors(original, original, INPUTS)
    assert [one.layer for one in errors] == ["conv1", "conv2", "head"]
    assert all(one.sqnr_db == one.own_sqnr_db == math.inf and one.note == "" for one in errors)
    assert all(one.cosine == pytest.approx(1) and math.isnan(one.clipped) for one in errors)


def test_sqnr_and_cosine_are_those_of_torch(net: nn.Module, original: Path, tmp_path: Path) -> None:
    broken = copy.deepcopy(net)
    noise = torch.randn(broken.conv2.weight.shape, generator=torch.Generator().manual_seed(0))
    broken.conv2.weight.data += 0.05 * noise
    found = by_name(layer_errors(original, write_onnx(broken, INPUTS[:1], tmp_path / "broken.onnx"), INPUTS))
    before, after = results(net), results(broken)
    for name in ("conv2", "head"):
        signal, difference = before[name].astype(np.float64), (after[name] - before[name]).astype(np.float64)
        assert found[name].sqnr_db == pytest.approx(10 * np.log10((signal**2).sum() / (difference**2).sum()), abs=0.05)
        cosine = (signal * after[name]).sum() / np.linalg.norm(signal) / np.linalg.norm(after[name].astype(np.float64))
        assert found[name].cosine == pytest.approx(cosine, abs=1e-5)
    assert found["conv1"].sqnr_db > 100 and found["head"].own_sqnr_db > 100  # rounding of float32 alone
    assert found["conv2"].own_sqnr_db == pytest.approx(found["conv2"].sqnr_db, abs=0.01)  # nothing came before it


def test_values_outside_the_range_are_clipped(net: nn.Module, original: Path, tmp_path: Path) -> None:
    model = tidy(onnx.load(str(original)))
    ranges = dict(activation_ranges(model, INPUTS.numpy(), "minmax", Reporter()))
    place = places(model, layer_names(model))["conv2"]
    top = float(results(net)["conv2"].max())
    assert ranges[place.result][1] == pytest.approx(top, rel=1e-4)
    ranges[place.result] = (0.0, top / 4)
    save_onnx(quantize_graph(model, ranges, TYPES["u8s8"]), tmp_path / "clipped.onnx")
    found = by_name(layer_errors(original, tmp_path / "clipped.onnx", INPUTS))
    values, step = results(net)["conv2"], top / 4 / 255
    assert found["conv2"].clipped == pytest.approx((values > top / 4 + step / 2).mean(), abs=1e-4)
    assert found["conv2"].saturated == pytest.approx((values > top / 4 - step / 2).mean(), rel=0.1)
    assert found["conv1"].clipped == 0
    assert min(found.values(), key=lambda one: one.own_sqnr_db).layer == "conv2"
    assert math.isnan(found["head"].clipped)  # logits are not quantized


@pytest.mark.parametrize("recipe", [
    wb.SVD(rank=(3,), allow_growth=True).recipe(),
    wb.SVD(rank=(3,), allow_growth=True) | wb.Quantize("int8", types="u8s8"),
    wb.Quantize("fp16").recipe(),
    wb.Quantize("int8-dynamic").recipe(),
])  # fmt: skip
def test_every_layer_is_found_again(recipe: Recipe, original: Path, tmp_path: Path) -> None:
    model, data = tiny_model(), wb.data({"train": (INPUTS, torch.zeros(70)), "test": (INPUTS, torch.zeros(70))})
    module = rewrite(model, recipe, data, recalibrate=False)
    path = lower(module, model, recipe, data, tmp_path / "net.onnx", Reporter())
    errors = layer_errors(original, path, INPUTS)
    assert [one.note for one in errors] == [""] * 3
    changed = recipe.changed(model)
    assert all((0 < one.sqnr_db < 90) == (one.layer in changed) for one in errors)
    if "SVD" in recipe.name:
        assert [one.operator for one in errors] == ["2 Conv", "2 Conv", "2 MatMul"]
        assert errors[1].own_sqnr_db >= errors[1].sqnr_db - 1
        assert not any(math.isnan(one.own_sqnr_db) for one in errors)


def test_what_cannot_be_compared_says_why(original: Path, tmp_path: Path) -> None:
    class Narrow(TinyNet):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)
            self.head = nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.head(torch.relu(self.bn1(self.conv1(x))).mean((2, 3)))
            return logits

    path = write_onnx(Narrow().eval(), INPUTS[:1], tmp_path / "narrow.onnx")
    found = by_name(layer_errors(original, path, INPUTS))
    assert found["conv1"].note == "its result is 6x12x12 a sample, the original's 8x12x12"
    assert found["conv2"].note == "the variant has no such layer"
    assert math.isfinite(found["head"].sqnr_db) and math.isnan(found["head"].own_sqnr_db)
