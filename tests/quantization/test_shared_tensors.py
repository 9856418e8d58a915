"""Layers that share tensors, sizes computed in float, biases beside tiny weights: what must not change outputs."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn
from torch.nn import functional

from workbench.artefact.onnx_graph import merge, separate, tidy
from workbench.errors import StepFailed
from workbench.jobs import Reporter
from workbench.measure import int8_layouts
from workbench.measure.accuracy import outputs
from workbench.onnx_file import file_bytes, write_onnx
from workbench.quantization.edges import data_tensors, float_nodes_of_shapes, integer_nodes
from workbench.quantization.equalize import equalize
from workbench.quantization.qdq import TYPES, quantize_graph
from workbench.quantization.ranges import activation_ranges
from workbench.quantization.sensitivity import answers
from workbench.step import Context
from workbench.steps.quantize import Quantize


@pytest.fixture(autouse=True)
def _every_layer_in_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(int8_layouts, "fastest", lambda paths, **_: 0)
    monkeypatch.setattr(int8_layouts, "_KNOWN", {})


def lively(module: nn.Module) -> None:
    """Weights that keep the signal: torch's own start lets it fade."""
    torch.manual_seed(0)
    for one in module.modules():
        if isinstance(one, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(one.weight)


def images(n: int, size: int = 12, seed: int = 0) -> torch.Tensor:
    """Noise around a colour, so that outputs differ from image to image."""
    dice = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, size, size, generator=dice) + 2 * torch.randn(n, 3, 1, 1, generator=dice)


class Twice(nn.Module):
    """One convolution and one linear layer that run twice, and one whose weight is another's."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 12, 3, padding=1)
        self.again = nn.Conv2d(12, 12, 3, padding=1)
        self.tied = nn.Conv2d(12, 12, 3, padding=1)
        self.tied.weight = self.again.weight
        self.wide = nn.Linear(12, 20)
        self.last = nn.Linear(20, 5)
        lively(self)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        x = self.tied(self.again(self.again(x).relu()).relu()).relu().mean((2, 3))
        return self.last(self.wide(x).relu()) - self.last(self.wide(-x).relu())


class SameAsTensors(nn.Conv2d):
    """Padding whose amounts are computed in float from the size of the input, as some exporters see it."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        size = torch._shape_as_tensor(x)[-2:]
        out = torch.ceil(size.float() / self.stride[0])
        total = ((out - 1) * self.stride[0] + self.kernel_size[0] - size).clamp(min=0)
        before = (total / 2).floor().long()
        after = total.long() - before
        x = functional.pad(x, [before[1], after[1], before[0], after[0]])  # type: ignore[list-item]
        return functional.conv2d(x, self.weight, self.bias, self.stride)


def padded() -> nn.Module:
    layers = [SameAsTensors(3, 12, 3, stride=2), nn.ReLU(), SameAsTensors(12, 12, 5, stride=2), nn.ReLU()]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 5)).eval()
    lively(module)
    return module


def written(module: nn.Module, example: torch.Tensor, folder: Path) -> Path:
    return write_onnx(module.eval(), example, folder / "net.onnx")


def lowered(step: Quantize, source: Path, x: torch.Tensor) -> tuple[Path, Context]:
    target, context = source.with_name("lowered.onnx"), Context(x[:1], calibration=x)
    step.lower(source, target, context)
    return target, context


def off(source: Path, target: Path, x: torch.Tensor) -> float:
    exact, found = outputs(source, x), outputs(target, x)
    return float(np.std(found - exact) / np.std(exact - exact.mean(0)))


