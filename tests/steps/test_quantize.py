"""Quantization against arithmetic done by hand, and against torch's own outputs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from torch import nn

from workbench.cost.trace import trace
from workbench.cost.weights import Weights
from workbench.data.batches import as_split
from workbench.errors import BadValue, MeasurementFailed, StepFailed, UnknownName
from workbench.estimate import Estimate, paired_change
from workbench.measure import int8_layouts
from workbench.measure.accuracy import outputs
from workbench.models.architectures import ARCHITECTURES
from workbench.onnx_file import file_bytes, write_onnx
from workbench.quantization.inspect import float_nodes
from workbench.quantization.sensitivity import Judge, Mixed, Quantizer
from workbench.step import Context
from workbench.steps.quantize import Quantize, calibration_inputs
from workbench.tasks.classification import CLASSIFICATION

FASHION = (1, 1, 28, 28)


def images(n: int, shape: tuple[int, ...] = FASHION, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, *shape[1:], generator=torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def _types_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test here measures which types are fastest, but the one that says so."""
    monkeypatch.setattr(int8_layouts, "fastest", lambda paths, **_: 0)
    monkeypatch.setattr(int8_layouts, "_KNOWN", {})


def lowered(step: Quantize, source: Path, calibration: torch.Tensor | None) -> Path:
    target = source.with_name(f"{source.stem}.{step.precision}.onnx")
    example = torch.zeros(1, 1) if calibration is None else calibration[:1]
    step.lower(source, target, Context(example, calibration=calibration))
    return target


def fresh(name: str) -> nn.Module:
    """Random weights, with batch-norm statistics that keep the activations alive in every layer."""
    torch.manual_seed(0)
    module = ARCHITECTURES[name]()
    for one in module.modules():
        if isinstance(one, nn.BatchNorm2d):
            one.momentum = None  # a plain average
    with torch.no_grad():
        module.train()(images(200, seed=9))
        last = [one for one in module.modules() if isinstance(one, nn.Linear)][-1]
        last.bias -= module.eval()(images(200, seed=9)).mean(0)  # or every image would fall into one class
    return module.eval()


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("nets")
    return {name: write_onnx(fresh(name), torch.zeros(FASHION), folder / f"{name}.onnx") for name in ARCHITECTURES}


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize(("precision", "error", "size"), [("fp16", 0.01, 0.53), ("int8", 0.4, 0.5), ("int4", 0.8, 0.3)])
def test_outputs_stay_near(nets: dict[str, Path], name: str, precision: str, error: float, size: float) -> None:
    target = lowered(Quantize(precision), nets[name], images(100))
    inputs = images(50, seed=1)
    exact, found = outputs(nets[name], inputs), outputs(target, inputs)
    assert 0 < np.std(found - exact) < error * np.std(exact - exact.mean(0))
    assert file_bytes(target) < size * file_bytes(nets[name])


def test_int8_convolution_by_hand(tmp_path: Path) -> None:
    """Quantize, convolve in integers and rescale with numpy alone, as in Jacob et al. 2018, section 2."""
    torch.manual_seed(0)
    conv = nn.Conv2d(2, 3, 1)
    conv.weight.data[1] *= 20  # per-channel scales must differ
    net = nn.Sequential(conv, nn.ReLU(), nn.Conv2d(3, 2, 1))  # the second layer's output stays in float
    source = write_onnx(net, torch.zeros(1, 2, 4, 4), tmp_path / "net.onnx")
    x = images(64, (1, 2, 4, 4))
    found = outputs(lowered(Quantize("int8"), source, x), x[:8])
    with torch.no_grad():
        hidden_range = net[:2](x)

    def activation(values: torch.Tensor, seen: torch.Tensor) -> np.ndarray:
        low, high = min(0.0, float(seen.min())), max(0.0, float(seen.max()))
        scale = (high - low) / 255
        zero = round(-low / scale)
        integers = np.clip(np.rint(values.numpy() / scale) + zero, 0, 255)
        return (integers - zero) * scale

    def layer(values: np.ndarray, module: nn.Conv2d) -> torch.Tensor:
        weight = module.weight.detach().numpy()[:, :, 0, 0]
        scale = np.abs(weight).max(axis=1, keepdims=True) / 127
        rounded = np.rint(weight / scale) * scale
        assert module.bias is not None
        bias = module.bias.detach().numpy()[None, :, None, None]
        return torch.from_numpy(np.einsum("oi,nihw->nohw", rounded, values) + bias)

    hidden = layer(activation(x[:8], x), conv).clamp(min=0)
    expected = layer(activation(hidden, hidden_range), net[2])
    step = float(hidden_range.max()) / 255 * float(net[2].weight.detach().abs().sum(1).max())
    np.testing.assert_allclose(found, expected.numpy(), atol=1.01 * step)  # ties may round either way
    assert np.mean(np.abs(found - expected.numpy()) > 0.01 * step) < 0.1


