"""What a check is made of: pixels and inputs, tensors asked of a file, fingerprints, the original without weights."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import kills
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper
from rgb import SHAPE, colour_data, colour_model
from tiny import tiny_data, tiny_model
from torch import nn

import workbench as wb
from workbench.building.build import lower
from workbench.data import Preprocess
from workbench.data.pixels import as_inputs
from workbench.jobs import Reporter
from workbench.models import Model
from workbench.proof import check
from workbench.proof.fingerprints import layers_of
from workbench.proof.hollow import hollow
from workbench.proof.pixels import pixels_of

Array = np.ndarray[Any, Any]

FORMS = st.builds(
    Preprocess,
    mean=st.sampled_from([(), (0.5,), (0.485, 0.456, 0.406)]),
    std=st.sampled_from([(), (0.25,), (0.229, 0.224, 0.225)]),
    order=st.sampled_from(["RGB", "BGR"]),
    layout=st.sampled_from(["NCHW", "NHWC"]),
    range=st.sampled_from([1.0, 255.0]),
)


def seen(form: Preprocess) -> tuple[Array, Array]:
    """Pixels (2, 9, 7, 3) and what the workbench makes of them."""
    pixels = np.random.default_rng(0).integers(0, 256, (2, 9, 7, 3), dtype=np.uint8)
    return pixels, as_inputs("test", torch.from_numpy(pixels).movedim(-1, 1), form).numpy()


@settings(deadline=None, max_examples=40)
@given(FORMS)
def test_pixels_become_the_inputs_that_the_workbench_makes_and_are_found_again(form: Preprocess) -> None:
    pixels, inputs = seen(form)
    np.testing.assert_allclose(check.normalised(pixels, asdict(form)), inputs, rtol=1e-5, atol=1e-5)
    found = pixels_of([[one[None]] for one in inputs], form)
    assert found is not None and (found == pixels).all()


@settings(deadline=None, max_examples=40)
@given(FORMS, FORMS)
def test_two_ways_to_preprocess_are_told_apart_where_they_are_two(one: Preprocess, other: Preprocess) -> None:
    pixels, inputs = seen(one)
    _, wanted = seen(other)
    same = inputs.shape == wanted.shape and np.allclose(inputs, wanted, atol=1e-3 * np.ptp(wanted))
    said = check.other_preprocessing(pixels, inputs, asdict(other))
    assert bool(said) != same
    assert ("channel order" in said) == (one.order != other.order)
    assert ("layout" in said) == (one.layout != other.layout)


@pytest.mark.parametrize("values", ["noise", "ids", "two inputs"])
def test_inputs_that_are_no_pixels_have_none(values: str) -> None:
    noise = np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)
    inputs = {"noise": [noise], "ids": [np.zeros((1, 7), np.int64)], "two inputs": [noise, noise]}[values]
    assert pixels_of([inputs], Preprocess()) is None


@settings(deadline=None, max_examples=40)
@given(st.lists(st.text(min_size=1, max_size=300), min_size=1, max_size=4, unique=True))
def test_a_file_asked_for_more_tensors_is_what_onnx_itself_makes_of_it(names: list[str]) -> None:
    node = helper.make_node("Relu", ["x"], ["y"])
    float_ = onnx.TensorProto.FLOAT
    entry, leave = (helper.make_tensor_value_info(name, float_, [1]) for name in ("x", "y"))
    graph = helper.make_model(helper.make_graph([node], "g", [entry], [leave]))
    found = onnx.load_from_string(check.with_outputs(graph.SerializeToString(), names))
    graph.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    assert found == graph


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 200_000), st.data())
def test_a_fingerprint_moves_with_any_number_and_is_the_same_twice(size: int, data: st.DataObject) -> None:
    tensor = np.random.default_rng(size).normal(size=size).astype(np.float32)
    before = check.fingerprint(tensor)
    assert (check.fingerprint(tensor.copy()) == before).all()
    tensor[data.draw(st.integers(0, size - 1))] += 1
    moved = np.abs(check.fingerprint(tensor) - before)[2:]
    np.testing.assert_allclose(moved, 1 / np.sqrt(size), rtol=1e-3)


def test_a_fingerprint_of_known_numbers() -> None:
    assert check.fingerprint(np.zeros((2, 3)))[:2].tolist() == [0, 0]
    assert check.fingerprint(np.full((5, 5), -2, np.int8))[:2].tolist() == [-2, 2]
    assert check.fingerprint(np.zeros(0)).tolist() == [0] * 8


def test_the_tensors_are_those_behind_each_layer_and_survivors_those_behind_joined_ones(tmp_path: Path) -> None:
    """Oracle: the network's own modules, called one after another."""
    model = colour_model()
    file = lower(model.module, model, wb.Recipe(), None, tmp_path / "model.onnx", Reporter())
    inputs = colour_data(12)["test"].inputs.numpy()
    found = layers_of(file, [[one[None]] for one in inputs])
    joined = [(row.layer, row.operators) for row in found.rows if row.survives]
    assert joined[:2] == [("stem", "Conv + Relu"), ("body", "Conv + Relu")]
    with torch.no_grad():
        stem = torch.relu(model.module.stem(torch.from_numpy(inputs[:8]))).numpy()
    index = next(index for index, row in enumerate(found.rows) if row.layer == "stem" and row.survives)
    expected = np.stack([check.fingerprint(one) for one in stem])
    for kind in (found.optimised, found.single):
        np.testing.assert_allclose(kind[index], expected, atol=1e-4)
    singles = [row.kernel for row in found.rows if not row.survives]
    assert singles.count("Conv") == 3  # each in front of an activation that it is joined with


