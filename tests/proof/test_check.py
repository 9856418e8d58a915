"""`check.py` beside an export: silent where all is right, and it names what is not."""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kills
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper
from rgb import MEAN, STD, colour_data, colour_model
from typer.testing import CliRunner

import workbench as wb
from workbench import cli
from workbench.errors import BadFile, BadValue
from workbench.manifest import read_manifest
from workbench.proof import check
from workbench.proof.checking import checked

QUICK = check.Ask(seconds=0)
Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Exports of a small network by recipe and format."""
    place = tmp_path_factory.mktemp("exports")
    with kills.untimed():
        study = wb.Study(colour_model(), colour_data(), path=place / "study")
        for name, recipe, form in (
            ("float", wb.Prune(ratio=0.2), "onnx"),
            ("int8", wb.Quantize("int8"), "onnx"),
            ("bundle", wb.Quantize("int8"), "bundle"),
            ("torch", wb.Prune(ratio=0.2), "safetensors"),
            ("here", wb.Prune(ratio=0.2), "onnx-here"),
        ):
            wb.export(study.run(recipe, progress=False), place / name, format=form)
    return {one.name: one for one in place.iterdir() if one.name != "study"}


@pytest.fixture
def copied(exports: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    return lambda name: shutil.copytree(exports[name], tmp_path / name)


def sabotaged(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[onnx.NodeProto], None], *, optimised_only: bool = False
) -> None:
    """From here on ONNX Runtime runs some operators wrongly: it is given another graph than it is asked to run."""
    right = onnxruntime.InferenceSession

    def wrong(model: Any, options: Any = None, **rest: Any) -> Any:
        level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        if optimised_only and options is not None and options.graph_optimization_level == level:
            return right(model, options, **rest)
        graph = onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(model)
        for node in graph.graph.node:
            change(node)
        return right(graph.SerializeToString(), options, **rest)

    monkeypatch.setattr(onnxruntime, "InferenceSession", wrong)


def leaky(node: onnx.NodeProto) -> None:
    if node.op_type == "Relu":
        node.op_type = "LeakyRelu"
        node.attribute.append(helper.make_attribute("alpha", 0.1))


def without_padding_of_its_own(node: onnx.NodeProto) -> None:
    """A convolution that looks a pixel too far to the left."""
    for one in node.attribute:
        if node.op_type == "Conv" and one.name == "pads" and list(one.ints) == [1, 1, 1, 1]:
            del one.ints[:]
            one.ints.extend([1, 2, 1, 0])


def sigmoid(node: onnx.NodeProto) -> None:
    if node.op_type == "Sigmoid":
        node.op_type = "HardSigmoid"


def linear(node: onnx.NodeProto) -> None:
    for one in node.attribute:
        if node.op_type == "Gemm" and one.name == "alpha":
            one.f = 1.1


@pytest.mark.parametrize("name", ["float", "int8", "bundle", "torch", "here"])
def test_an_honest_run_is_silent(exports: dict[str, Path], name: str) -> None:
    report = check.check(exports[name], QUICK)
    assert not report.differs and not report.notes
    assert report.accuracy is not None and report.accuracy[0] == report.accuracy[1]


@pytest.mark.parametrize(
    ("change", "kernel", "layer"),
    [
        (leaky, "Relu", "stem"), (without_padding_of_its_own, "Conv", "stem"), (sigmoid, "Sigmoid", "gate"),
        (linear, "Gemm", "head"),
    ],
)  # fmt: skip
def test_a_broken_operator_is_named_with_the_layer_where_it_stands_first(
    exports: dict[str, Path],
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[onnx.NodeProto], None],
    kernel: str,
    layer: str,
) -> None:
    sabotaged(monkeypatch, change)
    report = check.check(exports["float"], QUICK)
    assert len(report.differs) >= 2 and "Outputs on" in report.differs[0]
    assert report.differs[-1].startswith(f"This machine's kernel {kernel} differs, in layer {layer} ")
    assert "5 files are those that were exported." in report.agrees


def test_a_kernel_that_is_wrong_where_operators_are_joined_alone_is_named_as_such(
    exports: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    sabotaged(monkeypatch, leaky, optimised_only=True)
    said = check.check(exports["float"], QUICK).differs[-1]
    assert said.startswith("This machine's fused kernel Conv + Relu differs, in layer stem ")


def flip(file: Path, layer: str) -> None:
    """The sign of the largest weight of a layer."""
    model = onnx.load(file)
    (one,) = (one for one in model.graph.initializer if one.name.startswith(f"{layer}.weight") and len(one.dims) > 1)
    value = numpy_helper.to_array(one).copy()
    place = np.unravel_index(np.abs(value.astype(np.float64)).argmax(), value.shape)
    value[place] = -value[place]
    one.CopyFrom(numpy_helper.from_array(value, one.name))
    onnx.save(model, file)


@pytest.mark.parametrize("name", ["float", "int8"])
@pytest.mark.parametrize("layer", ["stem", "body", "gate", "head"])
def test_a_flipped_weight_is_named_with_its_layer(copied: Callable[[str], Path], name: str, layer: str) -> None:
    folder = copied(name)
    flip(folder / "model.onnx", layer)
    report = check.check(folder, QUICK)
    assert report.differs[0] == "model.onnx is not the file that was exported: its SHA-256 is another."
    assert report.differs[-1] == f"The file holds other numbers: tensors differ from layer {layer} on."


FORMS = [
    ({"order": "BGR"}, "channel order BGR where it was RGB."),
    ({"mean": (0.1, 0.4, 0.3)}, "mean 0.1/0.4/0.3 where it was 0.5/0.4/0.3."),
    ({"mean": ()}, "mean 0 where it was 0.5/0.4/0.3."),
    ({"std": (0.2, 0.25, 0.6)}, "std 0.2/0.25/0.6 where it was 0.2/0.25/0.3."),
    ({"layout": "NHWC"}, "layout NHWC where it was NCHW."),
    ({"range": 255.0}, "range 255 where it was 1."),
    ({"layout": "NHWC", "order": "BGR"}, "channel order BGR where it was RGB, layout NHWC where it was NCHW."),
]


@pytest.mark.parametrize(("change", "said"), FORMS)
def test_a_changed_preprocessing_is_named(
    exports: dict[str, Path], copied: Callable[[str], Path], change: dict[str, Any], said: str
) -> None:
    folder = copied("float")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["preprocess"] |= change
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert check.check(folder, QUICK).differs == [f"manifest.json describes another preprocessing: {said}"]

    def own(pixels: Array) -> Array:
        return check.normalised(pixels, manifest["preprocess"])

    found = check.check(exports["float"], check.Ask(seconds=0, own=own)).differs
    assert found == [f"Your preprocessing gives another preprocessing: {said}"]


def test_a_preprocessing_written_otherwise_passes(exports: dict[str, Path], tmp_path: Path) -> None:
    """Oracle: torch's own operations, in another order."""
    code = tmp_path / "mine.py"
    code.write_text(
        "import torch\n"
        f"def mine(pixels, mean=torch.tensor({MEAN}), std=torch.tensor({STD})):\n"
        "    x = torch.from_numpy(pixels).permute(0, 3, 1, 2).double().div(255)\n"
        "    return x.sub(mean.view(1, 3, 1, 1)).div(std.view(1, 3, 1, 1))\n"
        "def forgetful(pixels):\n"
        "    return torch.from_numpy(pixels).permute(0, 3, 1, 2).float()\n"
        "constant = 3\n"
    )
    assert not checked(exports["float"], seconds=0, preprocess=f"{code}:mine").differs
    (wrong,) = checked(exports["float"], seconds=0, preprocess=f"{code}:forgetful").differs
    assert "mean 0 where it was 0.5/0.4/0.3, std 0.00392 where it was 0.2/0.25/0.3" in wrong
    for text, why in ((f"{code}:absent", "no function 'absent'"), (f"{code}:constant", "no f"), ("no.py:f", "no such")):
        with pytest.raises(BadValue, match=why):
            checked(exports["float"], seconds=0, preprocess=text)


