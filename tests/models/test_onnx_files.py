"""ONNX files of others: the reference evaluator of the onnx package says what they compute."""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from torch import nn

import workbench as wb
from workbench.errors import BadFile, BadValue

Array = np.ndarray[Any, Any]
GENERATOR = np.random.default_rng(3)


def weight(*shape: int) -> Array:
    return GENERATOR.standard_normal(shape).astype(np.float32)


def whole(*values: int) -> Array:
    return np.array(values, np.int64)


def node(kind: str, inputs: str, output: str = "y", **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(kind, [one if one != "-" else "" for one in inputs.split()], output.split(), **attributes)


def graph(
    nodes: list[onnx.NodeProto], shape: list[Any], constants: dict[str, Array], opset: int = 17, kind: int = 1
) -> onnx.ModelProto:
    """A file of one input `x` and the outputs that the last node gives first."""
    entries = [helper.make_tensor_value_info("x", kind, shape)]
    ends = [helper.make_tensor_value_info(nodes[-1].output[0], TensorProto.FLOAT, None)]
    held = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    made = helper.make_graph(nodes, "g", entries, ends, held)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def saved(model: onnx.ModelProto, folder: Path) -> Path:
    path = folder / "net.onnx"
    onnx.save(model, str(path))
    return path


def layers(model: wb.Model) -> list[nn.Module]:
    return [one for one in model.module.modules() if isinstance(one, (nn.Conv1d, nn.Conv2d, nn.Linear))]


def agrees(model: onnx.ModelProto, path: Path, shape: tuple[int, ...], dtype: Any = np.float32) -> wb.Model:
    """The loaded network gives what the reference evaluator does, for a batch that it has never seen."""
    x = (GENERATOR.standard_normal(shape) * 3).astype(dtype)
    found = wb.load(path)
    expected = ReferenceEvaluator(model).run(None, {"x": x})[0]
    with torch.no_grad():
        given = found.module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(given, expected, rtol=1e-4, atol=1e-4)
    return found


FREE = ["n", 3, 8, 8]
CASES: dict[str, tuple[list[onnx.NodeProto], list[Any], dict[str, Array], int]] = {
    "sizes that the file computes": (
        [
            node("Conv", "x w b", "c", pads=[1, 1, 1, 1]), node("Relu", "c", "r"), node("Shape", "r", "s"),
            node("Gather", "s zero", "n"), node("Unsqueeze", "n axis", "n1"), node("Concat", "n1 rest", "t", axis=0),
            node("Reshape", "r t", "f"), node("Gemm", "f v u", "y", transB=1),
        ],
        FREE, {"w": weight(4, 3, 3, 3), "b": weight(4), "zero": np.array(0), "axis": whole(0), "rest": whole(-1),
               "v": weight(5, 256), "u": weight(5)}, 17,
    ),
    "weights in constant nodes, colons and slashes": (
        [
            helper.make_node("Constant", [], ["a/w:0"], value=numpy_helper.from_array(weight(4, 3, 3, 3), "v")),
            helper.make_node(
                "Conv", ["x", "a/w:0"], ["a/out:0"], name="a/conv:0", auto_pad="SAME_UPPER", strides=[2, 2]
            ),
            helper.make_node("GlobalAveragePool", ["a/out:0"], ["y"], name="a/pool:0"),
        ],
        FREE, {}, 13,
    ),
    "a batch of one in the file": (
        [node("Conv", "x w", "c"), node("Reshape", "c t", "f"), node("MatMul", "f v", "y")],
        [1, 3, 8, 8], {"w": weight(2, 3, 3, 3), "t": whole(1, -1), "v": weight(72, 4)}, 13,
    ),
    "pixels last": (
        [node("Transpose", "x", "t", perm=[0, 3, 1, 2]), node("Conv", "t w", "c", pads=[0, 0, 1, 1], strides=[2, 2]),
         node("Transpose", "c", "y", perm=[0, 2, 3, 1])],
        ["n", 8, 8, 3], {"w": weight(4, 3, 2, 2)}, 11,
    ),
    "settings as attributes, as before opset 10": (
        [node("Slice", "x", "s", axes=[2, 3], starts=[1, 0], ends=[7, 6]), node("Clip", "s", "c", min=-0.5, max=1.0),
         node("Pad", "c", "y", pads=[0, 0, 1, 1, 0, 0, 0, 2], value=0.25)],
        FREE, {}, 9,
    ),
    "mirrored margins along the channels": (
        [node("Pad", "x p", "y", mode="reflect")], FREE, {"p": whole(0, 1, 2, 0, 0, 2, 0, 0)}, 13,
    ),
    "nearest, rounded up, half a pixel off": (
        [node("Resize", "x - - s", "y", mode="nearest", nearest_mode="ceil",
              coordinate_transformation_mode="half_pixel")],
        [1, 3, 8, 8], {"s": whole(1, 3, 11, 5)}, 13,
    ),
    "linear, asymmetric": (
        [node("Resize", "x - f", "y", mode="linear", coordinate_transformation_mode="asymmetric")],
        FREE, {"f": np.array([1, 1, 2, 1.5], np.float32)}, 13,
    ),
    "bytes": (
        [node("Cast", "x", "c", to=1), node("Mul", "c k", "m"), node("Conv", "m w", "y")],
        FREE, {"k": np.array(1 / 255, np.float32), "w": weight(2, 3, 3, 3)}, 13,
    ),
    "a norm in pieces": (
        [node("ReduceMean", "x", "m", axes=[1], keepdims=1), node("Sub", "x m", "d"), node("Pow", "d two", "q"),
         node("ReduceMean", "q", "v", axes=[1], keepdims=1), node("Add", "v e", "w"), node("Sqrt", "w", "s"),
         node("Div", "d s", "y")],
        FREE, {"two": np.array(2, np.float32), "e": np.array(1e-3, np.float32)}, 13,
    ),
    "broadcast to a shape that is computed": (
        [node("Shape", "x", "s"), node("ReduceMean", "x", "m", axes=[2, 3], keepdims=1), node("Expand", "m s", "e"),
         node("Sub", "x e", "y")],
        FREE, {}, 13,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_a_file_computes_what_it_says(name: str, tmp_path: Path) -> None:
    nodes, shape, constants, opset = CASES[name]
    bytes_in = name == "bytes"
    model = graph(nodes, shape, constants, opset, TensorProto.UINT8 if bytes_in else TensorProto.FLOAT)
    fixed = shape[0] == 1
    rest = tuple(shape[1:])
    agrees(model, saved(model, tmp_path), (1 if fixed else 2, *rest), np.uint8 if bytes_in else np.float32)


SIZES: dict[str, tuple[list[onnx.NodeProto], dict[str, Array]]] = {
    "sizes in another order": (
        [
            node("Shape", "x", "s"), node("Gather", "s order", "t"), node("Transpose", "x", "z", perm=[2, 0, 1]),
            node("Reshape", "z t", "r"), node("Transpose", "r", perm=[1, 2, 0]),
        ],
        {"order": whole(2, 0, 1)},
    ),
    "a number as often as the batch is large": (
        [
            node("Shape", "x", "s"), node("Cast", "s", "i", to=TensorProto.INT32), node("Slice", "i b e", "n"),
            node("Concat", "n one", "t", axis=0), node("Cast", "t", "u", to=TensorProto.INT64),
            node("Expand", "half u", "h"), node("Unsqueeze", "h last", "k"), node("Add", "x k"),
        ],
        {"b": whole(0), "e": whole(1), "one": np.array([3], np.int32), "half": np.float32(0.5), "last": whole(2)},
    ),
    "bounds from the data": (
        [
            node("ReduceMax", "x", "m", axes=[1, 2], keepdims=1), node("Mul", "m half", "low"),
            node("Clip", "x low0 top", "c"), node("Max", "c low"),
        ],
        {"half": np.float32(0.5), "low0": np.float32(-1), "top": np.float32(2)},
    ),
    "a mirrored last axis": (
        [
            node("Unsqueeze", "x axis", "z"), node("Pad", "z pads", "p", mode="reflect"), node("Squeeze", "p axis"),
        ],
        {"axis": whole(1), "pads": whole(0, 0, 0, 2, 0, 0, 0, 3)},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SIZES)
def test_sizes_and_settings_that_are_computed(name: str, tmp_path: Path) -> None:
    nodes, constants = SIZES[name]
    made = graph(nodes, ["n", 3, 6], constants)
    found = agrees(made, saved(made, tmp_path), (4, 3, 6))
    assert not any("stays the file" in one for one in found.notes)


def test_a_bound_that_is_computed_clips(tmp_path: Path) -> None:
    """The largest number of all, which keeps inputs apart only where nothing is as low as the bound."""
    nodes = [
        node("ReduceMax", "x", "m", keepdims=0), node("Sub", "m far", "low"), node("Clip", "x low", "y"),
    ]  # fmt: skip
    made = graph(nodes, ["n", 3, 6], {"far": np.float32(80)})
    agrees(made, saved(made, tmp_path), (4, 3, 6))


def test_softmax_goes_over_all_that_follows_before_opset_13(tmp_path: Path) -> None:
    path = saved(graph([node("Softmax", "x", "y", axis=1)], FREE, {}, 11), tmp_path)
    x = torch.randn(2, 3, 8, 8)
    expected = x.reshape(2, -1).softmax(1).reshape(x.shape)  # as opset 1 to 12 say it
    assert torch.allclose(wb.load(path).module(x), expected, atol=1e-6)


def test_layers_are_layers_under_the_names_of_the_file(tmp_path: Path) -> None:
    nodes, shape, constants, opset = CASES["sizes that the file computes"]
    named = [
        helper.make_node(n.op_type, n.input, n.output, name=f"/body/block.0/{n.output[0]}/{n.op_type}") for n in nodes
    ]
    for one, original in zip(named, nodes, strict=True):
        one.attribute.extend(original.attribute)
    model = wb.load(saved(graph(named, shape, constants, opset), tmp_path))
    convolution, linear = layers(model)
    assert isinstance(convolution, nn.Conv2d) and convolution.padding == (1, 1)
    assert isinstance(linear, nn.Linear) and linear.weight.shape == (5, 256)
    assert torch.equal(convolution.weight, torch.from_numpy(constants["w"]))
    assert any(path.startswith("body.block.0") for path, one in model.module.named_modules() if one is convolution)
    assert wb.cost(model).macs == 4 * 3 * 9 * 64 + 5 * 256  # by hand: filters times places, and the matrix


def test_a_file_of_one_input_runs_batches(tmp_path: Path) -> None:
    nodes, shape, constants, opset = CASES["a batch of one in the file"]
    model = graph(nodes, shape, constants, opset)
    x = weight(3, 3, 8, 8)
    alone = [ReferenceEvaluator(model).run(None, {"x": x[i : i + 1]})[0] for i in range(3)]
    with torch.no_grad():
        together = wb.load(saved(model, tmp_path)).module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(together, np.concatenate(alone), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_recurrent_layers_have_the_gates_of_the_file(direction: str, tmp_path: Path) -> None:
    count = 2 if direction == "bidirectional" else 1
    constants = {"w": weight(count, 24, 5), "r": weight(count, 24, 6), "b": weight(count, 48)}
    nodes = [node("Transpose", "x", "t", perm=[1, 0, 2]),
             node("LSTM", "t w r b", "h", hidden_size=6, direction=direction),
             node("Transpose", "h", "y", perm=[2, 0, 1, 3])]  # fmt: skip
    model = graph(nodes, ["n", 7, 5], constants)
    path = saved(model, tmp_path)
    # The reference evaluator runs forwards alone; ONNX Runtime judges, on inputs that the loading has not seen.
    import onnxruntime

    x = weight(2, 7, 5)
    expected = onnxruntime.InferenceSession(str(path)).run(None, {"x": x})[0]
    with torch.no_grad():
        found = wb.load(path).module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_torch_writes_is_read_again(tmp_path: Path) -> None:
    torch.manual_seed(1)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.Hardswish(), nn.MaxPool2d(2),
        nn.Conv2d(8, 8, 3, groups=8, padding=1), nn.GELU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4),
    ).eval()  # fmt: skip
    path = tmp_path / "torch.onnx"
    free = {"input": {0: "batch"}}
    torch.onnx.export(
        net, (torch.zeros(1, 3, 16, 16),), str(path), dynamo=False, input_names=["input"], dynamic_axes=free
    )
    model = wb.load(path)
    x = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        assert torch.allclose(model.module(x), net(x), atol=1e-5)
    small = wb.compress(model, wb.SVD(rank=2))
    assert wb.cost(small).macs < wb.cost(model).macs


def test_several_inputs_go_by_the_names_of_the_file(tmp_path: Path) -> None:
    entries = [
        helper.make_tensor_value_info("left:0", 1, ["n", 4]),
        helper.make_tensor_value_info("right/x", 1, ["n", 4]),
    ]
    ends = [helper.make_tensor_value_info(one, 1, None) for one in ("y", "z")]
    nodes = [node("MatMul", "left:0 w", "a"), node("Add", "a right/x", "y"), node("Relu", "y", "z")]
    held = [numpy_helper.from_array(weight(4, 4), "w")]
    made = helper.make_graph(nodes, "g", entries, ends, held)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = wb.load(saved(model, tmp_path))
    assert list(found.example) == ["left_0", "right_x"]
    a, b = weight(2, 4), weight(2, 4)
    with torch.no_grad():
        y, z = found.module(left_0=torch.from_numpy(a), right_x=torch.from_numpy(b))
    expected = ReferenceEvaluator(model).run(None, {"left:0": a, "right/x": b})
    np.testing.assert_allclose(y.numpy(), expected[0], atol=1e-5)
    np.testing.assert_allclose(z.numpy(), expected[1], atol=1e-5)


def test_open_sizes_are_told_and_may_be_given(tmp_path: Path) -> None:
    model = graph([node("Conv", "x w", "y")], ["?", 3, "?", "w"], {"w": weight(2, 3, 3, 3)})
    path = saved(model, tmp_path)
    assert "example=" in wb.load(path).notes[0]
    given = wb.load(path, example=(1, 3, 20, 12))
    assert given.shape == (3, 20, 12) and not given.notes
    with pytest.raises(BadValue, match="shape"):
        wb.load(path, example=(1, 4, 20, 12))


@pytest.mark.parametrize(
    ("shape", "said"), [(["n", 8, 6, 3], True), ([1, "h", "w", 1], True), (["n", 3, 8, 3], False), (["n", 8, 3], False)]
)
def test_pictures_with_the_channels_last_are_told(shape: list[Any], said: bool, tmp_path: Path) -> None:
    model = wb.load(saved(graph([node("Relu", "x")], shape, {}), tmp_path))
    told = [one for one in model.notes if "channels last" in one]
    assert bool(told) is said
    if said:
        how = ast.literal_eval(told[0].partition("preprocess=")[2].partition(")")[0])
        pictures = wb.data(torch.zeros(2, shape[3], *model.shape[:2], dtype=torch.uint8), preprocess=how)
        assert tuple(next(pictures["test"].batches())[0].shape[1:]) == model.shape


def test_inputs_without_a_batch_are_held(tmp_path: Path) -> None:
    entries = [helper.make_tensor_value_info("x", 1, ["n", 4]), helper.make_tensor_value_info("scale", 1, [])]
    ends = [helper.make_tensor_value_info("y", 1, None)]
    made = helper.make_graph([node("Mul", "x scale")], "g", entries, ends)
    path = saved(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path)
    model = wb.load(path, example={"scale": np.float32(3)})
    assert any("scale" in note for note in model.notes)
    assert torch.equal(model.module(torch.ones(2, 4)), torch.full((2, 4), 3.0))


def test_a_branch_that_sizes_decide_is_taken(tmp_path: Path) -> None:
    def branch(kind: str) -> onnx.GraphProto:
        end = helper.make_tensor_value_info(f"{kind}_y", 1, None)
        return helper.make_graph([node(kind, "x", end.name)], kind, [], [end])

    nodes = [node("Shape", "x", "s"), node("Gather", "s one", "c"), node("Equal", "c three", "is"),
             node("If", "is", "y", then_branch=branch("Relu"), else_branch=branch("Neg"))]  # fmt: skip
    model = graph(nodes, FREE, {"one": np.array(1), "three": np.array(3)})
    found = wb.load(saved(model, tmp_path))
    assert torch.equal(found.module(torch.full((2, 3, 8, 8), -1.0)), torch.zeros(2, 3, 8, 8))


def test_half_precision_becomes_float(tmp_path: Path) -> None:
    half = weight(2, 3, 3, 3).astype(np.float16)
    nodes = [node("Cast", "x", "h", to=10), node("Conv", "h w", "c"), node("Cast", "c", "y", to=1)]
    model = wb.load(saved(graph(nodes, FREE, {"w": half}), tmp_path))
    (layer,) = layers(model)
    assert torch.equal(layer.weight, torch.from_numpy(half.astype(np.float32)))


def test_a_quantized_file_is_read_as_numbers(tmp_path: Path) -> None:
    scale, grid = np.array(0.05, np.float32), GENERATOR.integers(-127, 127, (2, 3, 3, 3)).astype(np.int8)
    nodes = [node("QuantizeLinear", "x s z", "q"), node("DequantizeLinear", "q s z", "d"),
             node("DequantizeLinear", "g s z", "w"), node("Conv", "d w", "y")]  # fmt: skip
    model = wb.load(saved(graph(nodes, FREE, {"s": scale, "z": np.array(0, np.int8), "g": grid}), tmp_path))
    assert "quantized" in model.notes[0]
    (layer,) = layers(model)
    np.testing.assert_allclose(layer.weight.detach().numpy(), grid * 0.05, rtol=1e-6)


REFUSED: dict[str, tuple[list[onnx.NodeProto], dict[str, Array], str]] = {
    "an operator of somebody": (
        [helper.make_node("Magic", ["x"], ["y"], "spell", domain="org.example")], {}, "ONNX Runtime",
    ),
    "a size from values": ([node("NonZero", "x", "p"), node("Cast", "p", "y", to=1)], {}, "values"),
    "a constant that nobody holds": (
        [node("ConstantOfShape", "t", "c"), node("ReduceSum", "c", "s", keepdims=0), node("Add", "x s")],
        {"t": whole(10**5, 10**5, 8)}, "elements",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_said(name: str, tmp_path: Path) -> None:
    nodes, constants, word = REFUSED[name]
    with pytest.raises((BadFile, BadValue), match=word):
        wb.load(saved(graph(nodes, FREE, constants), tmp_path))


def _plain() -> onnx.ModelProto:
    return graph([node("Conv", "x w", "y")], FREE, {"w": weight(2, 3, 3, 3)})


def _outside(model: onnx.ModelProto) -> None:
    (one,) = model.graph.initializer
    one.ClearField("raw_data")
    one.data_location = TensorProto.EXTERNAL
    one.external_data.add(key="location", value="../secret.bin")


def _elsewhere(model: onnx.ModelProto) -> None:
    _outside(model)
    model.graph.initializer[0].external_data[0].value = "gone.bin"


def _longer(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = 2**40


def _circle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "later"
    model.graph.node.append(node("Relu", "y", "later"))


def _negative(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].dims[0] = -2


HOSTILE: list[tuple[Callable[[onnx.ModelProto], None], str]] = [
    (_outside, "outside its own folder"), (_elsewhere, "not there"), (_longer, "hold"), (_circle, "circle"),
    (_negative, "cannot be"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "word"), HOSTILE)
def test_hostile_files_are_refused(change: Callable[[onnx.ModelProto], None], word: str, tmp_path: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(b"\0" * 1000)
    folder = tmp_path / "inner"
    folder.mkdir()
    model = _plain()
    change(model)
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(BadFile, match=word):
        wb.load(path)


def test_a_file_that_is_cut_anywhere_is_a_sentence(tmp_path: Path) -> None:
    content = _plain().SerializeToString()
    for end in range(0, len(content), 17):
        path = tmp_path / "cut.onnx"
        path.write_bytes(content[:end])
        with pytest.raises((BadFile, BadValue)):
            wb.load(path)


def test_weights_beside_the_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    model = _plain()
    kept = numpy_helper.to_array(model.graph.initializer[0])
    onnx.save(model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0)
    (layer,) = layers(wb.load(path))
    assert torch.equal(layer.weight, torch.from_numpy(np.array(kept)))


def test_a_network_of_many_operations_in_a_row_is_followed(tmp_path: Path) -> None:
    names = ["x", *(f"t{i}" for i in range(1500)), "y"]
    nodes = [node("Add", f"{a} k", b) for a, b in itertools.pairwise(names)]
    model = wb.load(saved(graph(nodes, ["n", 2], {"k": np.array([0.5, 1.0], np.float32)}), tmp_path))
    assert torch.allclose(model.module(torch.zeros(1, 2)), torch.tensor([[750.5, 1501.0]]))


def test_shares_that_are_all_tiny_are_judged_by_their_rounding(tmp_path: Path) -> None:
    """A detector that sees nothing: ONNX Runtime's sigmoid is exact to 1e-7 of one, which is much of 1e-5."""
    nodes = [node("Conv", "x w b", "c", pads=[1, 1, 1, 1]), node("Sigmoid", "c")]
    constants = {"w": weight(1, 3, 3, 3) / 9, "b": np.full(1, -15.0, np.float32)}
    made = graph(nodes, [1, 3, 8, 8], constants)
    found, x = wb.load(saved(made, tmp_path)), GENERATOR.standard_normal((1, 3, 8, 8)).astype(np.float32)
    expected = ReferenceEvaluator(made).run(None, {"x": x})[0]
    with torch.no_grad():
        given = found.module(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(given, expected, rtol=1e-4)
    assert expected.max() < 1e-4
