"""Rounding as torch's own fake quantization does it, and as the integer artefact computes; what it does to chains."""

from __future__ import annotations

from pathlib import Path

import onnxruntime
import pytest
import torch
from tiny import SHAPE, tiny_data, tiny_model
from torch import Tensor, nn

import workbench as wb
from workbench.building import build
from workbench.jobs import Reporter
from workbench.search.harm import measured
from workbench.search.menu import menus
from workbench.search.rounding import round_off, rounded_values, rounded_weight
from workbench.statistics.collector import private
from workbench.step import Context

INT8 = wb.Quantize("int8")


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_are_rounded_as_torch_does(axis: int) -> None:
    weight = torch.randn(5, 4, 3, 3, generator=torch.Generator().manual_seed(0))
    scale = weight.abs().transpose(0, axis).flatten(1).amax(1) / 127
    zero = torch.zeros(len(scale), dtype=torch.int32)
    wanted = torch.fake_quantize_per_channel_affine(weight, scale, zero, axis, -127, 127)
    assert torch.allclose(rounded_weight(weight, axis), wanted, atol=1e-6)


@pytest.mark.parametrize("values", [(-1.0, 3.0), (0.5, 3.0), (-4.0, -1.0)])
def test_values_are_rounded_as_torch_does(values: tuple[float, float]) -> None:
    x = torch.linspace(*values, 1000)
    low, high = min(values[0], 0.0), max(values[1], 0.0)
    scale = (high - low) / 255
    wanted = torch.fake_quantize_per_tensor_affine(x, scale, round(-low / scale), 0, 255)
    assert torch.allclose(rounded_values(x), wanted, atol=1e-5)


def test_without_a_range_values_stay() -> None:
    assert torch.equal(rounded_values(torch.zeros(3)), torch.zeros(3))


def test_what_has_no_weights_of_its_own_stays() -> None:
    net = nn.Sequential(nn.ReLU(), nn.Linear(3, 2))
    x = torch.rand(4, 3)
    assert torch.equal(round_off(net, ["0"])(x), net[1](x.relu()))


def scene(count: int = 120) -> Context:
    return build.context(tiny_model(), tiny_data(count), Reporter())


def test_a_rounded_network_errs_as_its_artefact_does(tmp_path: Path) -> None:
    model, data = tiny_model(), tiny_data(300)
    split = data["calibration"]
    x = split.read(range(len(split)))[0]
    assert isinstance(x, Tensor)
    own = round_off(private(model.module), ["conv1", "conv2", "head"])
    with torch.no_grad():
        plain, simulated = model.module(x), own(x)
    session = onnxruntime.InferenceSession(wb.Study(model, data, tmp_path).run(INT8, progress=False).onnx)
    (real,) = session.run(None, {session.get_inputs()[0].name: x.numpy()})
    errors = torch.stack([(simulated - plain).flatten(), (torch.from_numpy(real) - plain).flatten()])
    assert float(torch.corrcoef(errors)[0, 1]) > 0.6
    assert 0.5 < float(errors[0].norm() / errors[1].norm()) < 2
    assert torch.equal(model.module(x), plain)  # the user's own weights are as they were


class Cancelling(nn.Sequential):
    """A convolution as two, exact in float: large numbers are added and taken away again."""

    def __init__(self, layer: nn.Conv2d) -> None:
        outputs = layer.out_channels
        inner = nn.Conv2d(layer.in_channels, 3 * outputs, 3, padding=1)
        outer = nn.Conv2d(3 * outputs, outputs, 1)
        assert layer.bias is not None and inner.bias is not None and outer.bias is not None
        large, one = torch.full_like(layer.weight, 300.0), torch.eye(outputs)
        inner.weight.data = torch.cat([layer.weight.data, large, large])
        inner.bias.data = torch.cat([layer.bias.data, torch.zeros(2 * outputs)])
        outer.weight.data = torch.cat([one, one, -one], 1)[:, :, None, None]
        outer.bias.data = torch.zeros(outputs)
        super().__init__(inner, outer)


def test_a_chain_whose_parts_cancel_does_more_where_int8_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    model, apply = tiny_model(), wb.Tucker.apply

    def applied(self: wb.Tucker, module: nn.Module, context: Context) -> nn.Module:
        changed, layer = apply(self, module, context), module.get_submodule("conv2")
        assert isinstance(layer, nn.Conv2d)
        changed.set_submodule("conv2", Cancelling(layer))
        return changed

    monkeypatch.setattr(wb.Tucker, "apply", applied)
    plain = measured(model, menus(model)[0], scene(), Reporter())
    lowered = measured(model, menus(model, (INT8,))[0], scene(), Reporter())
    assert lowered.chains["Tucker", "conv2"] > 100 * plain.chains["Tucker", "conv2"]
    usual = [lowered.chains[key] / plain.chains[key] for key in plain.chains if key[0] == "SVD"]
    assert usual and all(0.99 < one < 2 for one in usual)


def test_every_chain_of_a_family_is_tried_in_int8() -> None:
    """Of several layers, each alone in the rounded network: about what it does in float, where nothing cancels."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(),
        nn.Conv2d(32, 32, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 4),
    )  # fmt: skip
    model = wb.load(net, example=torch.zeros(1, *SHAPE))
    given = build.context(model, tiny_data(), Reporter())
    plain = measured(model, menus(model)[0], given, Reporter())
    lowered = measured(model, menus(model, (INT8,))[0], given, Reporter())
    assert {name for family, name in lowered.chains if family == "SVD"} >= {"2", "4"}
    assert all(plain.chains[key] * 0.999 <= one < 3 * plain.chains[key] for key, one in lowered.chains.items())
