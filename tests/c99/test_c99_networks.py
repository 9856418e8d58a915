"""Whole networks in C: equal to the artefact, within the predicted arena, free of undefined behaviour."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest
import torch
from artefacts import apart, artefact, images, write
from torch import nn

import workbench as wb
from workbench.building.build import lower
from workbench.c99.compiling import SOURCES, STRICT, compiler, footprint
from workbench.c99.project import project
from workbench.data import Data
from workbench.data.batches import arrays
from workbench.jobs import Reporter
from workbench.runtimes import runtime

pytestmark = pytest.mark.skipif(not compiler(), reason="no C compiler is installed (cc, gcc or clang)")
SANITIZERS = ("-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


class Joined(nn.Module):
    """Residuals, depthwise layers, two branches side by side, tables, a gate: what a compact network is made of."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 5, 2, 2, bias=False), nn.BatchNorm2d(8), nn.Hardswish())
        self.depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.SiLU())
        self.left, self.right = nn.Conv2d(8, 6, 1), nn.Conv2d(8, 10, 3, padding=2, dilation=2)
        self.groups = nn.Conv2d(16, 16, 3, padding=1, groups=4)
        self.wide = nn.Conv2d(16, 16, (5, 3), (2, 1), (2, 1), groups=16)
        self.gate = nn.Linear(16, 16)
        self.head = nn.Sequential(nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16 * 1 * 2, 5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.depthwise(x) + x
        x = torch.cat([self.left(x).relu(), nn.functional.leaky_relu(self.right(x), 0.1)], 1)
        x = torch.relu(x + self.groups(x))
        x = self.wide(x)
        x = x * torch.sigmoid(self.gate(x.mean((2, 3))))[:, :, None, None]
        return self.head(nn.functional.avg_pool2d(x, 2, ceil_mode=False))


def sanitized(folder: Path, inputs: np.ndarray, answers: int) -> np.ndarray:
    """What the program that comes with the C answers under the address and undefined-behaviour sanitizers."""
    program = folder / "check"
    command = [compiler(), *STRICT, "-Wextra", "-pedantic", *SANITIZERS, *SOURCES, "check.c", "-o", str(program), "-lm"]
    if subprocess.run([*command, "-fsyntax-only"], cwd=folder, check=False, capture_output=True).returncode:
        pytest.fail(subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True).stderr)
    if subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode:
        pytest.skip("this compiler has no sanitizers")
    inputs.astype(np.float32).tofile(folder / "inputs")
    subprocess.run([program, "inputs", "answers"], cwd=folder, check=True)
    return np.fromfile(folder / "answers", np.float32).reshape(len(inputs), answers)


def test_a_network_of_all_kinds_of_layers_under_the_sanitizers(tmp_path: Path) -> None:
    file = artefact(Joined(), (3, 24, 16), tmp_path)
    inputs = images((3, 24, 16), 1000, seed=1).numpy()
    expected = runtime().load(file).outputs(inputs)[0]
    write(file, tmp_path)
    for name, text in project("joined", inputs[0], expected[0]).items():
        (tmp_path / name).write_text(text, encoding="ascii")
    found = sanitized(tmp_path, inputs, 5)
    assert np.abs(found - expected).max() <= np.abs(expected).max() / 255
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.99


@pytest.fixture(scope="module", params=["fashion-mobilenet", "fashion-resnet", "fashion-vgg"])
def bundled(
    request: pytest.FixtureRequest, fashion: Data, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, int]:
    """A bundled network's int8 file, and the peak that was predicted of it."""
    model = wb.load(request.param)
    recipe = wb.Recipe((wb.Quantize("int8", types="u8s8", stem="int8"),))
    file = tmp_path_factory.mktemp(request.param) / "model.onnx"
    lower(model.module, model, recipe, fashion, file, Reporter())
    return file, recipe.plan(model).peak_activation_bytes


def test_bundled_networks_within_a_step_on_1000_images(
    bundled: tuple[Path, int], fashion: Data, tmp_path: Path
) -> None:
    file, predicted = bundled
    inputs = np.concatenate([np.asarray(arrays(one)) for one, _ in fashion["test"].first(1000).batches(100)])
    steps, _ = apart(file, tmp_path, inputs, "-O3")
    assert steps <= 1.0
    assert f"#define NETWORK_ARENA_BYTES {predicted} " in (tmp_path / "network.h").read_text()
    found = footprint(tmp_path, tmp_path)
    assert found is None or found.ram == predicted
    taken = frames(tmp_path, "-Os")
    runs = sum(size for name, size in taken.items() if name.startswith("network_run"))
    rest = sorted((size for name, size in taken.items() if not name.startswith("network_run")), reverse=True)
    assert runs + sum(rest[:2]) < 1024  # they call a kernel, and that one a function of fewer lines


def frames(folder: Path, level: str) -> dict[str, int]:
    """Bytes of the stack that each function takes, as the compiler tells them."""
    command = [compiler(), *STRICT, level, "-fno-pie", "-fstack-usage", "-c", "network.c", "-o", "stack.o"]
    if subprocess.run(command, cwd=folder, check=False, capture_output=True).returncode:
        pytest.skip("this compiler does not tell what the stack takes")
    lines = (folder / "stack.su").read_text().splitlines()
    return {line.split("\t")[0].split(":")[-1]: int(line.split("\t")[1]) for line in lines}


def test_first_layers_that_are_left_in_float(fashion: Data, tmp_path: Path) -> None:
    """As Quantize may choose them: float weights, and no float lies in the arena."""
    model = wb.load("fashion-mobilenet")
    recipe = wb.Recipe((wb.Quantize("int8", types="u8s8", stem="float"),))
    file = lower(model.module, model, recipe, fashion, tmp_path / "model.onnx", Reporter())
    inputs = np.concatenate([np.asarray(arrays(one)) for one, _ in fashion["test"].first(200).batches(100)])
    steps, _ = apart(file, tmp_path, inputs, "-O3")
    assert steps <= 1.0
    assert "in float: 3 x 3: 1 x 28 x 28 -> 16 x 28 x 28" in (tmp_path / "network.c").read_text()
