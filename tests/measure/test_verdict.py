"""Verdicts from made-up evidence; profiles, levels and memory of real artefacts. No test asserts a time."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import pytest
import torch
from torch import nn

import workbench as wb
from workbench.cost.roofline import device
from workbench.errors import BadValue
from workbench.estimate import Estimate
from workbench.measure.guideline_experiments import EXPERIMENTS
from workbench.measure.levels import fused
from workbench.measure.machine import machine
from workbench.measure.verdict import Evidence, gather, reason, verdict
from workbench.onnx_file import write_onnx

CALM = Evidence(10, 10, 0, 0, 0, 0, (), 0.1, 0.1)


class Net(nn.Module):
    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(16, width, 3, padding=1, bias=False), nn.BatchNorm2d(width)
        self.second, self.head = nn.Conv2d(width, 16, 1), nn.Linear(16, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(x + self.second(torch.relu(self.norm(self.first(x)))))
        found: torch.Tensor = self.head(y.mean((2, 3)))
        return found


@pytest.fixture(scope="module")
def artefact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_onnx(Net(), torch.randn(1, 16, 10, 10), tmp_path_factory.mktemp("net") / "net.onnx")


def ratio(value: float) -> Estimate:
    return Estimate(value, value * 0.97, value * 1.03, 27)


def test_verdicts_compare_and_give_the_reason() -> None:
    assert verdict(ratio(2.0), 2.1, 2.2, CALM).endswith("predicted 2.10×: as predicted.")
    slow = replace(CALM, start_share=0.6, operators=40)
    assert verdict(ratio(1.0), 1.02, 4.0, slow) == (
        "Measured 1.00× (0.97 to 1.03), predicted 1.02×: as predicted, though it has 4.0× fewer MACs; "
        "60% of the time goes to starting 40 operators (the original has 10)."
    )
    assert "slower than predicted; 7 Cast operators" in verdict(ratio(0.9), 1.5, 1.0, replace(CALM, casts=7))
    assert "faster than predicted" in verdict(ratio(3.0), 1.5, 1.0, CALM)


@pytest.mark.parametrize("measured", [0.5, 0.8, 1.0, 1.1, 1.16, 1.2, 1.5, 3.0])
def test_the_verdict_and_the_chart_judge_alike(measured: float) -> None:
    found = ratio(measured)
    frame = pd.DataFrame(
        {"id": ["a"], "name": ["a"], "predicted_speedup": [1.0], "is_baseline": [False], "params": [1.0]}
        | {f"speedup{end}": [value] for end, value in (("", found.value), ("_low", found.low), ("_high", found.high))}
    )
    role = wb.charts.speedup_points(frame)["role"].iloc[0]
    assert f": {role.lower()}" in verdict(found, 1.0, 1.0, CALM)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"casts": 5}, "Cast operators"),
        ({"floats": 4, "products": 10}, "4 of 10 products stayed in float32"),
        ({"unaligned": ("a", "b")}, "no multiple of 4"),
        ({"start_share": 0.5}, "starting 10 operators"),
        ({"memory_share": 0.5}, "wait for memory take 50%"),
        ({"reorders": 9}, "order of feature maps 9 times"),
        ({"dynamic": 3}, "anew in every run"),
        ({}, "too small"),
    ],
)
def test_each_cause_has_its_sentence(change: dict[str, object], said: str) -> None:
    assert said in reason(replace(CALM, **change))  # type: ignore[arg-type]


def test_evidence_of_channels_without_a_kernel(artefact: Path, tmp_path: Path) -> None:
    odd = Net(30)
    odd.second = nn.Conv2d(30, 16, 1)
    path = write_onnx(odd, torch.randn(1, 16, 10, 10), tmp_path / "odd.onnx")
    network = wb.cost(odd, torch.zeros(1, 16, 10, 10)).network
    found = gather(path, artefact, network, device())
    assert found.unaligned == ("second",)
    assert found.operators > 0 and found.original_operators > 0
    assert 0 < found.start_share < 1


def test_a_profile_names_the_layers(artefact: Path) -> None:
    table = wb.measure.profile(artefact, runs=3)
    assert {"first", "second", "head"} <= set(table.layer)
    assert table.share.sum() == pytest.approx(1.0)
    assert (table.ms >= 0).all()
    # as many rows as the session runs nodes, by ONNX Runtime's own count of the optimised graph
    assert len(table) == fused(artefact).operators
    with pytest.raises(BadValue, match="runs=0"):
        wb.measure.profile(artefact, runs=0)


def test_fused_operators_are_listed(artefact: Path) -> None:
    off, every = fused(artefact, "off"), fused(artefact)
    assert off.fused == ()
    assert any(one.startswith("Relu") for one in every.fused)


def test_levels_are_measured_like_variants(artefact: Path) -> None:
    table = wb.measure.compare_levels(artefact, seconds=0.1).set_index("level")
    assert list(table.index) == ["off", "basic", "extended", "all", "torch-compile"]
    assert (table.latency_ms[:4] > 0).all()
    compiled = table.loc["torch-compile"]
    assert np.isfinite(compiled.latency_ms) or compiled.why


def test_memory_while_running_grows_with_the_weights(artefact: Path, tmp_path: Path) -> None:
    wide = nn.Sequential(nn.Linear(16, 2048), nn.Linear(2048, 2048), nn.Linear(2048, 4))
    path = write_onnx(wide, torch.randn(1, 16), tmp_path / "wide.onnx")
    small, large = wb.measure.run_memory(artefact), wb.measure.run_memory(path)
    assert small.unit == "bytes"
    assert large.value - small.value > 0.8 * 4 * 2048 * 2048


def test_guidelines_compare_equal_arithmetic(tmp_path: Path) -> None:
    for experiment in EXPERIMENTS:
        probes = [make() for _, make in experiment.cases]
        assert len({probe.network.totals.macs for probe in probes}) == 1, experiment.guideline
        moved = [probe.network.totals.memory_access_bytes for probe in probes]
        assert moved[-1] > moved[0]  # what the guideline is about
        for probe in probes:
            path = probe.write(tmp_path / "probe.onnx")
            session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
            session.run(None, {"x": np.zeros((1, *probe.input), np.float32)})


def test_a_study_keeps_machine_and_verdict(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = wb.load(Net(), example=torch.zeros(1, 16, 10, 10))
    images = torch.randn(60, 16, 10, 10)
    with torch.no_grad():
        labels = model.module(images).argmax(1)
    data = wb.data({"train": (images, labels), "test": (images, labels)}, name="noise", classes=tuple("abcd"))
    study = wb.Study(model, data, path=tmp_path / "study")
    variant = study.run(wb.Tucker(rank=0.5), progress=False)
    assert machine().fingerprint in variant.machine
    assert variant.verdict.startswith("Measured ")
    assert study.baseline.verdict == ""
    again = wb.Study(model, data, path=tmp_path / "study").find(wb.Tucker(rank=0.5))
    assert again is not None and (again.verdict, again.machine) == (variant.verdict, variant.machine)
    assert variant["run_memory_bytes"].value > 0
    assert wb.cost(variant).macs == variant["macs"].value
    assert not variant.profile(runs=2).empty


class Casting(Net):
    """A network that changes types by itself."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for share in range(3):
            x = x * (x > share).float().flip(2)
        return super().forward(x)


def test_casts_of_the_original_are_no_reason(tmp_path: Path) -> None:
    """They were there before: no precision lacks a kernel for them."""
    paths = [write_onnx(Casting(), torch.randn(1, 16, 10, 10), tmp_path / f"{name}.onnx") for name in "ab"]
    model = wb.load(Casting(), example=(1, 16, 10, 10))
    graph = onnxruntime.InferenceSession(str(paths[0]))
    assert graph.get_inputs()[0].type == "tensor(float)"
    found = gather(*paths, model.network, device("server-core"))
    assert found.casts == 0
    assert "Cast" not in reason(found)
