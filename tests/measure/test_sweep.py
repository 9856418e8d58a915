"""Throughput over batch and threads: against a clock that is known, once on a real file, and as it is drawn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnx import TensorProto, helper

from workbench import charts
from workbench.diagnosis import sweeping
from workbench.diagnosis.sweeping import COLUMNS, sweep
from workbench.errors import BadValue, UnknownName, WorkbenchError
from workbench.measure.latency import Timings


@pytest.fixture
def file(tmp_path: Path) -> Path:
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 8]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", ends[:1], ends[1:])
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), path)
    return path


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch takes a millisecond, and half of one more for each input; threads share the inputs."""

    def interleave(artefacts: Any, *, batch: int, threads: int, **more: Any) -> Timings:
        return Timings((np.full((3, 12), 1 + 0.5 * batch / threads),), batch, threads)

    monkeypatch.setattr(sweeping, "interleave", interleave)


def test_throughput_is_inputs_a_second(clock: None, file: Path) -> None:
    frame = sweep(file, [1, 8], [1, 2])
    assert list(frame.columns) == list(COLUMNS)
    assert list(zip(frame["batch"], frame["threads"], strict=True)) == [(1, 1), (8, 1), (1, 2), (8, 2)]
    assert frame["latency_ms"].tolist() == pytest.approx([1.5, 5, 1.25, 3])
    assert frame["throughput"].tolist() == pytest.approx([1000 / 1.5, 1600, 800, 8000 / 3])
    for name in ("latency_ms", "throughput"):
        assert (frame[f"{name}_low"] < frame[name]).all() and (frame[name] < frame[f"{name}_high"]).all()
    assert frame["throughput_low"].tolist() == pytest.approx(
        (1000 * frame["batch"] / frame["latency_ms_high"]).tolist()
    )
    assert frame["best"].tolist() == [False, False, False, True] and frame["allowed"].all()


def test_the_best_point_is_surely_under_the_limit(clock: None, file: Path) -> None:
    """5 ms is the middle of the second point, whose interval reaches beyond."""
    frame = sweep(file, [1, 8], [1], limit_ms=5.0)
    assert frame["allowed"].tolist() == [True, False] and frame["best"].tolist() == [True, False]
    assert "1 threads" not in charts.sweep_summary(frame) and "at batch 1 on 1 thread" in charts.sweep_summary(frame)
    none = sweep(file, [1, 8], [1], limit_ms=0.1)
    assert not none["allowed"].any() and not none["best"].any()
    assert charts.sweep_summary(none) == "2 points, and none of those that surely take at most 0.1 ms."


def test_a_real_file(file: Path) -> None:
    frame = sweep(file, [1, 64], [1], seconds=0.05)
    assert frame.loc[1, "throughput_low"] > frame.loc[0, "throughput_high"]  # a call costs more than 63 inputs of 8


@pytest.mark.parametrize(
    "wrong", [{"batch": []}, {"threads": []}, {"limit_ms": 0}, {"batch": [0]}, {"threads": [9999]}]
)
def test_what_cannot_be_swept(file: Path, wrong: dict[str, Any]) -> None:
    asked = {"batch": [1], "threads": [1]} | wrong
    with pytest.raises(BadValue):
        sweep(file, asked.pop("batch"), asked.pop("threads"), **asked)


def test_a_file_of_a_fixed_batch_is_refused_in_a_sentence(file: Path) -> None:
    fixed = onnx.load(file)
    for one in (*fixed.graph.input, *fixed.graph.output):
        one.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(fixed, file)
    with pytest.raises(WorkbenchError, match=r"takes \[1, 8\]"):
        sweep(file, [2], [1], seconds=0.05)


def test_the_chart(clock: None, file: Path) -> None:
    frame = sweep(file, [1, 8, 64], [1, 2], limit_ms=20.0)
    spec = charts.sweep(frame).to_dict()
    rows = pd.DataFrame(next(iter(spec["datasets"].values())))
    assert rows["state"].tolist() == ["Allowed", "Allowed", "Above the limit", "Allowed", "Allowed", "Best"]
    assert set(rows["series"]) == {"1 thread", "2 threads"}
    with pytest.raises(UnknownName, match="throughput"):
        charts.sweep(frame.drop(columns="throughput"))
    with pytest.raises(BadValue, match="no points"):
        charts.sweep(frame.iloc[:0])
