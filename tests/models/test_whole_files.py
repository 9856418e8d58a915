"""ONNX files with operators that torch has none for: costed, measured, quantized and exported as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

import workbench as wb
from workbench.errors import BadFile, BadValue
from workbench.models import kept

RNG = np.random.default_rng(0)
WEIGHTS = {
    "first": RNG.standard_normal((8, 2, 3, 3)) / 3, "bias": RNG.standard_normal(8), "second": np.eye(8, 3) * 4,
    "shift": np.zeros(3), "scale": np.full(1, 0.5),
}  # fmt: skip


def written(path: Path, batch: Any = "n", last: str = "Normalizer") -> Path:
    """Convolution, ReLU, mean, a product, and scores that are normalized by an operator for classical models."""
    nodes = [
        helper.make_node("Conv", ["x", "first", "bias"], ["c"], strides=[2, 2], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["g"]),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "second", "shift"], ["s"], name="head"),
        helper.make_node(last, ["s"], ["y"], domain="ai.onnx.ml", norm="L2", name="scores"),
    ]
    graph = helper.make_graph(
        nodes, "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 2, 8, 12])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, 3])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in WEIGHTS.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> wb.Model:
    return wb.load(written(tmp_path_factory.mktemp("files") / "scores.onnx"))


def run(path: Path, x: torch.Tensor) -> np.ndarray[Any, Any]:
    session = onnxruntime.InferenceSession(str(path))
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0])


@pytest.mark.parametrize("batch", ["n", 1])
def test_it_computes_what_the_file_does(batch: Any, tmp_path: Path) -> None:
    path = written(tmp_path / "net.onnx", batch)
    model, x = wb.load(path), torch.randn(5, 2, 8, 12)
    expected = np.concatenate([run(path, one[None]) for one in x])
    assert np.abs(model.module(x).numpy() - expected).max() < 1e-5
    assert model.shape == (2, 8, 12) and "'scores' (Normalizer) is an operator of ai.onnx.ml" in model.notes[0]


def test_its_cost_is_that_of_its_shapes(model: wb.Model) -> None:
    cost = wb.cost(model)
    assert cost.macs == 4 * 6 * 8 * 2 * 9 + 8 * 3
    assert cost.params == 8 * 2 * 9 + 8 + 8 * 3 + 3
    rows = {one.name: one for one in model.network.layers}
    assert (rows["conv"].input, rows["conv"].output, rows["conv"].stride) == ((2, 8, 12), (8, 4, 6), (2, 2))
    assert rows["head"].kind == "linear" and rows["scores"].kind == "other" and rows["scores"].result
    twin = torch.nn.Sequential(torch.nn.Conv2d(2, 8, 3, 2, 1), torch.nn.ReLU(), torch.nn.AdaptiveAvgPool2d(1),
                               torch.nn.Flatten(1), torch.nn.Linear(8, 3))  # fmt: skip
    reference = wb.cost(twin, (1, 2, 8, 12))
    assert (reference.macs, reference.params) == (cost.macs, cost.params)
    assert cost.memory_access_bytes - reference.memory_access_bytes == 4 * (3 + 3)  # the scores, read and written


@pytest.mark.parametrize("step", [wb.SVD(0.5), wb.PruneChannels(0.3), wb.Finetune(1), wb.QAT(1), wb.Recalibrate()])
def test_what_needs_torch_is_refused_with_the_operator(model: wb.Model, step: Any) -> None:
    plan = step.plan(model)
    assert "Normalizer" in plan.problem and "Normalizer" in plan.rows[0].action and plan.macs == plan.before.macs
    with pytest.raises(wb.WorkbenchError, match=r"stays an ONNX file.*'scores' \(Normalizer\)"):
        plan.required()


def test_a_study_of_it(model: wb.Model, tmp_path: Path) -> None:
    x = torch.randn(120, 2, 8, 12, generator=torch.Generator().manual_seed(0))
    labels = model.module(x).argmax(1)
    pairs = {"train": (x[:60], labels[:60]), "validation": (x[60:90], labels[60:90]), "test": (x[60:], labels[60:])}
    study = wb.Study(model, wb.data(pairs), path=tmp_path / "study")
    small = study.run(wb.Quantize("int8"))
    assert study.baseline["accuracy"].value == 1.0 and small["accuracy"].value > 0.8
    assert {"Conv", "Normalizer"} <= {node.op_type for node in onnx.load(study.baseline.onnx).graph.node}
    kinds = {node.op_type for node in onnx.load(small.onnx).graph.node}
    assert "Normalizer" in kinds and "QuantizeLinear" in kinds
    assert study.run(wb.Quantize("fp16"))["file_bytes"].value < study.baseline["file_bytes"].value
    again = wb.Study(model, wb.data(pairs), path=tmp_path / "study")
    assert len(again.variants) == 3
    wb.export(small, tmp_path / "out")
    found = run(next((tmp_path / "out").glob("*.onnx")), x[60:])
    assert (found.argmax(1) == labels[60:].numpy()).mean() == pytest.approx(small["accuracy"].value)
    wb.export(study.baseline, tmp_path / "kept", format="safetensors")
    loaded = wb.load(tmp_path / "kept")
    assert torch.equal(loaded.module(x), model.module(x)) and "Normalizer" in wb.SVD(0.5).plan(loaded).problem


class Pictures(CalibrationDataReader):
    def __init__(self) -> None:
        self.left = [{"x": one[None].astype(np.float32)} for one in RNG.standard_normal((8, 2, 8, 12))]

    def get_next(self) -> Any:
        return self.left.pop() if self.left else None


def test_a_file_that_computes_in_integers(tmp_path: Path) -> None:
    path = tmp_path / "codes.onnx"
    quantize_static(written(tmp_path / "net.onnx"), path, Pictures(), quant_format=QuantFormat.QOperator)
    assert "QLinearConv" in {node.op_type for node in onnx.load(path).graph.node}
    model = wb.load(path)
    assert wb.cost(model).macs == 4 * 6 * 8 * 2 * 9 + 8 * 3
    assert {one.bits for one in model.network.layers if one.kind in {"linear", "conv"}} == {8}
    x = torch.randn(3, 2, 8, 12)
    assert np.abs(model.module(x).numpy() - run(path, x)).max() < 1e-6
    plan = wb.Quantize("int8").plan(model)
    assert "computes in integers already" in plan.problem


def test_files_that_mix_their_inputs_are_refused(tmp_path: Path) -> None:
    """The largest number of the whole batch scales each input."""
    path = written(tmp_path / "net.onnx")
    model = onnx.load(path)
    model.graph.node[-1].input[0] = "scaled"
    model.graph.node.insert(5, helper.make_node("ReduceMax", ["s"], ["top"], keepdims=0))
    model.graph.node.insert(6, helper.make_node("Div", ["s", "top"], ["ratio"]))
    model.graph.node.insert(7, helper.make_node("Exp", ["ratio"], ["scaled"]))
    onnx.save(model, path)
    with pytest.raises(BadValue, match=r"Normalizer.*does not give what it gives for each"):
        wb.load(path)


def test_a_strangers_file_is_looked_at_before_it_runs(model: wb.Model, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from workbench.models.structure import save_variant
    from workbench.untrusted import read_metadata

    save_variant(model.module, model, tmp_path / "net.safetensors")
    state, texts = load_file(tmp_path / "net.safetensors"), read_metadata(tmp_path / "net.safetensors")
    (name,) = state
    state[name][: len(state[name]) // 2] = 255
    save_file(state, tmp_path / "net.safetensors", texts)
    with pytest.raises(BadFile, match="not a readable ONNX file"):
        wb.load(tmp_path / "net.safetensors")


def test_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "WORTH", 0.0)
    path = written(tmp_path / "net.onnx")
    first, again = wb.load(path), wb.load(path)
    assert len(list((tmp_path / "cache" / "networks").glob("*.safetensors"))) == 1
    assert first.hash == again.hash and first.notes == again.notes
