from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from workbench.data import Split
from workbench.data.batches import as_split
from workbench.errors import BadValue, Cancelled, MeasurementFailed
from workbench.jobs import Reporter
from workbench.measure.accuracy import evaluate, outputs
from workbench.onnx_file import write_onnx


@pytest.fixture(scope="module")
def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).eval()


@pytest.fixture(scope="module")
def artefact(net: nn.Module, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_onnx(net, torch.zeros(1, 1, 8, 8), tmp_path_factory.mktemp("net") / "net.onnx")


@pytest.fixture(scope="module")
def split() -> Split:
    generator = torch.Generator().manual_seed(1)
    return as_split(torch.randn(257, 1, 8, 8, generator=generator), torch.randint(5, (257,), generator=generator))


def test_agrees_with_torch(net: nn.Module, artefact: Path, split: Split) -> None:
    with torch.no_grad():
        said = net(split.inputs).argmax(1)
    found = evaluate(artefact, split)
    np.testing.assert_array_equal(found.predictions, said.numpy())
    right = int((said == split.labels).sum())
    assert found.right.sum() == right
    assert found.accuracy.value == right / 257
    assert found.accuracy.n == 257
    # Wilson's interval solves (p - share)^2 = z^2 p (1 - p) / n
    for p in (found.accuracy.low, found.accuracy.high):
        assert math.isclose((p - right / 257) ** 2, 1.959964**2 * p * (1 - p) / 257, rel_tol=1e-6)


def test_outputs_agree_with_torch(net: nn.Module, artefact: Path, split: Split) -> None:
    with torch.no_grad():
        np.testing.assert_allclose(outputs(artefact, split.inputs), net(split.inputs).numpy(), atol=1e-4)


def test_progress_and_cancel(artefact: Path, split: Split) -> None:
    seen: list[float] = []
    reporter = Reporter(lambda fraction, _: seen.append(fraction))
    evaluate(artefact, split, progress=reporter)
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) > 2
    reporter.cancelled.set()
    with pytest.raises(Cancelled):
        evaluate(artefact, split, progress=reporter)


def test_nan_has_no_accuracy(split: Split, tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Flatten", ["input"], ["flat"]), helper.make_node("Sqrt", ["flat"], ["logits"])],
        "broken",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", 64])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), str(tmp_path / "b.onnx")
    )
    with pytest.raises(MeasurementFailed, match="NaN or infinity for 257 of 257 inputs"):
        evaluate(tmp_path / "b.onnx", split)


def test_labels_must_fit(artefact: Path, split: Split) -> None:
    with pytest.raises(BadValue, match="257 inputs and 5 labels"):
        evaluate(artefact, as_split(split.inputs, split.labels[:5]))
    with pytest.raises(BadValue, match="is empty"):
        evaluate(artefact, as_split(split.inputs[:0], split.labels[:0]))