# --- as a program, and what is no export


def run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", str(folder / "check.py"), "--seconds", "0", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder.parent)


def test_it_runs_beside_the_export_and_as_a_command_alike(copied: Callable[[str], Path]) -> None:
    folder = copied("bundle")
    assert (folder / "check.py").read_bytes() == Path(check.__file__).read_bytes()
    done = run(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].endswith("agrees with what was measured") and len(lines) < 24
    command = CliRunner().invoke(cli.app, ["check", str(folder), "--seconds", "0"])
    assert (command.exit_code, command.stdout) == (0, done.stdout)
    flipped = (folder / "recipe.yaml").write_text("another")
    assert flipped and run(folder).returncode == 1
    command = CliRunner().invoke(cli.app, ["check", str(folder), "--seconds", "0", "--json"])
    assert command.exit_code == 1
    assert json.loads(command.stdout)["differs"] == [
        "recipe.yaml is not the file that was exported: its SHA-256 is another."
    ]


def test_a_bundle_that_cannot_be_unpacked_differs(copied: Callable[[str], Path]) -> None:
    folder = copied("bundle")
    content = (folder / "model.wbz").read_bytes()
    (folder / "model.wbz").write_bytes(content[:-100])
    said = [one[:24] for one in checked(folder, seconds=0).differs]
    assert said == ["model.wbz is not the fil", "model.wbz cannot be unpa"]