def test_weights_are_8_bit_integers_with_one_scale_a_channel(nets: dict[str, Path]) -> None:
    model = onnx.load(str(lowered(Quantize("int8"), nets["fashion-resnet"], images(50))))
    constants = {one.name: numpy_helper.to_array(one) for one in model.graph.initializer}
    weights = [v for v in constants.values() if v.ndim == 4]
    assert weights
    assert all(v.dtype == np.int8 for v in weights)
    makers = {name: node for node in model.graph.node for name in node.output}
    conv = next(node for node in model.graph.node if node.op_type == "Conv")
    dequantize = makers[conv.input[1]]
    assert constants[dequantize.input[1]].shape == (32,)
    assert model.graph.output[0].name == "logits"
    assert makers["logits"].op_type == "Gemm"  # logits are not rounded


def test_without_calibration_images(nets: dict[str, Path]) -> None:
    with pytest.raises(StepFailed, match="needs calibration images"):
        lowered(Quantize("int8"), nets["fashion-resnet"], None)


def test_nan_activations_name_the_layer(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 2, 1))
    net[0].weight.data *= 100
    source = write_onnx(net, torch.zeros(1, 1, 4, 4), tmp_path / "net.onnx")
    inputs = images(60, (1, 1, 4, 4))
    inputs[7] = 3e38
    with pytest.raises(StepFailed, match=r"activations of (Conv|Relu) '.*' are NaN or infinite"):
        lowered(Quantize("int8"), source, inputs)


def test_unknown_precision() -> None:
    with pytest.raises(BadValue, match="must be one of 'int8', 'fp16', 'int8-dynamic'"):
        Quantize("int7")


@pytest.mark.parametrize(("precision", "bits"), [("fp16", 16), ("int8", 8)])
def test_sketch_keeps_shapes_and_shrinks_memory_access(precision: str, bits: int) -> None:
    module = ARCHITECTURES["fashion-resnet"]()
    network = trace(module, torch.zeros(FASHION))
    sketch = Quantize(precision).plan_on(network, Weights(module))
    assert sketch.network.totals.macs == network.totals.macs
    moved, moved_before = (sum(x.unfused_memory_access_bytes for x in n.layers) for n in (sketch.network, network))
    assert moved * 32 == moved_before * bits
    assert [row.layer for row in sketch.rows] == [
        name for name, m in module.named_modules() if isinstance(m, nn.Conv2d | nn.Linear)
    ]
    assert all(row.applies and row.action.startswith(f"{bits} bits") for row in sketch.rows)


def test_sketch_knows_what_stays_in_float() -> None:
    module = ARCHITECTURES["fashion-mobilenet"]()
    network = trace(module, torch.zeros(FASHION))
    sketch = Quantize("int8", exclude="stem.*, classifier.2").plan_on(network, Weights(module))
    left = {row.layer: row.action for row in sketch.rows if not row.applies}
    assert left == dict.fromkeys(("stem.0", "classifier.2"), "stays in float32: left out by `exclude`")
    bits = {layer.name: layer.bits for layer in sketch.network.layers}
    assert (bits["stem.0"], bits["stem.1"], bits["stem.2"], bits["blocks.0.body.0"]) == (32, 32, 32, 8)
    dynamic = Quantize("int8-dynamic").plan_on(network, Weights(module))
    assert [row.layer for row in dynamic.rows if row.applies] == ["classifier.2"]
    assert "unless given back" in Quantize("int8", max_drop=0.01).plan_on(network, Weights(module)).rows[-1].action


@pytest.mark.parametrize("exclude", ["blocks.0.*,head.2", ("blocks.0.*", "head.2"), ["blocks.0.*", "head.2"]])
def test_excluded_layers_stay_in_float(nets: dict[str, Path], exclude: str | tuple[str, ...]) -> None:
    target = lowered(Quantize("int8", exclude=exclude), nets["fashion-resnet"], images(50))
    constants = {one.name: one.data_type for one in onnx.load(str(target)).graph.initializer}
    floats = {n.removesuffix(".weight") for n, kind in constants.items() if n.endswith(".weight") and kind == 1}
    assert floats == {"blocks.0.conv1", "blocks.0.conv2", "blocks.0.shortcut.0", "head.2"}
    assert floats == {node.name for node in float_nodes(target)}