@pytest.mark.parametrize(
    ("step", "most"),
    [
        (Quantize("fp16"), 0.01), (Quantize("int8", types="u8s8"), 0.1), (Quantize("int8", types="u8u8"), 0.1),
        (Quantize("int8", types="u8s8", per_channel=False), 0.1), (Quantize("int8-dynamic"), 0.1),
        (Quantize("int4"), 0.6), (Quantize("int4", rounding="nearest"), 0.6),
        (Quantize("int8", rounding="compensated", types="u8s8"), 0.1), (Quantize("int8", bias_correction=True), 0.1),
        (Quantize("int8", equalize=True, per_channel=False, types="u8s8"), 0.1),
    ],
    ids=lambda value: value.brief if isinstance(value, Quantize) else "",
)  # fmt: skip
@pytest.mark.parametrize("make", [Twice, padded])
def test_outputs_stay_near(make: Callable[[], nn.Module], step: Quantize, most: float, tmp_path: Path) -> None:
    x = images(60)
    source = written(make(), x[:1], tmp_path)
    assert 0 < off(source, lowered(step, source, x)[0], images(40, seed=1)) < most


@pytest.mark.parametrize(("precision", "share"), [("int8", 0.5), ("int4", 0.4), ("fp16", 0.75)])
def test_what_layers_share_is_stored_once(precision: str, share: float, tmp_path: Path) -> None:
    x = images(60)
    source = written(Twice(), x[:1], tmp_path)
    target, _ = lowered(Quantize(precision), source, x)
    stored = [one for one in onnx.load(str(target)).graph.initializer if math.prod(one.dims) == 12 * 12 * 9]
    assert len(stored) == 1
    assert file_bytes(target) < file_bytes(source) + 4096  # names and scales of a small network weigh something


def test_separating_and_merging_are_inverse(tmp_path: Path) -> None:
    model = onnx.load(str(written(Twice(), torch.randn(1, 3, 12, 12), tmp_path)))
    apart = separate(model)
    read = [name for node in apart.graph.node if node.op_type in {"Conv", "Gemm"} for name in node.input[1:]]
    assert len(read) == len(set(read)) == 16  # four convolutions and four products, a weight and a bias each
    x = np.random.default_rng(0).standard_normal((4, 3, 12, 12)).astype(np.float32)
    np.testing.assert_array_equal(answers(apart, x, Reporter()), answers(model, x, Reporter()))
    merge(apart)
    assert len(apart.graph.initializer) == len(model.graph.initializer)
    assert len(apart.SerializeToString()) == len(model.SerializeToString())


def test_layers_are_named_after_the_module_that_ran(tmp_path: Path) -> None:
    model = onnx.load(str(written(Twice(), torch.randn(1, 3, 12, 12), tmp_path)))
    names = [node.name for node in model.graph.node if node.op_type in {"Conv", "Gemm"}]
    assert names == ["stem", "again", "again#2", "tied", "wide", "last", "wide#2", "last#2"]
    assert [node.name for node in tidy(model).graph.node if node.op_type in {"Conv", "Gemm"}] == names


@pytest.mark.parametrize(("exclude", "kept"), [("tied", ["tied"]), ("again", ["again", "again#2"])])
def test_a_layer_that_is_left_out_stays_in_float_in_every_run(exclude: str, kept: list[str], tmp_path: Path) -> None:
    x = images(60)
    source = written(Twice(), x[:1], tmp_path)
    graph = onnx.load(str(lowered(Quantize("int8", exclude=exclude), source, x)[0])).graph
    floats = {one.name for one in graph.initializer if one.data_type == TensorProto.FLOAT and len(one.dims) == 4}
    assert [node.name for node in graph.node if node.op_type == "Conv" and node.input[1] in floats] == kept


@pytest.mark.parametrize("norm", [False, True])
def test_equal_biases_are_no_shared_biases(norm: bool, tmp_path: Path) -> None:
    """Exporters store equal tensors once: folding norms and equalization must scale each layer's own."""
    torch.manual_seed(0)
    layers: list[nn.Module] = []
    for c_in in (3, 8, 8):
        conv = nn.Conv2d(c_in, 8, 3)
        nn.init.constant_(conv.bias, 0.1)  # type: ignore[arg-type]
        conv.weight.data *= torch.logspace(-1, 1, 8).reshape(-1, 1, 1, 1)
        layers += [conv, *([nn.BatchNorm2d(8)] if norm else []), nn.ReLU()]
        if norm:
            layers[-2].running_mean.normal_()  # type: ignore[operator,union-attr]
            layers[-2].bias.data.normal_()  # type: ignore[operator,union-attr]
    module = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)).eval()
    x = torch.randn(5, 3, 12, 12)
    model = onnx.load(str(written(module, x[:1], tmp_path)))
    with torch.no_grad():
        expected = module(x).numpy()
    assert not any(node.op_type == "BatchNormalization" for node in model.graph.node)
    for graph in (model, equalize(model)):
        np.testing.assert_allclose(answers(graph, x.numpy(), Reporter()), expected, rtol=1e-4, atol=1e-5)


