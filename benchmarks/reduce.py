"""Sabotaged networks, each reduced to the smallest part that shows its fault; prints a Markdown table.

    .venv/bin/python benchmarks/reduce.py [--only NAME]

One operator of each network is spoilt, in a chain of a hundred operators or in a bundled network; the network as it was
is what it is held against. `left` are the operators that remain, and `found` says whether the spoilt one is among them.
Every zip is unpacked and its `reproduce.py` run in a process of its own: `shows` is what that says.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

import workbench as wb
from workbench.diagnosis import Evaluator
from workbench.jobs import Reporter
from workbench.reduction.reduction import Ask, reduce_file

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests" / "reduction"))
from faulty import CHANNELS, chain, changed, held, put, renamed  # noqa: E402  # the tests' own networks

Pair = tuple[onnx.ModelProto, onnx.ModelProto, str]


@cache
def bundled(name: str, *steps: Any) -> onnx.ModelProto:
    """The artefact of a bundled network after a recipe."""
    evaluator = Evaluator(wb.load(name), wb.data("fashion-mnist"), True, lambda _: None, "validation")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        return onnx.load(str(evaluator.make(wb.Recipe(steps), path, Reporter()) or path))


def named(graph: onnx.ModelProto, operator: str, which: int) -> str:
    """The name of one of the nodes of an operator."""
    return str([node.name for node in graph.graph.node if node.op_type == operator][which])


def another(operator: str, **settings: Any) -> Callable[[onnx.NodeProto], None]:
    """Another operator in the place of a node's."""

    def change(node: onnx.NodeProto) -> None:
        node.op_type = operator
        node.attribute.extend(helper.make_attribute(name, value) for name, value in settings.items())

    return change


def reset(**settings: Any) -> Callable[[onnx.NodeProto], None]:
    """Other attributes of a node."""

    def change(node: onnx.NodeProto) -> None:
        kept = [one for one in node.attribute if one.name not in settings]
        del node.attribute[:]
        node.attribute.extend([*kept, *(helper.make_attribute(name, value) for name, value in settings.items())])

    return change


def weight(graph: onnx.ModelProto, name: str, spoil: Callable[[Any], Any], index: int = 1) -> onnx.ModelProto:
    """A copy in which what a node multiplies with is another."""

    def change(node: onnx.NodeProto) -> None:
        node.input[index] = "spoilt"

    reads = next(node for node in graph.graph.node if node.name == name).input[index]
    spoilt = changed(graph, name, change)
    put(spoilt, "spoilt", spoil(held(graph, reads)))
    return spoilt


def in_chain(name: str, change: Callable[[onnx.NodeProto], None]) -> Pair:
    """A node of the chain spoilt."""
    good = chain()
    return good, changed(good, name, change), name


def other_operator() -> Pair:
    """LeakyRelu for Relu, in a chain."""
    return in_chain("relu57", another("LeakyRelu", alpha=0.3))


def dilated() -> Pair:
    """A convolution with another dilation."""
    return in_chain("conv24", reset(dilations=[2, 2], pads=[2, 2, 2, 2]))


def one_weight() -> Pair:
    """One of the 576 weights of a convolution."""
    good = chain()
    return (
        good,
        weight(good, "conv40", lambda one: one + np.eye(CHANNELS, dtype=np.float32)[3][:, None, None, None]),
        "conv40",
    )


def other_names() -> Pair:
    """The same with all names new, those of tensors shifted by one."""
    good, bad, name = one_weight()
    return good, renamed(bad), f"again_{name}"


def subtracted() -> Pair:
    """Sub for Add on a skip connection, all names new."""
    good = chain()
    return good, renamed(changed(good, "add63", another("Sub"))), "again_add63"


def inserted() -> Pair:
    """An operator too many, which doubles a tensor."""
    good = chain()

    def change(node: onnx.NodeProto) -> None:
        node.input[0] = "doubled"

    bad = changed(good, "conv80", change)
    place = next(index for index, node in enumerate(bad.graph.node) if node.name == "conv80")
    bad.graph.node.insert(place, helper.make_node("Add", ["t79", "t79"], ["doubled"], "too_many"))
    return good, bad, "too_many"


def resnet_bias() -> Pair:
    """A bias of a bundled residual network."""
    good = bundled("fashion-resnet")
    name = named(good, "Conv", 4)
    return good, weight(good, name, lambda one: one + 0.5, 2), name


def pooled() -> Pair:
    """Another activation in a bundled network of depthwise layers."""
    good = bundled("fashion-mobilenet")
    clips = [node.op_type for node in good.graph.node]
    operator = "Clip" if "Clip" in clips else "Relu"
    name = named(good, operator, 5)

    def change(node: onnx.NodeProto) -> None:
        node.op_type = "Softplus"
        del node.input[1:]

    return good, changed(good, name, change), name


def int8_scale() -> Pair:
    """A scale of activations, four times too fine, in int8 against float."""
    good = bundled("fashion-resnet", wb.Quantize("int8"))
    name = named(good, "QuantizeLinear", 6)
    bad = weight(good, name, lambda one: one / 4)
    made = next(node for node in bad.graph.node if node.name == name).output[0]
    for node in bad.graph.node:
        if node.input[0] == made:
            node.input[1] = "spoilt"
    return bundled("fashion-resnet"), bad, name


