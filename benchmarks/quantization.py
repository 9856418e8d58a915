"""Accuracy and interleaved latency of quantized artefacts, against ONNX Runtime's defaults and other tools.

    python benchmarks/quantization.py [MODEL ...] [--more] [--large] [--seconds 4]

Rows: the float artefact; `Quantize` in its precisions, and after a factorization; `--more` adds what keeps
accuracy, and QAT; then ONNX Runtime's `quantize_static` with its defaults, NNCF and the ONNX Neural
Compressor, the last two where they are installed. All artefacts of a model are timed together, at batch 1 and 32
on 1 and 2 threads. `--large` times a ResNet-18 for 224 x 224 images with random weights instead.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from torch import nn

import workbench as wb
from workbench.building.build import context, rewrite
from workbench.jobs import Reporter
from workbench.measure.accuracy import Evaluation, evaluate
from workbench.measure.latency import Timings, interleave
from workbench.measure.machine import machine
from workbench.models.architectures import BasicBlock, conv_bn
from workbench.onnx_file import file_bytes, write_onnx
from workbench.quantization.inspect import float_nodes
from workbench.recipe import Recipe
from workbench.step import Lower

Maker = Callable[[Path, Path], None]
MODELS = ("fashion-vgg", "fashion-resnet", "fashion-mobilenet")
SETTINGS = tuple((batch, threads) for threads in (1, 2) for batch in (1, 32) if threads <= (os.cpu_count() or 1))
CALIBRATION = 300

RECIPES = {
    "fp16": lambda: wb.Quantize("fp16"),
    "int8": lambda: wb.Quantize("int8"),
    "int8-dynamic": lambda: wb.Quantize("int8-dynamic"),
    "int4": lambda: wb.Quantize("int4"),
    "Tucker macs:0.35 + int8": lambda: wb.Tucker("macs:0.35", round_to=8) | wb.Quantize("int8"),
    "Tucker macs:0.25 + int8": lambda: wb.Tucker("macs:0.25", round_to=8) | wb.Quantize("int8"),
}
MORE = {
    "int8 s8s8": lambda: wb.Quantize("int8", types="s8s8"),
    "int8 percentile": lambda: wb.Quantize("int8", calibration="percentile"),
    "int8 mse": lambda: wb.Quantize("int8", calibration="mse"),
    "int8 entropy": lambda: wb.Quantize("int8", calibration="entropy"),
    "int8 per tensor": lambda: wb.Quantize("int8", per_channel=False),
    "int8 per tensor, equalized": lambda: wb.Quantize("int8", per_channel=False, equalize=True),
    "int8 bias corrected": lambda: wb.Quantize("int8", bias_correction=True),
    "int8 compensated": lambda: wb.Quantize("int8", rounding="compensated"),
    "int8 learned": lambda: wb.Quantize("int8", rounding="learned"),
    "int4 nearest": lambda: wb.Quantize("int4", rounding="nearest"),
    "int4 learned": lambda: wb.Quantize("int4", rounding="learned"),
    "int8 max_drop 0.002": lambda: wb.Quantize("int8", max_drop=0.002),
    "QAT 1": lambda: wb.QAT(epochs=1),
    "int8, stem in integers": lambda: wb.Quantize("int8", stem="int8"),
}


def recipes(chosen: dict[str, Any], model: Any, data: Any) -> Iterator[tuple[str, Maker]]:
    """The workbench's own rows."""
    for name, make in chosen.items():
        yield name, partial(apply, Recipe() | make(), model, data)


def apply(recipe: Recipe, model: Any, data: Any, source: Path, target: Path) -> None:
    """Rewrite the module where the recipe says so, then lower the artefact."""
    lowers = [step for step in recipe if isinstance(step, Lower)]
    if len(lowers) < len(recipe):
        source = write_onnx(rewrite(model, recipe, data), model.example, target.with_suffix(".float.onnx"))
    for step in lowers:
        step.lower(source, target, context(model, data, Reporter()))
        source = target


def peers(images: np.ndarray) -> Iterator[tuple[str, Maker]]:
    """Other tools, with their default settings and the same calibration images."""
    yield "ONNX Runtime quantize_static, defaults", partial(runtime_defaults, images)
    if importlib.util.find_spec("nncf"):
        yield "NNCF, defaults", partial(nncf_defaults, images)
    if importlib.util.find_spec("onnx_neural_compressor"):
        yield "ONNX Neural Compressor, defaults", partial(compressor_defaults, images)


def reader(images: np.ndarray) -> Any:
    """The images as ONNX Runtime's calibration reader."""
    from onnxruntime.quantization import CalibrationDataReader

    class Batches(CalibrationDataReader):  # type: ignore[misc]  # ships no types
        def __init__(self) -> None:
            self.rewind()

        def rewind(self) -> None:
            self.left = iter([{"input": images[i : i + 1]} for i in range(len(images))])

        def get_next(self) -> Any:
            return next(self.left, None)

    return Batches()


def runtime_defaults(images: np.ndarray, source: Path, target: Path) -> None:
    from onnxruntime.quantization import quantize_static

    quantize_static(source, target, reader(images))