def test_a_file_that_cannot_be_run_is_told_as_such(copied: Callable[[str], Path]) -> None:
    folder = copied("float")
    (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:500])
    assert [one[:30] for one in check.check(folder, QUICK).differs] == [
        "model.onnx is not the file tha", "The network cannot be run here",
    ]  # fmt: skip
    model = onnx.load(copied("int8") / "model.onnx")  # that of another exporter, whose tensors have other names
    inner = {name for node in model.graph.node for name in node.output} - {one.name for one in model.graph.output}
    for node in model.graph.node:
        for names in (node.input, node.output):
            renamed = [f"other/{name}" if name in inner else name for name in names]
            del names[:]
            names.extend(renamed)
    onnx.save(model, folder / "model.onnx")
    assert check.check(folder, QUICK).differs[-1].startswith("The network cannot be run here")
    (folder / "model.onnx").unlink()
    assert check.check(folder, QUICK).differs[0] == "model.onnx is missing."


@pytest.mark.parametrize("bad", ["empty", "no manifest", "no canaries", "text", "list", "array", "objects", "about"])
def test_a_folder_that_holds_something_else_is_told_as_such(copied: Callable[[str], Path], bad: str) -> None:
    folder = copied("float")
    manifest, canaries = folder / "manifest.json", folder / "canary.npz"
    if bad == "empty":
        shutil.rmtree(folder)
    elif bad in {"no manifest", "no canaries"}:
        (manifest if bad == "no manifest" else canaries).unlink()
    elif bad in {"text", "list"}:
        manifest.write_text("hello" if bad == "text" else "[1]")
    elif bad == "array":
        canaries.write_bytes(b"PK\3\4 nothing")
    elif bad == "objects":
        np.savez(canaries, about=np.array([{"a": 1}], dtype=object))
    else:
        np.savez(canaries, about=np.frombuffer(b"[]", np.uint8))
    with pytest.raises(check.Unusable):
        check.check(folder, QUICK)
    with pytest.raises(BadFile):
        checked(folder, seconds=0)
    assert check.main([str(folder)]) == 2