# Sizes are no data


def test_sizes_that_are_computed_in_float_are_no_data(tmp_path: Path) -> None:
    model = onnx.load(str(written(padded(), torch.randn(1, 3, 12, 12), tmp_path)))
    data = set(data_tensors(model))
    by_operator: dict[str, set[bool]] = {}
    for node in model.graph.node:
        by_operator.setdefault(node.op_type, set()).add(node.output[0] in data)
    assert by_operator["Conv"] == by_operator["Relu"] == by_operator["Gemm"] == {True}
    assert by_operator["Ceil"] == by_operator["Floor"] == by_operator["Div"] == by_operator["Mul"] == {False}
    ranges = activation_ranges(model, torch.randn(9, 3, 12, 12).numpy(), "minmax", Reporter())
    chosen = integer_nodes(model, ranges)
    assert not chosen & float_nodes_of_shapes(model)
    assert {node.op_type for node in model.graph.node if node.name in chosen} >= {"Conv", "Relu", "Gemm"}


def test_int8_keeps_the_padding_at_another_size(tmp_path: Path) -> None:
    """At 13 pixels other amounts are due than at 12; both must be those of the float network."""
    torch.manual_seed(0)
    x = images(60)
    source = written(padded(), x[:1], tmp_path)
    model = onnx.load(str(source))
    for axis, name in ((2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    del model.graph.value_info[:]
    onnx.save_model(model, str(source))
    for precision in ("int8", "fp16"):
        target, _ = lowered(Quantize(precision), source, x)
        assert off(source, target, images(40, 13, seed=1)) < 0.1


def test_a_size_that_is_resized_by_a_factor_from_the_data_stays_exact() -> None:
    """Scales of a Resize computed from the input's own values lead to a size: no range of eight bits for them."""
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["peak"], "peak", keepdims=0),
        helper.make_node("Mul", ["peak", "zero"], ["nought"], "nought"),
        helper.make_node("Add", ["nought", "factors"], ["scales"], "scales"),
        helper.make_node("Resize", ["x", "", "scales"], ["y"], "resize", mode="nearest"),
    ]
    value = helper.make_tensor_value_info
    constants = [
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.array([1, 1, 1.7, 1.7], np.float32), "factors"),
    ]
    ends = [value("x", TensorProto.FLOAT, ["n", 2, 5, 5])], [value("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", *ends, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    assert data_tensors(model) == ["x", "y"]
    every = {"peak": (-1.0, 1.0), "nought": (0.0, 0.0), "scales": (0.0, 2.0), "x": (-1.0, 1.0), "y": (-1.0, 1.0)}
    assert integer_nodes(model, every) == {"resize"}


class Masked(nn.Module):
    """Attention over the past alone: scores of the future become minus infinity, or a large number below zero."""

    def __init__(self, low: float) -> None:
        super().__init__()
        self.q, self.k, self.last = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 4)
        self.register_buffer("mask", torch.full((6, 6), low).triu(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores = self.q(x) @ self.k(x).transpose(1, 2) + self.mask
        return self.last(scores.softmax(-1) @ x).flatten(1)


@pytest.mark.parametrize("low", [float("-inf"), -3e38, -1e9, -1e4])
def test_masks_do_not_drown_the_scores(low: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, x = Masked(low), torch.randn(80, 6, 8)
    source = written(module, x[:1], tmp_path)
    assert off(source, lowered(Quantize("int8", types="u8s8", stem="int8"), source, x)[0], x) < 0.15


# Biases


@pytest.mark.parametrize("types", TYPES)
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("tiny", [1e-9, 1e-30, 0.0])
def test_a_bias_beside_tiny_weights_fits_its_integers(
    types: str, per_channel: bool, tiny: float, tmp_path: Path
) -> None:
    """A filter that gives hardly more than its bias: the bias must come through to within a step."""
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 6, 3), nn.Flatten(), nn.Linear(6 * 64, 4))
    module[0].weight.data[3] *= tiny
    module[0].bias.data[3] = 5.0  # type: ignore[index]
    if not per_channel:
        module[0].weight.data *= max(tiny, 1e-30)  # one scale for all of them
    module[2].weight.data[1] *= tiny
    module[2].bias.data[1] = -300.0  # type: ignore[index]
    x = torch.randn(60, 3, 10, 10)
    model = separate(onnx.load(str(written(module, x[:1], tmp_path))))
    ranges = activation_ranges(model, x.numpy(), "minmax", Reporter())
    quantized = quantize_graph(model, ranges, TYPES[types], per_channel=per_channel)
    stored = {one.name: numpy_helper.to_array(one) for one in quantized.graph.initializer}
    for name, scale in (("0.bias", stored["0.bias_quantized_scale"]), ("2.bias", stored["2.bias_quantized_scale"])):
        exact = next(numpy_helper.to_array(one) for one in model.graph.initializer if one.name == name)
        back = stored[f"{name}_quantized"].astype(np.float64) * scale.astype(np.float64)
        np.testing.assert_allclose(back, exact, atol=float(scale.max()), rtol=1e-5)
    found, expected = answers(quantized, x.numpy(), Reporter()), answers(model, x.numpy(), Reporter())
    np.testing.assert_allclose(found[:, 1], expected[:, 1], rtol=0.02)


# Networks of one layer, inputs that do not vary


@pytest.mark.parametrize(
    "step",
    [
        Quantize("int4"), Quantize("int8"), Quantize("int8-dynamic"), Quantize("fp16"),
        Quantize("int8", rounding="compensated"), Quantize("int8", rounding="learned"),
        Quantize("int8", bias_correction=True), Quantize("int8", equalize=True),
    ],
    ids=lambda step: step.brief,
)  # fmt: skip
@pytest.mark.parametrize("kind", ["one layer", "constant", "dead"])
def test_small_and_constant_networks(step: Quantize, kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(60, 16)
    module = nn.Sequential(nn.Linear(16, 4)) if kind == "one layer" else nn.Sequential(
        nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)
    )  # fmt: skip
    if kind == "constant":
        x = torch.ones(60, 16)
    if kind == "dead":
        module[0].bias.data.fill_(-100.0)  # type: ignore[operator,union-attr]
    source = written(module, x[:1], tmp_path)
    target, _ = lowered(step, source, x)
    exact, found = outputs(source, x), outputs(target, x)
    assert np.abs(found - exact).max() < 0.2 * np.abs(exact).max()


def test_where_nothing_may_be_integers_the_graph_stays_float() -> None:
    nodes = [helper.make_node("Erf", ["x"], ["y"], "erf")]
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4])] for name in "xy"]
    model = helper.make_model(helper.make_graph(nodes, "g", *ends), opset_imports=[helper.make_opsetid("", 20)])
    quantized = quantize_graph(model, {"x": (-1.0, 1.0), "y": (-1.0, 1.0)})
    assert [node.op_type for node in quantized.graph.node] == ["Erf"]


def test_activations_that_overflow_are_said(tmp_path: Path) -> None:
    module = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    module[0].weight.data.fill_(1e30)
    source = written(module, torch.zeros(1, 4), tmp_path)
    with pytest.raises(StepFailed, match=r"activations of .* are NaN or infinite"):
        lowered(Quantize("int8"), source, torch.full((60, 4), 1e30))
