"""A fault shrinks to the operator that has it, and the zip shows it in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from faulty import chain, changed, held, model, put, renamed
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper
from tiny import tiny_data, tiny_model
from typer.testing import CliRunner

import workbench as wb
from workbench.cli import app
from workbench.errors import BadFile, BadValue, UnknownName
from workbench.reduction import oracles
from workbench.reduction.ddmin import least
from workbench.reduction.oracles import Ends, Slow, far
from workbench.reduction.reduction import Ask, reduce_file
from workbench.reduction.result import Reduction


def written(folder: Path, *graphs: onnx.ModelProto) -> list[Path]:
    files = [folder / f"net{index}.onnx" for index in range(len(graphs))]
    for file, graph in zip(files, graphs, strict=True):
        onnx.save(graph, file)
    return files


def leaky(node: onnx.NodeProto) -> None:
    node.op_type = "LeakyRelu"
    node.attribute.append(helper.make_attribute("alpha", 0.3))


def unpacked(found: Reduction, folder: Path) -> Path:
    zipfile.ZipFile(found.save(folder / "fault")).extractall(folder)
    return folder / "fault"


def reproduced(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "ignore", str(folder / "reproduce.py"), "--seconds", "0.1"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@given(st.integers(1, 60), st.data())
def test_delta_debugging_leaves_what_is_needed_and_nothing_else(count: int, data: st.DataObject) -> None:
    needed = set(data.draw(st.lists(st.integers(0, count - 1), min_size=1, max_size=4)))

    def fails(part: Sequence[int]) -> Sequence[int] | None:
        return part if needed <= set(part) else None

    assert least(range(count), fails) == sorted(needed)


def test_one_wrong_operator_of_a_hundred(tmp_path: Path) -> None:
    bad, good = written(tmp_path, changed(chain(), "relu57", leaky), chain())
    found = reduce_file(bad, good)
    assert (found.fault, found.operators, found.nodes, found.whole) == ("wrong", ("LeakyRelu",), ("relu57",), 100)
    (x,), (right,) = found.piece.inputs.values(), found.expected
    assert np.array_equal(right, np.maximum(x, 0))  # the very rectifier that should stand there
    assert found.figure.value == pytest.approx(0.3 * -x.min() / x.max(), rel=1e-4)
    folder = unpacked(found, tmp_path)
    said = reproduced(folder)
    assert said.returncode == 1 and "THE FAULT SHOWS: outputs are off by" in said.stdout
    onnx.save(changed(onnx.load(folder / "model.onnx"), "relu57", mended), folder / "model.onnx")
    assert reproduced(folder).returncode == 0
    (folder / "input.npz").unlink()
    assert reproduced(folder).returncode == 2


def mended(node: onnx.NodeProto) -> None:
    node.op_type = "Relu"
    del node.attribute[:]


def test_a_graph_whose_names_are_all_others_shifted_by_one(tmp_path: Path) -> None:
    def minus(node: onnx.NodeProto) -> None:
        node.op_type = "Sub"

    bad, good = written(tmp_path, renamed(changed(chain(), "add63", minus)), chain())
    found = reduce_file(bad, good)
    assert found.nodes == ("again_add63",)
    assert [value.shape for value in found.piece.inputs.values()] == [(1, 1, 1, 1)] * 2


def test_rounding_to_eight_bits_with_a_wrong_scale(tmp_path: Path) -> None:
    """Integers against floats: the rectifier has become a part of the rounding, as quantizers have it."""
    weights = {f"w{index}": held(chain(), f"w{4 * index}") for index in range(3)}

    def net(between: list[Any], behind: str) -> onnx.ModelProto:
        ends = [("x", "a"), ("a", "b"), (behind, "y")]
        nodes = [helper.make_node("Conv", [one, f"w{k}"], [two], pads=[1] * 4) for k, (one, two) in enumerate(ends)]
        return model([*nodes[:2], *between, nodes[2]], weights, "x", "y")

    good = net([helper.make_node("Relu", ["b"], ["c"])], "c")
    rounding = helper.make_node("QuantizeLinear", ["c", "step", "zero"], ["q"])
    bad = net([rounding, helper.make_node("DequantizeLinear", ["q", "step", "zero"], ["d"])], "d")
    bad.graph.node[1].output[0] = "c"  # as the original names what is behind the rectifier
    put(bad, "step", np.float32(1e-4))  # so that nothing above 0.0255 is left
    put(bad, "zero", np.uint8(0))
    files = written(tmp_path, bad, good)
    assert reduce_file(*files).operators == ("Conv", "QuantizeLinear", "DequantizeLinear")


def test_the_slow_one_is_found_and_timed_in_turns(tmp_path: Path) -> None:
    good = chain(40)

    def framed(node: onnx.NodeProto) -> None:
        node.input[1] = "framed"
        node.attribute[0].CopyFrom(helper.make_attribute("pads", [15] * 4))

    bad = changed(good, "conv24", framed)
    put(bad, "framed", np.pad(held(good, "w24"), ((0, 0), (0, 0), (14, 14), (14, 14))))
    found = reduce_file(*written(tmp_path, bad, good), ask=Ask("slow", seconds=0.3))
    assert (found.fault, found.nodes) == ("slow", ("conv24",))
    assert found.figure.high < 1 and found.twin is not None
    assert [node.name for node in found.twin.model.graph.node] == ["conv24"]
    assert not found.expected and reproduced(unpacked(found, tmp_path)).returncode == 1


def test_a_slow_part_is_chosen_by_what_it_costs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With a clock of the test's own: an operator takes a second, the one named `dear` ten, in the suspect alone."""

    def timing(self: Slow, piece: Any) -> tuple[float, float]:
        extra = 10.0 * sum(node.name == "relu13" for node in piece.model.graph.node)
        return extra, 0.5 if extra else 1.1

    def confirmed(found: Reduction, *rest: Any) -> wb.Estimate:
        return wb.Estimate(0.5, 0.4, 0.6)

    monkeypatch.setattr(Slow, "timing", timing)
    monkeypatch.setattr("workbench.reduction.reduction.confirmed", confirmed)
    files = written(tmp_path, chain(20), chain(20))
    assert reduce_file(*files, ask=Ask("slow")).nodes == ("relu13",)


