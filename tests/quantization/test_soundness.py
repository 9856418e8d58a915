"""The engine checks every lowering: what collapsed, overflowed, changed shape or ended the process is said."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from workbench.artefact.onnx_graph import Graph, separate
from workbench.building.build import lower
from workbench.data import data as load_data
from workbench.errors import BadFile, StepFailed
from workbench.jobs import Reporter
from workbench.models import load
from workbench.modules.checking import Difference, difference, flatten, require_equal
from workbench.onnx_file import save_onnx, write_onnx
from workbench.quantization.half import to_float16
from workbench.quantization.qdq import quantize_graph
from workbench.quantization.ranges import activation_ranges
from workbench.quantization.soundness import check_lowered, check_same, check_stored, joined
from workbench.runtimes import apart
from workbench.runtimes.onnxruntime import open_session
from workbench.steps.quantize import Quantize

# What two forms of a network compute


def test_every_nested_output_is_compared() -> None:
    one, two = torch.arange(6.0).reshape(2, 3), np.ones((2, 1))
    assert [array.shape for array in flatten({"a": one, "b": [two, (one, None)]})] == [(2, 3), (2, 1), (2, 3)]
    off = {"a": one, "b": [two + 0.5, (one, None)]}
    assert difference({"a": one, "b": [two, (one, None)]}, off).relative == pytest.approx(0.5)


def test_difference_by_hand() -> None:
    expected = np.array([[0.0, 8.0], [4.0, 8.0]])  # around their mean: -2, 0, 2, 0, so a spread of sqrt(2)
    found = expected + np.array([[1.0, 0.0], [0.0, -1.0]])
    assert difference(expected, found) == Difference(pytest.approx(1 / 8), pytest.approx(0.5))


@pytest.mark.parametrize(
    "found", [np.zeros((2, 3)), np.array([[np.nan, 0.0]] * 2), [np.zeros((2, 2))] * 2, np.array([[np.inf, 0.0]] * 2)]
)
def test_other_shapes_numbers_and_nan_are_no_agreement(found: object) -> None:
    assert difference(np.zeros((2, 2)), found).relative == np.inf


def test_infinities_at_the_same_place_agree() -> None:
    expected = np.array([[-np.inf, 1.0], [0.0, 2.0]])
    assert difference(expected, expected.copy()).relative == 0


def test_what_must_stay_equal_is_refused_where_it_does_not() -> None:
    require_equal("Folding", lambda x: x * 2, lambda x: x + x, [np.ones((2, 2))])
    with pytest.raises(StepFailed, match=r"Folding must leave the outputs as they are, and changes them by 0\.5"):
        require_equal("Folding", lambda x: x * 2, lambda x: x * 3, [np.ones((2, 2))])


def test_where_rounding_of_the_inputs_moves_outputs_further_two_forms_may_be_as_far_apart() -> None:
    """sin(a x) turns a relative error e of x near 1 into one of a e: here the seventh digit becomes the third."""
    inputs, steep = [np.linspace(0.5, 1.5, 50)[None]], 1e4
    require_equal("Folding", lambda x: np.sin(steep * x), lambda x: np.sin(steep * x * (1 + 1e-7)), inputs)
    with pytest.raises(StepFailed, match="changes them by"):
        require_equal("Folding", lambda x: np.sin(steep * x), lambda x: np.sin(steep * x + 0.1), inputs)
    with pytest.raises(StepFailed, match="changes them by"):  # no steep one is excused for what a gentle one does
        require_equal("Folding", np.sin, lambda x: np.sin(x * (1 + 1e-3)), inputs)


# Artefacts


def network() -> nn.Module:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    for one in module:
        if isinstance(one, nn.Linear):
            nn.init.kaiming_normal_(one.weight)
    return module.eval()


def images(n: int = 60) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((n, 8)).astype(np.float32)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_onnx(network(), torch.randn(1, 8), tmp_path / "net.onnx")


def spoilt(source: Path, name: str, value: float) -> Path:
    """A copy whose tensor `name` was multiplied."""
    graph = Graph(onnx.load(str(source)))
    with np.errstate(over="ignore"):
        graph.put(name, graph.array(name) * np.float32(value))
    graph.store()
    target = source.with_name("spoilt.onnx")
    save_onnx(graph.model, target)
    return target


def test_a_sound_artefact_is_passed_in_silence(source: Path) -> None:
    report = Reporter()
    check_lowered(source, spoilt(source, "2.weight", 1.01), images(), "step", report)
    assert report.notes == []


def test_a_collapse_names_the_layer_where_it_arises(source: Path) -> None:
    report = Reporter()
    check_lowered(source, spoilt(source, "2.weight", -1.0), images(), "step", report)
    assert len(report.notes) == 1
    assert "step: the outputs are off by" in report.notes[0] and "most of which arises in '2'" in report.notes[0]


def test_outputs_that_overflow_name_the_first_layer(source: Path) -> None:
    with pytest.raises(StepFailed, match="After step the outputs are NaN or infinite, first in '2'"):
        check_lowered(source, spoilt(source, "2.weight", 3e38), images(), "step", Reporter())


def test_values_beyond_half_precision_are_said_with_their_layer(tmp_path: Path) -> None:
    """Even where this CPU computes in float32 between the layers, and shows nothing of it."""
    module, x = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 4)), torch.from_numpy(images())
    nn.init.constant_(module[0].weight, 2e4)
    nn.init.constant_(module[2].weight, 1e-6)
    model = load(module.eval(), example=x[:1])
    data = load_data({"train": (x, torch.arange(60) % 4), "test": (x, torch.arange(60) % 4)})
    assert float(module[0](x).detach().abs().max()) > 65504 > float(module(x).detach().abs().max())
    notes = {}
    for exclude in ("", "0,2"):
        report = Reporter()
        step = Quantize("fp16", exclude=exclude)
        lower(module, model, step.recipe(), data, tmp_path / "half.onnx", report)
        notes[exclude] = [note for note in report.notes if "beyond 65,504" in note]
    assert len(notes[""]) == 1 and "exclude=['0', '2']" in notes[""][0]
    assert notes["0,2"] == []


def test_other_shapes_are_refused(source: Path, tmp_path: Path) -> None:
    other = write_onnx(nn.Linear(8, 5), torch.randn(1, 8), tmp_path / "other.onnx")
    with pytest.raises(StepFailed, match=r"step changes the shapes of the outputs"):
        check_lowered(source, other, images(), "step", Reporter())


def test_a_rewritten_graph_that_computes_something_else_is_refused(source: Path) -> None:
    model = onnx.load(str(source))
    check_same(model, separate(model), images(), "Separating")
    with pytest.raises(StepFailed, match="Spoiling must leave the outputs as they are"):
        check_same(model, onnx.load(str(spoilt(source, "2.bias", 3.0))), images(), "Spoiling")


@pytest.mark.parametrize("name", ["0.weight_quantized", "2.bias_quantized"])
def test_a_stored_integer_that_is_far_from_its_value_is_refused(name: str, source: Path) -> None:
    model = separate(onnx.load(str(source)))
    quantized = quantize_graph(model, activation_ranges(model, images(), "minmax", Reporter()))
    check_stored(model, quantized)
    for one in quantized.graph.initializer:
        if one.name == name:
            values = numpy_helper.to_array(one).copy()
            values.flat[3] += 2 if values.dtype == np.int8 else 1000
            one.CopyFrom(numpy_helper.from_array(values, name))
    with pytest.raises(StepFailed, match=rf"In '{name[0]}' a stored integer is .* steps from its value"):
        check_stored(model, quantized)


def test_the_engine_checks_what_a_step_lowers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that spoils a layer cannot do so in silence, whatever the step."""

    def spoil(self: Quantize, source: Path, target: Path, context: object) -> None:
        save_onnx(onnx.load(str(spoilt(source, "0.weight", -1.0))), target)

    monkeypatch.setattr(Quantize, "lower", spoil)
    module, x, report = network(), torch.from_numpy(images()), Reporter()
    model = load(module, example=x[:1])
    data = load_data({"train": (x, torch.arange(60) % 4), "test": (x, torch.arange(60) % 4)})
    lower(module, model, Quantize("int8").recipe(), data, tmp_path / "out.onnx", report)
    assert any("most of which arises in '0'" in note for note in report.notes)


