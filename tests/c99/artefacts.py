"""Int8 artefacts of small networks, and what their C answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

from workbench.artefact.onnx_graph import separate, tidy
from workbench.c99.compiling import library, loaded
from workbench.c99.reading import read
from workbench.c99.writing import written
from workbench.jobs import Reporter
from workbench.onnx_file import write_onnx
from workbench.quantization.qdq import TYPES, quantize_graph
from workbench.quantization.ranges import activation_ranges
from workbench.runtimes import runtime

IMAGES = 120


def images(shape: tuple[int, ...], count: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))


def artefact(
    network: nn.Module, shape: tuple[int, ...], folder: Path, types: str = "u8s8", exclude: str = "", **settings: Any
) -> Path:
    """The int8 file of a network, as Quantize writes it, all of it in integers unless told otherwise."""
    torch.manual_seed(0)
    for one in network.modules():
        if hasattr(one, "reset_parameters"):
            one.reset_parameters()
    inputs = images(shape, IMAGES)
    write_onnx(network.eval(), inputs[:1], folder / "float.onnx")
    model = separate(tidy(onnx.load(str(folder / "float.onnx"))))
    ranges = activation_ranges(model, inputs.numpy(), "minmax", Reporter())
    onnx.save(quantize_graph(model, ranges, TYPES[types], exclude={exclude}, **settings), str(folder / "model.onnx"))
    return folder / "model.onnx"


def write(file: Path, folder: Path) -> int:
    """The C of an artefact; bytes of its arena."""
    files, layout = written(read(file), "a network")
    for name, text in files.items():
        (folder / name).write_text(text, encoding="ascii")
    return layout.size


def apart(file: Path, folder: Path, inputs: np.ndarray[Any, Any], how: str = "-O2") -> tuple[float, float]:
    """How many of 255 steps of the largest answer C is from ONNX Runtime at most, and the share of equal answers."""
    write(file, folder)
    found = loaded(library(folder, folder / "network.so", [how, "-Wextra", "-pedantic"])).outputs(inputs)[0]
    expected = runtime().load(file).outputs(inputs)[0]
    assert found.shape == expected.shape and np.ptp(expected) > 0
    steps = np.abs(found - expected).max() / np.abs(expected).max() * 255
    return float(steps), float(np.mean(found == expected))