def int8_weight() -> Pair:
    """Integers of a weight with their signs lost, in int8 against float."""
    good = bundled("fashion-resnet", wb.Quantize("int8"))
    convs = [node for node in good.graph.node if node.op_type == "Conv"]
    writers = {node.output[0]: node for node in good.graph.node}
    name = writers[convs[3].input[1]].name
    return bundled("fashion-resnet"), weight(good, name, np.abs, 0), convs[3].name


def halves() -> Pair:
    """A product in half precision that overflows and comes back, against float."""
    good = bundled("fashion-vgg")
    bad = bundled("fashion-vgg", wb.Quantize("fp16"))
    name = named(bad, "Conv", 2)
    return good, weight(bad, name, lambda one: (one * 3).astype(one.dtype)), name


def slow_kernel() -> Pair:
    """A kernel of 3 x 3 in a frame of zeros of 31 x 31: the same outputs, slower."""
    good = chain()
    bad = weight(good, "conv60", lambda one: np.pad(one, ((0, 0), (0, 0), (14, 14), (14, 14))))
    return good, changed(bad, "conv60", reset(pads=[15] * 4)), "conv60"


def slow_doubles() -> Pair:
    """A product in double precision between two casts: the same outputs, slower."""
    good = chain()
    bad = weight(good, "mul42", lambda one: one.astype(np.float64))
    spoilt = next(one for one in bad.graph.node if one.name == "mul42")
    place = list(bad.graph.node).index(spoilt)
    spoilt.input[0], spoilt.output[0] = "wide", "wide_result"
    bad.graph.node.insert(place + 1, helper.make_node("Cast", ["wide_result"], ["t42"], "back", to=1))
    bad.graph.node.insert(place, helper.make_node("Cast", ["t41"], ["wide"], "there", to=11))
    return good, bad, "there mul42 back"


def slow_detour() -> Pair:
    """A tensor repeated 400 times and averaged, and thrown away."""
    good = chain()

    def change(node: onnx.NodeProto) -> None:
        node.input[0] = "detoured"

    bad = changed(good, "mul34", change)
    place = next(index for index, node in enumerate(bad.graph.node) if node.name == "mul34")
    extra = [
        helper.make_node("Tile", ["t33", "times"], ["many"], "tiled"),
        helper.make_node("ReduceMean", ["many"], ["few"], "meant", axes=[0], keepdims=1),
        helper.make_node("Where", ["never", "few", "t33"], ["detoured"], "chosen"),
    ]
    for node in reversed(extra):
        bad.graph.node.insert(place, node)
    put(bad, "times", np.array([400, 1, 1, 1]))
    put(bad, "never", np.array(False))
    return good, bad, "tiled meant chosen"


KINDS = (other_operator, dilated, one_weight, other_names, subtracted, inserted, resnet_bias, pooled, int8_scale,
         int8_weight, halves, slow_kernel, slow_doubles, slow_detour)  # fmt: skip


def row(kind: Callable[[], Pair]) -> str:
    """One line of the table."""
    good, bad, name = kind()
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "bad.onnx", Path(folder) / "good.onnx"
        for file, graph in zip(files, (bad, good), strict=True):
            onnx.save(graph, file)
        began, worked = time.monotonic(), time.process_time()
        found = reduce_file(*files, ask=Ask("slow" if kind.__name__.startswith("slow") else "wrong"))
        spent = time.monotonic() - began, time.process_time() - worked
        archive = found.save(Path(folder) / "fault.zip")
        size = archive.stat().st_size / 1e3
        zipfile.ZipFile(archive).extractall(folder)
        command = [sys.executable, str(Path(folder) / "fault" / "reproduce.py")]
        shows = subprocess.run(command, capture_output=True, check=False).returncode == 1
    named_ = bool(set(name.split()) & set(found.nodes))
    shape = ", ".join("x".join(map(str, value.shape)) for value in found.piece.inputs.values())
    cells = (
        kind.__doc__, len(bad.graph.node), len(found.operators), " ".join(found.operators), "yes" if named_ else "no",
        shape, f"{found.figure.value:.2g}", found.tried, f"{spent[0]:.0f} ({spent[1]:.1f})", f"{size:.0f}",
        "yes" if shows else "no",
    )  # fmt: skip
    return "| " + " | ".join(map(str, cells)) + " |"


def main() -> None:
    """Print the table as it grows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="the name of one kind")
    only = parser.parse_args().only
    heads = ("spoilt", "operators", "left", "which", "found", "input", "off by, or times as fast", "tried",
             "seconds (of this process)", "zip, kB", "shows")  # fmt: skip
    print("| " + " | ".join(heads) + " |\n|" + " --- |" * len(heads), flush=True)
    for kind in KINDS:
        if only in {"", kind.__name__}:
            print(row(kind), flush=True)


if __name__ == "__main__":
    main()