@pytest.mark.parametrize(("name", "module", "how"), [
    ("float", "onnxruntime", "pip install onnxruntime"),
    ("torch", "workbench.exporters", "needs workbench.exporters to be run: pip install nn-workbench"),
])  # fmt: skip
def test_a_runtime_that_is_missing_is_named(
    exports: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str, module: str, how: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(check.Unusable, match=how):
        check.check(exports[name], QUICK)


def test_a_stranger_s_decoder_is_not_run(copied: Callable[[str], Path], tmp_path: Path) -> None:
    folder = copied("bundle")
    (folder / "decode.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    report = checked(folder, seconds=0)
    assert report.differs == ["decode.py is not the file that was exported: its SHA-256 is another."]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["canary.npz", "manifest.json", "model.onnx"])
def test_damaged_bytes_are_told_as_such_and_raise_nothing_else(copied: Callable[[str], Path], name: str) -> None:
    folder, random = copied("float"), np.random.default_rng(0)
    content = (folder / name).read_bytes()
    told = 0
    for _ in range(15):
        damaged = bytearray(content)
        for place in random.integers(0, len(content), 3):
            damaged[place] = random.integers(0, 256)
        (folder / name).write_bytes(damaged)
        try:
            report = checked(folder, seconds=0)
        except BadFile:
            told += 1
        else:
            told += bool(report.differs) or bytes(damaged) == content
    assert told == 15 if name != "manifest.json" else told > 3  # a figure of a manifest may be any other


@pytest.mark.parametrize("kind", ["bundle", "c99", "pt2"])
def test_no_code_of_a_stranger_is_run(copied: Callable[[str], Path], tmp_path: Path, kind: str) -> None:
    """A folder says itself which format it is in, and so which code reading it back would run."""
    folder, mark = copied("torch"), tmp_path / "mark"
    with np.load(folder / "canary.npz") as held:
        canaries = dict(held)
    about = json.loads(canaries["about"].tobytes()) | {"format": kind}
    np.savez(folder / "canary.npz", **canaries | {"about": np.frombuffer(json.dumps(about).encode(), np.uint8)})
    (folder / "decode.py").write_text(f"open({str(mark)!r}, 'w')")
    (folder / "network.h").write_text("")
    (folder / "network.c").write_text(f'__attribute__((constructor)) void f(void) {{ fopen("{mark}", "w"); }}')
    said = str(checked(folder, seconds=0))
    assert "--run-code" in said and "was not run" in said and not mark.exists()


def test_a_file_that_was_optimised_for_another_machine_says_so(
    copied: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied("here")
    held = onnx.load(folder / "model.onnx")
    assert {node.domain for node in held.graph.node} & {"com.microsoft", "com.microsoft.nchwc"}  # it was rewritten
    assert any("was optimised for" in note for note in read_manifest(folder).notes)
    assert not checked(folder, seconds=0).notes
    monkeypatch.setattr(check, "here", lambda: "Another CPU with onnxruntime 0.1")
    report = checked(folder, seconds=0)
    assert "this is Another CPU with onnxruntime 0.1" in report.notes[0] and not report.differs


def test_what_a_stranger_calls_a_layer_cannot_move_the_cursor() -> None:
    assert "\x1b" not in str(check.Report("folder", "\x1b[2J", differs=["layer \x1b]0;x\a"]))


def test_it_needs_numpy_and_the_runtime_alone() -> None:
    tree = ast.parse(Path(check.__file__).read_text())
    named = {one.name for node in ast.walk(tree) if isinstance(node, ast.Import) for one in node.names}
    named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    others = {name.partition(".")[0] for name in named} - sys.stdlib_module_names
    assert others == {"numpy", "onnxruntime", "openvino", "ai_edge_litert", "workbench"}
    at_the_top = {node.names[0].name.partition(".")[0] for node in tree.body if isinstance(node, ast.Import)}
    assert at_the_top - sys.stdlib_module_names == {"numpy"}  # the others where a file needs them


# --- how fast it is


def test_the_speed_up_is_told_with_its_interval_and_can_be_asked_for(exports: dict[str, Path]) -> None:
    report = check.check(exports["int8"], check.Ask(seconds=0.05))
    assert report.ratio is not None and report.ratio[1] < report.ratio[0] < report.ratio[2]
    assert "where it was measured" in report.agrees[-1] and not report.differs
    asked = check.check(exports["int8"], check.Ask(seconds=0.05, speedup=1e6))
    assert asked.differs[-1].startswith("It is not surely 1e+06× as fast.")
    with pytest.raises(check.Unusable, match="nothing to time it against"):
        check.check(exports["torch"], check.Ask(speedup=1.0))


@pytest.mark.parametrize("noise", [0.01, 0.5])
def test_the_interval_of_a_ratio_holds_the_true_one(noise: float) -> None:
    """Oracle: ratios drawn around a known median, with a tail to one side."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        logs = np.log(1.7) + noise * (random.exponential(size=31) - np.log(2))  # the median of an exponential is ln 2
        _, low, high = check.interval(np.sort(logs))
        held += low <= 1.7 <= high
    assert held >= 0.93 * 300