def nncf_defaults(images: np.ndarray, source: Path, target: Path) -> None:
    import nncf

    data = nncf.Dataset([{"input": image[None]} for image in images])
    onnx.save_model(nncf.quantize(onnx.load(str(source)), data), str(target))


def compressor_defaults(images: np.ndarray, source: Path, target: Path) -> None:
    from onnx_neural_compressor.quantization import config, quantize

    quantize(str(source), str(target), config.StaticQuantConfig(reader(images)))


def compare(source: Path, makers: Iterator[tuple[str, Maker]], test: Any, seconds: float) -> None:
    """Make every artefact, print what each is and how long it took, then the speed of all together."""
    names, paths = ["float"], [source]
    print(f"{'':40} accuracy  loss, points   KiB  in float  seconds to make")
    exact = evaluate(source, test) if test is not None else None
    shown = f"{exact.accuracy.value:8.2%}" if exact else f"{'':8}"
    print(f"{'float':40} {shown} {'':13} {file_bytes(source) / 1024:6.0f}")
    for name, make in makers:
        target = source.with_name(f"{len(paths)}.onnx")
        try:
            row = describe(make, source, target, test, exact)
        except Exception as error:  # noqa: BLE001  # a tool that fails is a result too
            print(f"{name:40} failed: {type(error).__name__}: {str(error).strip()[:70]}")
            continue
        print(f"{name:40} {row}", flush=True)
        names.append(name)
        paths.append(target)
    speeds(names, paths, seconds)


def describe(make: Maker, source: Path, target: Path, test: Any, exact: Evaluation | None) -> str:
    """Make one artefact; its accuracy, what that loses, its size, the operations left in float, the time to make it."""
    started = time.perf_counter()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        make(source, target)  # some tools draw bars
    took = time.perf_counter() - started
    size, left = file_bytes(target) / 1024, len(float_nodes(target))
    if exact is None:
        return f"{'':8} {'':13} {size:6.0f} {left:9} {took:16.1f}"
    accuracy = evaluate(target, test).accuracy.value
    return f"{accuracy:8.2%} {100 * (exact.accuracy.value - accuracy):+13.2f} {size:6.0f} {left:9} {took:16.1f}"


def speeds(names: list[str], paths: list[Path], seconds: float) -> None:
    """Speed over float with its 95 % interval, a column for each batch and number of threads."""
    found: list[Timings] = [
        interleave(paths, batch=batch, threads=threads, seconds=seconds) for batch, threads in SETTINGS
    ]
    print(f"\n{'times faster than float':40} " + " ".join(f"{f'batch {b}, {t} thread':>21}" for b, t in SETTINGS))
    for index, name in enumerate(names):
        cells = []
        for timings in found:
            one = timings.speedup(index)
            text = (
                f"{timings.latency(0).value:.2f} ms"
                if index == 0
                else f"{one.value:.2f} [{one.low:.2f}, {one.high:.2f}]"
            )
            cells.append(f"{text:>21}")
        print(f"{name:40} " + " ".join(cells), flush=True)
    print()


def large() -> nn.Module:
    """ResNet-18 (He et al. 2016) with random weights and batch-norm statistics that keep its activations alive."""
    torch.manual_seed(0)
    blocks, c_in = [], 64
    for width, stride in ((64, 1), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1)):
        blocks.append(BasicBlock(c_in, width, stride))
        c_in = width
    stem = [*conv_bn(3, 64, 7, stride=2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    net = nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000))
    with torch.no_grad():
        net.train()(torch.randn(8, 3, 224, 224))
    return net.eval()


def compare_large(folder: Path, seconds: float) -> None:
    """Latency alone, on random images."""
    images = torch.randn(50, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    split = (images, torch.arange(50) % 10)
    data = wb.data({"train": split, "calibration": split}, name="noise")
    model = wb.load(large(), example=images[:1])
    source = write_onnx(model.module, model.example, folder / "large.onnx")
    compare(source, iter([*recipes(RECIPES, model, data), *peers(images.numpy())]), None, seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=MODELS)
    parser.add_argument("--more", action="store_true")
    parser.add_argument("--large", action="store_true")
    parser.add_argument("--seconds", type=float, default=4.0, help="of timing, for each column")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{machine()}, ONNX Runtime {machine().onnxruntime}, torch {torch.__version__}\n")
    with tempfile.TemporaryDirectory() as folder:
        if arguments.large:
            print("ResNet-18, 224 x 224, random weights")
            compare_large(Path(folder), arguments.seconds)
            return
        data = wb.data("fashion-mnist")
        images = data["calibration"].inputs[:CALIBRATION].numpy()
        for name in arguments.models:
            model = wb.load(name)
            source = write_onnx(model.module, model.example, Path(folder) / name / "float.onnx")
            print(name)
            chosen = RECIPES | MORE if arguments.more else RECIPES
            compare(source, iter([*recipes(chosen, model, data), *peers(images)]), data["test"], arguments.seconds)


if __name__ == "__main__":
    main()
