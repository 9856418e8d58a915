from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import BadFile, BadValue, UnknownName
from workbench.onnx_file import write_onnx
from workbench.runtimes import available, runtime


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    return write_onnx(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.zeros(1, 3, 4), tmp_path / "net.onnx")


def test_onnxruntime_is_there() -> None:
    assert "onnxruntime" in available()
    assert runtime().name == "onnxruntime"


def test_unknown_runtime() -> None:
    with pytest.raises(UnknownName, match=r"no runtime named 'onnxruntim'.*Did you mean 'onnxruntime'"):
        runtime("onnxruntim")


def test_shape_and_threads(artefact: Path) -> None:
    inputs = np.random.default_rng(0).standard_normal((5, 3, 4)).astype(np.float32)
    one, two = runtime().load(artefact), runtime().load(artefact, threads=2)
    assert one.shape == (3, 4)
    np.testing.assert_allclose(one.run(inputs), two.run(inputs), rtol=1e-5)
    np.testing.assert_allclose(one.run(inputs)[2:3], one.run(inputs[2:3]), rtol=1e-5)


def test_refuses_what_is_no_model(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"this is no model")
    with pytest.raises(BadFile, match=r"refuses the artefact 'broken.onnx' because"):
        runtime().load(broken)
    with pytest.raises(BadFile, match="There is no artefact at"):
        runtime().load(tmp_path / "missing.onnx")


def test_refuses_inputs_of_another_shape(artefact: Path) -> None:
    with pytest.raises(BadValue, match=r"refuses an input of shape \(2, 5, 5\): the artefact takes \['batch', 3, 4\]"):
        runtime().load(artefact).run(np.zeros((2, 5, 5), np.float32))
