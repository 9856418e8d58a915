"""The predicted compressed size against files that are really written and compressed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
import zstandard
from onnx import numpy_helper
from torch import nn

import workbench as wb
from workbench.building import build
from workbench.cost.compressed import ZSTD_LEVEL, compressed_bytes, ratio
from workbench.jobs import Reporter
from workbench.models import Model


@pytest.fixture(scope="module")
def wide() -> Model:
    """Weights enough that names in the file count little."""
    torch.manual_seed(0)
    body = [nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 96, 3), nn.ReLU(), nn.Conv2d(96, 96, 3), nn.ReLU()]
    module = nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(96, 10))
    for layer in module:
        if hasattr(layer, "weight"):
            nn.init.normal_(layer.weight, std=0.05)  # as trained weights, and not as a uniform start
    return wb.load(module, example=torch.zeros(1, 3, 12, 12))


def written(model: Model, recipe: wb.Recipe, path: Path) -> Path:
    module = build.rewrite(model, recipe, None, Reporter())
    return build.lower(module, model, recipe, None, path, Reporter())


@pytest.mark.parametrize(
    "step",
    [wb.Prune(0.7), wb.Prune(0.9, scope="layer"), wb.PruneNM(n=2, m=4), wb.Ternary(), wb.Binary(),
     wb.ShareWeights(bits=5, epochs=0), wb.Quantize("fp16")],
    ids=lambda step: step.brief,
)  # fmt: skip
def test_what_a_step_saves_when_compressed_is_predicted(wide: Model, step: wb.steps.Step, tmp_path: Path) -> None:
    recipe = step.recipe()
    content = written(wide, recipe, tmp_path / "model.onnx").read_bytes()
    found = compressed_bytes(recipe.plan(wide).network)
    assert found == pytest.approx(len(zstandard.compress(content, ZSTD_LEVEL)), rel=0.15)
    assert found < 0.65 * compressed_bytes(wide.network)


def test_zeros_before_fewer_bits_stay_zeros(wide: Model) -> None:
    both = (wb.Prune(0.8) | wb.Quantize("fp16")).plan(wide).network
    assert compressed_bytes(both) < 0.5 * compressed_bytes(wb.Quantize("fp16").plan(wide).network)


def test_ratios_of_kinds_of_weights() -> None:
    assert 0.88 < ratio(32) < 0.96  # the sign and the exponent of a float say little, the rest is noise
    assert ratio(32, zeros=0.5) > ratio(32, zeros=0.8) > ratio(32, zeros=0.95) > 0
    assert ratio(32, values=2) < ratio(32, values=8) < ratio(32, values=64)
    assert ratio(32, values=2) > 1 / 32  # a bit a weight is the least


def test_a_pruned_weight_is_a_positive_zero(wide: Model, tmp_path: Path) -> None:
    """A masked weight keeps its sign; two kinds of zeros took up to half more space."""
    model = onnx.load(str(written(wide, wb.Prune(0.8).recipe(), tmp_path / "model.onnx")))
    weights = [numpy_helper.to_array(one) for one in model.graph.initializer]
    zeros = np.concatenate([one[one == 0].ravel() for one in weights if one.dtype == np.float32])
    assert len(zeros) > 100_000
    assert not np.signbit(zeros).any()