# Files that end the process


@pytest.fixture(scope="module")
def deadly(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A transposed product in float16, over which ONNX Runtime's optimiser ends its process (seen in 1.31)."""

    class Across(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.mix = nn.LayerNorm(16), nn.Linear(16, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.mix(self.norm(x).transpose(0, 1)).transpose(0, 1)

    path = write_onnx(Across().eval(), torch.randn(1, 5, 16), tmp_path_factory.mktemp("deadly") / "net.onnx")
    save_onnx(to_float16(onnx.load(str(path))), path)
    return path


def test_a_file_that_ends_the_process_becomes_a_sentence(deadly: Path) -> None:
    script = f"import onnxruntime; onnxruntime.InferenceSession({str(deadly)!r}, providers=['CPUExecutionProvider'])"
    bare = subprocess.run([sys.executable, "-c", script], capture_output=True, check=False)
    if bare.returncode >= 0:
        pytest.skip("this ONNX Runtime loads the file")
    for source in (str(deadly), deadly.read_bytes()):  # asked in this process, which would not outlive it
        with pytest.raises(BadFile, match=r"makes ONNX Runtime end its process \(SIGSEGV\)"):
            apart.prove(source, "all")
    session = open_session(_identity())  # the next file is served as if nothing had been
    assert session.run(None, {"x": np.ones(2, np.float32)})[0].tolist() == [1.0, 1.0]


#: What stands in for the process apart, whatever the runtime: it kills itself over one file, refuses another in order.
STUB = """
import json, os, sys
print("ready", flush=True)
for line in sys.stdin:
    request = json.loads(line)
    if "bad.onnx" in request["path"]:
        os.kill(os.getpid(), 11)
    print(f"alive {request['number']}", flush=True)
"""


@pytest.fixture
def instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Has a script of the test's run in place of the process apart; also makes the files that it is asked about."""
    start, stub = subprocess.Popen, tmp_path / "stub.py"
    monkeypatch.setattr(apart.subprocess, "Popen", lambda command, **more: start([command[0], str(stub)], **more))
    for name in ("good", "bad", "fine"):
        (tmp_path / f"{name}.onnx").write_bytes(name.encode() + str(tmp_path).encode())
    apart._stop()

    def write(script: str) -> None:
        stub.write_text(script)

    yield write
    apart._stop()


def test_the_death_of_the_process_apart_is_told_from_a_refusal(tmp_path: Path, instead: Callable[[str], None]) -> None:
    instead(STUB)
    apart.prove(str(tmp_path / "good.onnx"), "all")
    with pytest.raises(BadFile, match=r"The artefact 'bad.onnx' makes ONNX Runtime end its process \(SIGSEGV\)"):
        apart.prove(str(tmp_path / "bad.onnx"), "all")
    apart.prove(str(tmp_path / "fine.onnx"), "all")


def test_a_process_that_leaves_just_when_it_is_asked_proves_nothing(
    tmp_path: Path, instead: Callable[[str], None]
) -> None:
    """It leaves when nobody has asked for long; what it was asked meanwhile is asked again of the next one."""
    left = str(tmp_path / "left")
    leaves = f"    if not os.path.exists({left!r}):\n        open({left!r}, 'w').close()\n        sys.exit(0)\n"
    instead(STUB.replace("    request =", leaves + "    request ="))
    with pytest.raises(BadFile, match="SIGSEGV"):
        apart.prove(str(tmp_path / "bad.onnx"), "all")


def test_a_death_whose_status_somebody_else_has_taken_is_one(tmp_path: Path, instead: Callable[[str], None]) -> None:
    """As where a host ignores its children's ends: then every process seems to have ended well."""
    instead(STUB)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with pytest.raises(BadFile, match=r"\(without a word\)"):
            apart.prove(str(tmp_path / "bad.onnx"), "all")
        apart.prove(str(tmp_path / "fine.onnx"), "all")
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_what_is_printed_on_the_way_is_no_answer(tmp_path: Path, instead: Callable[[str], None]) -> None:
    instead(STUB.replace("    request =", "    print('a warning\\n\\nalive 1000000', flush=True)\n    request ="))
    apart.prove(str(tmp_path / "good.onnx"), "all")
    with pytest.raises(BadFile, match="SIGSEGV"):
        apart.prove(str(tmp_path / "bad.onnx"), "all")


def test_an_answer_that_nobody_waited_for_is_none_to_the_next_request(
    tmp_path: Path, instead: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted, as a notebook's cell is, while a file is tried."""

    def interrupt(*_: object) -> bool:
        raise KeyboardInterrupt

    instead(STUB)
    apart.prove(str(tmp_path / "good.onnx"), "all")
    with monkeypatch.context() as patch:
        patch.setattr(apart, "readable", interrupt)
        with pytest.raises(KeyboardInterrupt):
            apart.prove(str(tmp_path / "fine.onnx"), "all")
    with pytest.raises(BadFile, match="SIGSEGV"):
        apart.prove(str(tmp_path / "bad.onnx"), "all")


def test_a_file_is_proven_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(apart, "_ask", lambda request: asked.append(request) or "")
    monkeypatch.setattr(apart, "_proven", set())
    for _ in range(2):
        apart.prove(_identity(), "all")
    apart.prove(_identity(), "off")
    assert [one["level"] for one in asked] == ["all", "off"]


def test_where_no_process_can_be_started_files_are_loaded_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no more processes")

    apart._stop()
    monkeypatch.setattr(apart.subprocess, "Popen", refuse)
    monkeypatch.setattr(apart, "_proven", set())
    assert open_session(_identity()).get_inputs()[0].name == "x"


def _identity() -> bytes:
    ends = [[helper.make_tensor_value_info(name, TensorProto.FLOAT, [2])] for name in "xy"]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"], "same")], "g", *ends)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    content: bytes = model.SerializeToString()
    return content


def test_batches_are_joined_where_they_differ() -> None:
    """A recurrent layer has the time in front and the batch behind it."""
    whole = np.arange(5 * 4 * 2).reshape(5, 4, 2)
    assert (joined([whole[:, :1], whole[:, 1:]]) == whole).all()
    assert (joined([whole[:1], whole[1:]]) == whole).all()
    assert (joined([whole[:2], whole[2:4]]) == whole[:4]).all()
    assert joined([np.float32(1), np.float32(2)]) == 1 and joined([whole, whole[:1, :1]]).shape == whole.shape
