"""Files that others have quantized become the float networks that they were made from."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_dynamic, quantize_static
from torch import nn

import workbench as wb


class Residual(nn.Module):
    """Each kind of end of a ReLU: behind a convolution, a sum, a linear layer; a product that stays negative."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.third, self.head = nn.Conv2d(8, 8, 1), nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(x))
        y = nn.functional.relu6(self.second(x) * 3)
        x = torch.relu(self.third(y) + x).mean((2, 3))
        return self.head(x)


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm, self.head = nn.LSTM(6, 10, bidirectional=True), nn.Linear(20, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.lstm(x.transpose(0, 1))[0][-1])


class Calibration(CalibrationDataReader):
    def __init__(self, inputs: torch.Tensor) -> None:
        self.left = [{"x": one[None].numpy()} for one in inputs]

    def get_next(self) -> Any:
        return self.left.pop() if self.left else None


def exported(net: nn.Module, example: torch.Tensor, path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(net, (example,), str(path), dynamo=False, input_names=["x"], dynamic_axes={"x": {0: "n"}})
    return path


def near(model: wb.Model, net: nn.Module, x: torch.Tensor, within: float) -> None:
    with torch.no_grad():
        found, expected = model.module(x), net(x)
    assert float((found - expected).abs().max()) < within * float(expected.abs().max())


FORMS = [(form, kind) for form in QuantFormat for kind in (QuantType.QUInt8, QuantType.QInt8)]


@pytest.mark.parametrize(("form", "kind"), FORMS)
def test_static_files_keep_their_relus(form: QuantFormat, kind: QuantType, tmp_path: Path) -> None:
    """Quantizers leave a ReLU to the grid that begins at zero: without it the outputs are others altogether."""
    torch.manual_seed(0)
    net, x = Residual().eval(), torch.randn(32, 3, 9, 9)
    path = exported(net, x[:1], tmp_path / "float.onnx")
    quantize_static(path, tmp_path / "int8.onnx", Calibration(x), quant_format=form, activation_type=kind,
                    weight_type=QuantType.QInt8, per_channel=True)  # fmt: skip
    model = wb.load(tmp_path / "int8.onnx")
    near(model, net, x, 0.03)
    near(wb.load(path), net, x, 1e-5)
    layers = [type(one) for one in model.module.modules()]
    assert (layers.count(nn.Conv2d), layers.count(nn.Linear)) == (3, 1)
    assert wb.cost(model).macs == wb.cost(net, x[:1]).macs
    assert "quantized" in model.notes[0]


def test_files_that_choose_their_grids_as_they_run(tmp_path: Path) -> None:
    torch.manual_seed(0)
    for net, x in ((Residual().eval(), torch.randn(4, 3, 9, 9)), (Words().eval(), torch.randn(4, 7, 6))):
        path = exported(net, x[:1], tmp_path / "float.onnx")
        quantize_dynamic(path, tmp_path / "int8.onnx", weight_type=QuantType.QUInt8)
        kinds = {node.op_type for node in onnx.load(tmp_path / "int8.onnx").graph.node}
        assert "DynamicQuantizeLinear" in kinds
        model = wb.load(tmp_path / "int8.onnx")
        near(model, net, x, 0.03)
        assert wb.cost(model).macs == wb.cost(net, x[:1]).macs


def test_the_weights_are_the_codes_times_their_scale(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(6, 4)).eval(), torch.randn(8, 6)
    path = exported(net, x[:1], tmp_path / "float.onnx")
    quantize_static(path, tmp_path / "int8.onnx", Calibration(x), per_channel=False, weight_type=QuantType.QInt8)
    graph = onnx.load(tmp_path / "int8.onnx").graph
    held = {one.name: onnx.numpy_helper.to_array(one) for one in graph.initializer}
    codes = next(v for v in held.values() if v.dtype == np.int8 and v.size == 24)
    weight = next(one.weight for one in wb.load(tmp_path / "int8.onnx").module.modules() if isinstance(one, nn.Linear))
    given = codes if codes.shape == weight.shape else codes.T
    ratio = weight.detach().numpy()[given != 0] / given[given != 0]
    np.testing.assert_allclose(ratio, ratio[0], rtol=1e-5)
    assert float((weight - net[0].weight).abs().max()) <= float(ratio[0]) * 0.51
