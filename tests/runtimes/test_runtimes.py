from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from workbench.errors import BadFile, BadValue, UnknownName
from workbench.onnx_file import write_onnx
from workbench.runtimes import REGISTRY, available, runtime
from workbench.runtimes.onnxruntime import OnnxRuntime


@pytest.fixture
def artefact(tmp_path: Path) -> Path:
    return write_onnx(nn.Sequential(nn.Flatten(), nn.Linear(12, 3)), torch.zeros(1, 3, 4), tmp_path / "net.onnx")


def test_onnxruntime_is_there() -> None:
    assert "onnxruntime" in available()
    assert runtime().name == "onnxruntime"


def test_unknown_runtime() -> None:
    with pytest.raises(UnknownName, match=r"no runtime named 'onnxruntim'.*Did you mean 'onnxruntime'"):
        runtime("onnxruntim")


class Net(nn.Module):
    """A convolution, a residual sum, pooling and a head: every runtime here has these."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, padding=1)
        self.inner = nn.Conv2d(8, 8, 3, padding=1, groups=2)
        self.head = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.conv(x))
        x = x + nn.functional.relu6(self.inner(x))
        logits: torch.Tensor = self.head(x.mean((2, 3)))
        return logits


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One network as every kind of file that a runtime starts from, and what torch says about forty inputs."""
    folder = tmp_path_factory.mktemp("net")
    torch.manual_seed(0)
    net, inputs = Net().eval(), torch.randn(40, 3, 8, 8)
    with torch.no_grad():
        np.savez(folder / "expected.npz", inputs=inputs.numpy(), logits=net(inputs).numpy())
        program = torch.export.export(net, (inputs[:2],), dynamic_shapes=({0: torch.export.Dim.AUTO},))
    torch.export.save(program, folder / "net.pt2")
    write_onnx(net, inputs[:1], folder / "net.onnx")
    return {one.suffix: one for one in folder.iterdir()}


# torch.compile needs a C++ compiler and tens of seconds; the portability benchmark runs it.
@pytest.mark.parametrize("name", [name for name in available() if name != "torch-compile"])
def test_every_installed_runtime_computes_what_torch_does(name: str, sources: dict[str, Path], tmp_path: Path) -> None:
    one, expected = runtime(name), np.load(sources[".npz"])
    file = one.convert(sources[one.source], tmp_path)
    session = one.load(file, threads=1)
    assert session.shape == (3, 8, 8)
    for count in (1, 40, 4):  # a batch of any size, in any order
        np.testing.assert_allclose(session.run(expected["inputs"][:count]), expected["logits"][:count], atol=2e-5)


@pytest.mark.parametrize("name", [name for name in available() if name != "torch-compile"])
def test_every_installed_runtime_refuses_rubbish_in_a_sentence(name: str, tmp_path: Path) -> None:
    one = runtime(name)
    broken = tmp_path / f"broken{one.source}"
    broken.write_bytes(b"this is no model")
    with pytest.raises(BadFile, match=rf"{one.title} refuses the artefact '.*' because .+\."):
        one.load(one.convert(broken, tmp_path))
    with pytest.raises(BadFile, match="There is no artefact at"):
        one.load(tmp_path / "missing.onnx")


def test_openvino_is_tested_here() -> None:
    assert "openvino" in available(), "the extra `test` installs it"


def test_torch_leaves_the_number_of_threads_as_it_was(sources: dict[str, Path]) -> None:
    before = torch.get_num_threads()
    runtime("torch").load(sources[".pt2"], threads=before + 1).run(np.load(sources[".npz"])["inputs"])
    assert torch.get_num_threads() == before


def test_what_is_not_installed_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(type(REGISTRY["ncnn"]), "packages", ("surely_not_installed",))
    assert "ncnn" not in available()
    with pytest.raises(BadValue, match=r"'ncnn' is not installed. Install it with pip install 'nn-workbench\[ncnn\]'"):
        runtime("ncnn")


def test_a_provider_that_cannot_start_is_not_measured_as_another(artefact: Path) -> None:
    """ONNX Runtime itself only warns, and runs on the CPU."""
    with pytest.raises(BadFile, match=r"cannot be started on this machine and fell back to CPUExecutionProvider"):
        OnnxRuntime("onnxruntime-cuda", "ONNX Runtime (CUDA)", "CUDAExecutionProvider").load(artefact)
    assert "onnxruntime-cuda" not in available()


def test_shape_and_threads(artefact: Path) -> None:
    inputs = np.random.default_rng(0).standard_normal((5, 3, 4)).astype(np.float32)
    one, two = runtime().load(artefact), runtime().load(artefact, threads=2)
    assert one.shape == (3, 4)
    np.testing.assert_allclose(one.run(inputs), two.run(inputs), rtol=1e-5)
    np.testing.assert_allclose(one.run(inputs)[2:3], one.run(inputs[2:3]), rtol=1e-5)


def test_refuses_what_is_no_model(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"this is no model")
    with pytest.raises(BadFile, match=r"refuses the artefact 'broken.onnx' because"):
        runtime().load(broken)
    with pytest.raises(BadFile, match="There is no artefact at"):
        runtime().load(tmp_path / "missing.onnx")


def test_refuses_inputs_of_another_shape(artefact: Path) -> None:
    with pytest.raises(BadValue, match=r"refuses an input of shape \(2, 5, 5\): the artefact takes \['batch', 3, 4\]"):
        runtime().load(artefact).run(np.zeros((2, 5, 5), np.float32))