def test_what_ends_the_process_is_looked_for_apart(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def ending(content: bytes, level: str, inputs: Any) -> str:
        return "SIGSEGV" if any(node.name == "mul6" for node in onnx.ModelProto.FromString(content).graph.node) else ""

    for place in ("workbench.reduction.oracles.ending", "workbench.reduction.reduction.ending"):
        monkeypatch.setattr(place, ending)
    (file,) = written(tmp_path, chain(20))
    found = reduce_file(file)
    assert (found.fault, found.nodes, found.said) == ("ends the process", ("mul6",), "SIGSEGV")
    assert "(SIGSEGV)" in str(found)
    told = json.loads((unpacked(found, tmp_path) / "fault.json").read_text())
    assert told["said"] == "SIGSEGV"


def test_a_file_that_kills_is_asked_in_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process apart is told to kill itself over an operator, whatever the runtime; it gets the very inputs."""
    stub = tmp_path / "stub.py"
    stub.write_text(
        "import json, os, sys, numpy as np, onnx\n"
        "print('ready', flush=True)\n"
        "for line in sys.stdin:\n"
        "    asked = json.loads(line)\n"
        "    held = np.load(asked['inputs'])['arr_0'] if 'inputs' in asked else np.zeros(1)\n"
        "    if held.size > 1 and any(n.name == 'relu1' for n in onnx.load(asked['path']).graph.node):\n"
        "        os.kill(os.getpid(), 9)\n"
        "    print('alive', asked['number'], flush=True)\n"
    )
    from workbench.runtimes import apart

    start = subprocess.Popen
    monkeypatch.setattr(apart.subprocess, "Popen", lambda command, **more: start([command[0], str(stub)], **more))
    monkeypatch.delenv(apart.EXPENDABLE, raising=False)
    apart._stop()
    try:
        found = reduce_file(*written(tmp_path, chain(4)), ask=Ask("ends the process"))
    finally:
        apart._stop()
    assert (found.nodes, found.said) == (("relu1",), "SIGKILL")


def test_what_the_runtime_refuses(tmp_path: Path) -> None:
    def odd(node: onnx.NodeProto) -> None:
        node.op_type = "Mod"  # of floats, which needs an attribute that is not there

    files = written(tmp_path, changed(chain(20), "mul10", odd), chain(20))
    found = reduce_file(*files)
    assert (found.fault, found.nodes) == ("refused", ("mul10",))
    assert reproduced(unpacked(found, tmp_path)).returncode == 1


def test_a_sound_network_has_nothing_to_reduce(tmp_path: Path) -> None:
    good, same = written(tmp_path, chain(8), chain(8))
    with pytest.raises(BadValue, match=r"shows no fault: its outputs differ from the right ones by [\d.]+e-07 "):
        reduce_file(good, same)
    for way in ("unoptimised", "onnx"):
        with pytest.raises(BadValue, match="does not show the fault 'wrong'"):
            reduce_file(good, way, ask=Ask("wrong"))


def test_what_cannot_be_asked(tmp_path: Path) -> None:
    least_of = model([helper.make_node("ReduceMax", ["x"], ["y"], keepdims=0)], {}, "x", "y")
    del least_of.graph.output[0].type.tensor_type.shape.dim[:]
    good, short = written(tmp_path, chain(8), least_of)
    with pytest.raises(BadValue, match=r"fault is 'ugly'. Give one of ends the process, refused, wrong, slow"):
        Ask("ugly")
    with pytest.raises(BadValue, match="tolerance is -1"):
        Ask(tolerance=-1)
    with pytest.raises(BadValue, match="'other.onnx' is no file"):
        reduce_file(good, "other.onnx")
    with pytest.raises(BadFile, match="There is no file"):
        reduce_file(tmp_path / "none.onnx")
    with pytest.raises(BadValue, match="it is given y"):
        reduce_file(good, inputs={"y": np.zeros(1)})
    with pytest.raises(BadValue, match="have other shapes or types"):
        reduce_file(good, short)


def test_how_far_an_output_is_off() -> None:
    assert far(np.array([1.0, 2.5]), np.array([1.0, 2.0])) == 0.25
    assert far(np.array([1.0]), np.array([1.0, 2.0])) == np.inf
    assert far(np.array([np.inf, 1.0]), np.array([np.inf, 1.0])) == 0.0
    assert far(np.array([1.0]), np.array([np.nan])) == 0.0 and far(np.array([np.nan]), np.array([1.0])) == np.inf
    assert far(np.array([1, 2]), np.array([1, 3])) == 0.5
    assert far(np.array([1e-7]), np.array([0.0]), size=1.0) == pytest.approx(1e-4)


def test_a_layer_of_a_study(tmp_path: Path) -> None:
    study = wb.Study(tiny_model(), tiny_data(), path=tmp_path / "study")
    variant = study.run(wb.Tucker(rank=0.3), progress=False)
    found = study.reduce(variant, "conv2", progress=False)
    assert found.nodes == ("conv2.0", "conv2.1", "conv2.2") and found.figure.value > 0.01
    (x,) = found.piece.inputs.values()
    original = study.model.module.get_submodule("conv2")
    import torch

    assert found.twin is not None and len(found.twin.model.graph.node) in {1, 2}  # with its rectifier or without
    right = original(torch.from_numpy(x)).detach().numpy()
    assert min(far(found.expected[0], one) for one in (right, np.maximum(right, 0))) < 1e-5
    with pytest.raises(UnknownName, match="conv9"):
        study.reduce(variant, "conv9", progress=False)
    with pytest.raises(BadValue, match="against is 'nothing'"):
        study.reduce(variant, against="nothing", progress=False)


def test_the_command(tmp_path: Path) -> None:
    bad, good = written(tmp_path, changed(chain(8), "relu5", leaky), chain(8))
    np.savez(tmp_path / "given.npz", x=np.ones((2, 8, 12, 12), np.float32))
    command = ["reduce", str(bad), "--against", str(good), "--out", str(tmp_path / "a.zip")]
    done = CliRunner().invoke(app, [*command, "--input", str(tmp_path / "given.npz")])
    assert done.exit_code == 0, done.output
    assert "1 of 8 operators are left: LeakyRelu relu5." in done.output
    assert sorted(zipfile.ZipFile(tmp_path / "a.zip").namelist()) == [
        f"fault/{name}"
        for name in ("README.md", "expected.npz", "fault.json", "input.npz", "model.onnx", "reproduce.py", "right.onnx")
    ]
    assert str(Path.cwd()) not in zipfile.ZipFile(tmp_path / "a.zip").read("fault/README.md").decode()
    assert oracles.FAULTS[0] == Ends.fault
