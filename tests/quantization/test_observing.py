"""What calibration reads of a graph, in batches of bounded memory, and the types that are told without its weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from workbench.jobs import Reporter
from workbench.onnx_file import write_onnx
from workbench.quantization import observe
from workbench.quantization.edges import kinds_of, with_shapes
from workbench.quantization.observe import extremes, read, to_observe


@pytest.fixture
def model(tmp_path: Path) -> onnx.ModelProto:
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 40, 3, padding=1), nn.ReLU(), nn.Conv2d(40, 8, 3), nn.Flatten(), nn.Linear(8 * 36, 5)
    )
    return onnx.load(str(write_onnx(net.eval(), torch.zeros(1, 3, 8, 8), tmp_path / "a.onnx")))


@pytest.fixture
def inputs() -> np.ndarray:
    return np.random.default_rng(0).standard_normal((23, 3, 8, 8)).astype(np.float32)


def test_batches_hold_what_fits(model: onnx.ModelProto, inputs: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    names = to_observe(model)
    one = sum(value.nbytes for value in next(read(model, names, inputs[:1], Reporter())).values())
    for fits, sizes in ((5, [1, 5, 5, 5, 5, 2]), (0, [1] * 23), (10_000, [1, 22])):
        monkeypatch.setattr(observe, "READ_BYTES", fits * one + 1)
        parts = list(read(model, names, inputs, Reporter()))
        entry = model.graph.input[0].name
        assert [len(part[entry]) for part in parts] == sizes
        assert np.array_equal(np.concatenate([part[entry] for part in parts]), inputs)


def test_ranges_are_those_of_all_inputs_whatever_the_batches(
    model: onnx.ModelProto, inputs: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The greatest values lie in the last input, in a batch of its own or not."""
    inputs[-1] *= 50
    whole = extremes(model, inputs, Reporter())
    assert whole[model.graph.input[0].name] == (float(inputs.min()), float(inputs.max()))
    monkeypatch.setattr(observe, "READ_BYTES", 1)
    single = extremes(model, inputs, Reporter())
    assert single.keys() == whole.keys()
    for name, ends in whole.items():
        assert single[name] == pytest.approx(ends, rel=1e-4, abs=1e-4)


def test_types_and_shapes_are_those_that_onnx_infers(model: onnx.ModelProto) -> None:
    """Of the whole file, weights and all, though they are inferred without the values of large weights."""
    before = model.SerializeToString()
    expected = onnx.shape_inference.infer_shapes(model)
    found = with_shapes(model)
    assert found.graph.initializer == expected.graph.initializer
    for part in ("value_info", "output"):
        described = [
            {one.name: one.type.SerializeToString() for one in getattr(g.graph, part)} for g in (found, expected)
        ]
        assert described[0] == described[1] and described[0]
    kinds = kinds_of(model)
    assert all(kinds[one.name] == one.data_type for one in model.graph.initializer)
    assert all(kinds[one.name] == onnx.TensorProto.FLOAT for one in expected.graph.value_info)
    assert model.SerializeToString() == before