class Wide(nn.Module):
    """Layers with more numbers than stay."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 64, 3), nn.ReLU(), nn.Conv2d(64, 64, 3, groups=2), nn.Flatten())
        self.head = nn.Linear(64 * 8 * 8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.layers(x))
        return logits


def operators(file: Path, target: Path) -> list[str]:
    """What ONNX Runtime runs of a file."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(file, options)
    return [node.op_type for node in onnx.load(target).graph.node]


def test_the_original_without_its_weights_runs_the_same_operators_in_no_room(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model: Model = wb.load(Wide(), example=torch.zeros(1, *SHAPE))
    file = lower(model.module, model, wb.Recipe(), None, tmp_path / "model.onnx", Reporter())
    (tmp_path / "hollow.onnx").write_bytes(hollow(model))
    assert (tmp_path / "hollow.onnx").stat().st_size < file.stat().st_size / 20
    assert operators(tmp_path / "hollow.onnx", tmp_path / "a.onnx") == operators(file, tmp_path / "b.onnx")
    given = {"input": np.random.default_rng(0).normal(size=(1, *SHAPE)).astype(np.float32)}
    session = onnxruntime.InferenceSession(tmp_path / "hollow.onnx")
    (found,) = session.run(None, dict(zip([one.name for one in session.get_inputs()], given.values(), strict=True)))
    assert found.shape == (1, 5) and np.isfinite(found).all()


def test_half_of_the_canaries_lie_near_a_decision(tmp_path: Path) -> None:
    """Oracle: the margins of all test inputs, by torch."""
    with kills.untimed():
        variant = wb.Study(tiny_model(), tiny_data(300), keep=False).run(wb.Prune(ratio=0.2), progress=False)
        wb.export(variant, tmp_path / "out")
    folder = check.read(tmp_path / "out")
    near = folder.canaries["near"]
    with torch.no_grad():
        two = variant.module(variant.data["test"].inputs).topk(2).values
    margins = np.sort((two[:, 0] - two[:, 1]).numpy())
    expected = np.sort(folder.outputs[0], axis=1)
    own = expected[:, -1] - expected[:, -2]
    assert near.sum() == 32 and len(near) == 64
    np.testing.assert_allclose(np.sort(own[near]), margins[:32], atol=1e-5)
    assert (folder.outputs[0].argmax(1) == folder.canaries["labels"]).mean() > 0.5
