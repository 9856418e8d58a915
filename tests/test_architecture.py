"""The map in docs/architecture.md is that of the tree, and what it says of adding a piece is so.

A technique and a family are added in `steps/test_strangers_family.py`; a runtime, a device and a metric here.
"""

from __future__ import annotations

import importlib
import math
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

import workbench as wb

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "architecture.md").read_text()
#: What tools put there.
MADE = {"__pycache__", "node_modules"}


def folders() -> set[str]:
    """The folders with code or what code reads, but for those inside the page's own sources and files."""
    found = {"workbench/"} | {
        f"{path.relative_to(ROOT)}/"
        for top in (ROOT / "workbench", ROOT / "widgets" / "workbench_widgets")
        for path in (top, *top.rglob("*"))
        if path.is_dir() and not MADE & set(path.parts) and "static" not in path.parent.parts
    }
    inner = {one for one in found if re.match(r"workbench/(models/cards|recipes/|studies/)", one)}
    return (found - inner) | {"workbench/recipes/", "workbench/studies/", "widgets/js/"}


def test_every_folder_has_its_line() -> None:
    told = re.findall(r"^\| `([^`]+)` \|", TEXT, re.MULTILINE)
    assert len(told) == len(set(told))
    assert set(told) == folders()


def test_every_file_that_is_named_is_there() -> None:
    for name in re.findall(r"`([\w/]+\.py)`", TEXT):
        assert list(ROOT.glob(f"**/{name}")) and not name.startswith("/"), name


#: A runtime: multiplies a linear layer's weights itself, in double precision, as often as it is told.
RUNTIME = """
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from workbench.runtimes.base import Entry, Runtime, Session, register


@dataclass(frozen=True)
class Product(Session):
    weight: np.ndarray
    bias: np.ndarray

    @property
    def entries(self):
        return (Entry("x", self.weight.shape[1:]),)

    def outputs(self, inputs):
        (x,) = self.given(inputs)
        return [(x.astype(np.float64) @ self.weight.T + self.bias).astype(np.float32)]


@dataclass(frozen=True)
class ByHand(Runtime):
    name: str = "by-hand"
    title: str = "By hand"

    def _load(self, path, threads):
        found = [numpy_helper.to_array(one) for one in onnx.load(path).graph.initializer]
        weight, = (one for one in found if one.shape in ((3, 6), (6, 3)))
        bias, = (one for one in found if one.shape == (3,))
        return Product(weight if weight.shape == (3, 6) else weight.T, bias)


register(ByHand())
"""

DEVICE = """
title = "A board"
bytes_per_second = 1e6
seconds_per_operator = 1e-3
ram_bytes = 100

[macs_per_second]
dense = 1e3
pointwise = 2e3
depthwise = 1e3

[speedup_by_bits]
32 = 1.0
8 = 4.0
"""


class Linear(nn.Module):
    """One layer, whose every figure can be worked out by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.layer(x)
        return found


@pytest.fixture(scope="module")
def parts() -> tuple[wb.Model, Any]:
    """The layer, and vectors whose labels are what it answers for most and something else for the rest."""
    torch.manual_seed(0)
    model = wb.load(Linear(), example=torch.zeros(1, 6))
    inputs = torch.randn(80, 6, generator=torch.Generator().manual_seed(1))
    labels = model.module(inputs).argmax(1)
    labels[::4] = (labels[::4] + 1) % 3
    return model, wb.data(
        {"train": (inputs, labels), "test": (inputs, labels)}, name="vectors", classes=("a", "b", "c")
    )


def test_a_runtime_is_one_file_also_outside_the_package(
    parts: tuple[wb.Model, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "strangers_runtime.py").write_text(RUNTIME)
    monkeypatch.syspath_prepend(tmp_path)
    try:
        importlib.import_module("strangers_runtime")
        assert "by-hand" in wb.runtimes.available()
        study = wb.Study(*parts)
        frame = study.portability(study.baseline, ["by-hand"], images=80, progress=False).set_index("runtime")
    finally:
        wb.runtimes.REGISTRY.pop("by-hand", None)
        sys.modules.pop("strangers_runtime", None)
    row = frame.loc["by-hand"]
    assert row.note == ""
    assert (row.accuracy, row.disagreement) == (0.75, 0)
    assert 0 <= row.largest_logit_difference < 1e-5
    assert row.latency_ms > 0 and row.speedup_low <= row.speedup <= row.speedup_high  # in the process that measures


def test_a_runtime_that_only_a_notebook_knows_is_not_timed_and_says_so(parts: tuple[wb.Model, Any]) -> None:
    space: dict[str, Any] = {"__name__": "__main__"}
    try:
        exec(RUNTIME, space)
        study = wb.Study(*parts)
        row = (
            study.portability(study.baseline, ["by-hand"], images=80, progress=False)
            .set_index("runtime")
            .loc["by-hand"]
        )
    finally:
        wb.runtimes.REGISTRY.pop("by-hand", None)
    assert row.accuracy == 0.75
    assert math.isnan(row.latency_ms) and "Put it into a file" in row.note


def test_a_runtime_and_a_device_are_one_file_each_in_the_package(tmp_path: Path) -> None:
    """In a copy of the package with the two files, and nothing else changed."""
    shutil.copytree(ROOT / "workbench", tmp_path / "workbench", copy_function=os.symlink)
    (tmp_path / "workbench" / "runtimes" / "by_hand.py").write_text(RUNTIME)
    (tmp_path / "workbench" / "cost" / "devices" / "board.toml").write_text(DEVICE)
    code = (
        "import torch, workbench as wb; from torch import nn\n"
        "cost = wb.cost(nn.Linear(6, 3), torch.zeros(1, 6)); found = cost.on('board')\n"
        "print('by-hand' in wb.runtimes.available(), wb.runtimes.runtime('by-hand').title)\n"
        "print(found.latency_ms, found.fits_ram, 'board' in list(cost.devices().device))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-W", "ignore", "-c", code]
    said = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout
    first, second = said.splitlines()
    assert first == "True By hand"
    milliseconds, fits, listed = second.split()
    assert float(milliseconds) == pytest.approx(1e3 * (6 * 3 / 2e3 + 1e-3))  # 18 MACs at 2,000 a second, and a start
    assert (fits, listed) == ("False", "True")  # 4 (6 + 3 + 21) bytes do not fit into 100


def test_a_metric_is_a_function(parts: tuple[wb.Model, Any]) -> None:
    model, data = parts

    def margin(outputs: NDArray[Any], labels: NDArray[Any]) -> NDArray[Any]:
        """How far the right output lies above the mean of all."""
        found: NDArray[Any] = outputs[np.arange(len(labels)), labels] - outputs.mean(1)
        return found

    study = wb.Study(model, data, metric=margin)
    small = study.run(wb.SVD(1, data_aware=False), progress=False)
    test = data["test"]
    expected = []
    with torch.no_grad():
        for module in (model.module, small.module):
            logits = module(test.inputs)
            expected.append(logits.gather(1, test.labels[:, None])[:, 0] - logits.mean(1))
    assert study.baseline["margin"].value == pytest.approx(float(expected[0].mean()), abs=1e-5)
    assert small["margin"].value == pytest.approx(float(expected[1].mean()), abs=1e-5)
    change = small["margin_change"]
    assert change.value == pytest.approx(float((expected[1] - expected[0]).mean()), abs=1e-5)
    assert change.low < change.value < change.high
    assert {"margin", "margin_low", "margin_high"} <= set(study.frame().columns)