def test_unknown_layer(nets: dict[str, Path]) -> None:
    with pytest.raises(UnknownName, match="no layer named 'stem.7'"):
        lowered(Quantize("int8", exclude="stem.7"), nets["fashion-resnet"], images(50))


def test_types_are_measured_once(nets: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def last_but_one(paths: list[Path], **_: object) -> int:
        asked.append(len(paths))
        return len(paths) - 2

    monkeypatch.setattr(int8_layouts, "fastest", last_but_one)
    for _ in range(2):
        model = onnx.load(str(lowered(Quantize("int8"), nets["fashion-mobilenet"], images(50))))
        constants = {one.name: one.data_type for one in model.graph.initializer}
        assert constants["input_zero_point"] == onnx.TensorProto.INT8
    assert asked == [5]  # no, one or two first layers in float; two more types
    lowered(Quantize("int8", types="u8s8", stem="int8"), nets["fashion-vgg"], images(50))
    assert asked == [5]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_stem_in_float_is_told_and_leaves_integers_before_no_pooling(nets: dict[str, Path], name: str) -> None:
    target = nets[name].with_name("stem.onnx")
    context = Context(images(1), calibration=images(50))
    Quantize("int8", types="u8s8", stem="float").lower(nets[name], target, context)
    left = [node.operator for node in float_nodes(target)]
    assert left[0] == "Conv" and left.count("Conv") == 1
    assert left.count("MaxPool") == (name == "fashion-vgg")  # where one follows the stem, it is in float too
    assert not context.progress.notes  # it was asked for
    exact, found = outputs(nets[name], images(50, seed=1)), outputs(target, images(50, seed=1))
    assert np.std(found - exact) < 0.4 * np.std(exact - exact.mean(0))


def test_a_stem_that_was_measured_faster_in_float_is_noted(
    nets: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(int8_layouts, "fastest", lambda paths, **_: 1)
    context = Context(images(1), calibration=images(50))
    Quantize("int8").lower(nets["fashion-resnet"], nets["fashion-resnet"].with_name("told.onnx"), context)
    assert context.progress.notes == ["Measured faster in float here than in integers: stem.0."]


def test_where_types_cannot_be_measured_the_usual_winner_is_taken(
    nets: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(paths: list[Path], **_: object) -> int:
        raise MeasurementFailed("too busy")

    monkeypatch.setattr(int8_layouts, "fastest", fail)
    model = onnx.load(str(lowered(Quantize("int8"), nets["fashion-mobilenet"], images(50))))
    constants = {one.name: one.data_type for one in model.graph.initializer}
    assert constants["input_zero_point"] == onnx.TensorProto.UINT8


def test_few_calibration_images_are_noted() -> None:
    context = Context(images(1), calibration=images(7))
    calibration_inputs(context, "int8")
    assert context.progress.notes == ["7 calibration images may miss the range of some activations; 50 suffice."]


def test_minmax_agrees_with_the_runtimes_own_quantizer(nets: dict[str, Path], tmp_path: Path) -> None:
    inputs = images(100).numpy()

    class Reader(CalibrationDataReader):  # type: ignore[misc]  # ships no types
        batches = iter([{"input": inputs[:50]}, {"input": inputs[50:]}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.batches, None)

    theirs = tmp_path / "theirs.onnx"
    quantize_static(nets["fashion-resnet"], theirs, Reader(), per_channel=True, activation_type=QuantType.QUInt8)
    ours = lowered(Quantize("int8", types="u8s8"), nets["fashion-resnet"], images(100))

    def constants(path: Path) -> dict[str, np.ndarray]:
        return {one.name: numpy_helper.to_array(one) for one in onnx.load(str(path)).graph.initializer}

    found, expected = constants(ours), constants(theirs)
    shared = found.keys() & expected.keys()
    assert len([name for name in shared if name.endswith("_quantized")]) >= 24  # weights and biases of all layers
    for name in shared:
        np.testing.assert_allclose(found[name].astype(float), expected[name].astype(float), rtol=1e-4, atol=1)


def test_fp16_leaves_out_what_is_excluded(nets: dict[str, Path]) -> None:
    model = onnx.load(str(lowered(Quantize("fp16", exclude="classifier.*"), nets["fashion-vgg"], images(1))))
    constants = {one.name: one.data_type for one in model.graph.initializer}
    assert constants["features.0.weight"] == onnx.TensorProto.FLOAT16
    assert constants["classifier.1.weight"] == onnx.TensorProto.FLOAT


def test_max_drop_chooses_on_validation(nets: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def keep(model: object, layers: list[str], quantize: Quantizer, judge: Judge, bound: float, _: object) -> Mixed:
        asked.update(layers=layers, judge=judge, bound=bound)
        return Mixed(quantize(frozenset({"stem.0"})), ("stem.0",), Estimate(0.2, 0.1, 0.3, 9))

    monkeypatch.setattr("workbench.steps.quantize.keep_quality", keep)
    validation = as_split(images(9, seed=4), torch.arange(9))
    context = Context(images(1), calibration=images(60), validation=validation, task=CLASSIFICATION)
    Quantize("int8", max_drop=0.05, exclude="head.*").lower(nets["fashion-resnet"], tmp_path / "m.onnx", context)
    assert "20.00 % of accuracy is lost on the validation split, more than 5.00 %" in context.progress.notes[0]
    assert {node.name for node in float_nodes(tmp_path / "m.onnx")} == {"stem.0", "head.2"}
    assert asked["bound"] == 0.05
    assert len(asked["layers"]) == 11
    assert "head.2" not in asked["layers"]
    judge = asked["judge"]
    assert judge.split is validation
    right = np.eye(9)  # of nine inputs the second network gets the first three wrong
    drop = judge.drop(right, np.eye(9)[[1, 2, 0, *range(3, 9)]])
    expected = paired_change(0, 3, 9)  # three are lost: the loss is the change the other way round
    found = (drop.value, drop.low, drop.high, drop.n)
    assert found == pytest.approx((expected.value, expected.low, expected.high, 9))


def test_max_drop_needs_validation_images(nets: dict[str, Path]) -> None:
    with pytest.raises(StepFailed, match="chooses on the validation split, and the data have none"):
        lowered(Quantize("int8", max_drop=0.01), nets["fashion-resnet"], images(50))


@pytest.mark.parametrize("options", [{"equalize": True}, {"bias_correction": True}, {"rounding": "compensated"}])
def test_repairs_do_no_harm(nets: dict[str, Path], options: dict[str, object]) -> None:
    source, inputs = nets["fashion-mobilenet"], images(100, seed=5)
    exact = outputs(source, inputs)
    plain, repaired = (
        float(np.std(outputs(lowered(step, source, images(100)), inputs) - exact))
        for step in (Quantize("int8", per_channel=False), Quantize("int8", per_channel=False, **options))  # type: ignore[arg-type]
    )
    assert repaired < 1.1 * plain


def test_compensated_rounding_needs_signed_weights() -> None:
    with pytest.raises(BadValue, match="rounds signed weights"):
        Quantize("int8", rounding="compensated", types="u8u8")


def test_brief_says_what_differs() -> None:
    assert Quantize("int8").brief == "int8"
    assert Quantize("int8", calibration="mse").brief == "int8 calibration=mse"


def test_the_plan_tells_of_the_stem() -> None:
    network, weights = trace(fresh("fashion-resnet"), torch.zeros(FASHION)), Weights(fresh("fashion-resnet"))
    by_layer = {row.layer: row for row in Quantize("int8").plan_on(network, weights).rows}
    assert by_layer["stem.0"].action == "8 bits, or float32 where that is measured faster"
    assert by_layer["blocks.1.conv1"].action == "8 bits"
    asked = {row.layer: row for row in Quantize("int8", stem="float").plan_on(network, weights).rows}
    assert not asked["stem.0"].applies and "`stem`" in asked["stem.0"].action


@pytest.mark.parametrize("precision", ["int8", "fp16", "int4", "int8-dynamic"])
def test_a_graph_that_takes_images_of_any_size(precision: str, tmp_path: Path) -> None:
    """Calibrated at one size, it runs at another."""
    torch.manual_seed(0)
    pool = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)]
    net = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), *pool)
    source = write_onnx(net, torch.zeros(1, 2, 8, 8), tmp_path / "net.onnx")
    model = onnx.load(str(source))
    for axis, name in ((2, "height"), (3, "width")):
        model.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = name
    del model.graph.value_info[:]
    onnx.save_model(model, str(source))
    target = lowered(Quantize(precision), source, images(60, (1, 2, 8, 8)))
    other = images(20, (1, 2, 14, 11), seed=3)
    exact, found = outputs(source, other), outputs(target, other)
    assert np.std(found - exact) < 0.4 * np.std(exact - exact.mean(0))
