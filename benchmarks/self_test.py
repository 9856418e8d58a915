"""An export that tests itself: in a fresh virtual environment, sabotaged in five ways, and honest under load.

    .venv/bin/python benchmarks/self_test.py --honest 20

Prints Markdown tables. The environment is made anew with numpy and onnxruntime alone, from whatever index pip is
configured for, with the versions of constraints.txt. A broken operator is one that ONNX Runtime is told to run in the
place of another, by a launcher that changes its name in the file's bytes on their way there.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
import venv
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import nn

import workbench as wb

ROOT = Path(__file__).parent.parent
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: Runs check.py where every Relu is a Tanh, whose name is as long.
BROKEN = textwrap.dedent(
    r"""
    import runpy, sys, onnxruntime
    right = onnxruntime.InferenceSession
    def wrong(model, *rest, **more):
        content = model if isinstance(model, bytes) else open(model, "rb").read()
        assert b"\x22\x04Relu" in content
        return right(content.replace(b"\x22\x04Relu", b"\x22\x04Tanh"), *rest, **more)
    onnxruntime.InferenceSession = wrong
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
    """
)


class Colours(nn.Module):
    """Convolutions, a sum, a depthwise layer and a linear one, on coloured pictures of 32 x 32."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.one = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU())
        self.wide = nn.Sequential(nn.Conv2d(32, 32, 3, padding=1, groups=32), nn.ReLU(), nn.Conv2d(32, 64, 1, stride=2))
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits (N, 10)."""
        x = self.stem(x)
        logits: torch.Tensor = self.head(torch.relu(self.wide(x + self.one(x))).mean((2, 3)))
        return logits


def exports(place: Path) -> dict[str, Path]:
    """Two networks, each in float and in int8."""
    torch.manual_seed(0)
    colours = wb.load(Colours(), example=torch.zeros(1, 3, 32, 32))
    pixels = np.random.default_rng(0).integers(0, 256, (600, 32, 32, 3), dtype=np.uint8)
    labels = np.random.default_rng(1).integers(0, 10, 600)
    data = wb.data({"train": (pixels, labels), "test": (pixels, labels)}, mean=MEAN, std=STD, name="noise")
    found = {}
    for name, model, split in (
        ("colours", colours, data),
        ("fashion-resnet", wb.load("fashion-resnet"), wb.data("fashion-mnist")),
    ):
        study = wb.Study(model, split, keep=False)
        for word, recipe in (("float", wb.Tucker(rank=0.5)), ("int8", wb.Quantize("int8"))):
            wb.export(study.run(recipe, progress=False), place / f"{name}, {word}")
            found[f"{name}, {word}"] = place / f"{name}, {word}"
    return found


def environment(place: Path) -> Path:
    """The interpreter of a fresh virtual environment with numpy and onnxruntime."""
    venv.create(place, with_pip=True)
    python = place / ("Scripts" if os.name == "nt" else "bin") / "python"
    pins = ["-c", str(ROOT / "constraints.txt")]
    subprocess.run([python, "-m", "pip", "install", "-q", *pins, "numpy", "onnxruntime"], check=True)
    return python


def run(python: Path, folder: Path, *before: str, seconds: float = 2.0) -> tuple[int, dict[str, Any], float, float]:
    """What check.py finds: its exit code, its report, seconds by the clock and of the processor."""
    started, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [str(python), *before, str(folder / "check.py"), str(folder), "--json", "--seconds", str(seconds)]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=clean, cwd=folder.parent)
    now = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in {0, 1}:
        raise SystemExit(done.stderr)
    processor = now.ru_utime + now.ru_stime - used.ru_utime - used.ru_stime
    return done.returncode, json.loads(done.stdout), time.perf_counter() - started, processor


def flipped(folder: Path) -> str:
    """The sign of the largest weight of the layer in the middle; what must be said of it."""
    model = onnx.load(folder / "model.onnx")
    weights = [one for one in model.graph.initializer if len(one.dims) == 4]
    one = weights[len(weights) // 2]
    value = numpy_helper.to_array(one).copy()
    place = np.unravel_index(np.abs(value.astype(np.float64)).argmax(), value.shape)
    value[place] = -value[place]
    one.CopyFrom(numpy_helper.from_array(value, one.name))
    onnx.save(model, folder / "model.onnx")
    reader = next(node for node in model.graph.node if any(one.name in name for name in node.input))
    layer = reader.name if reader.op_type == "Conv" else one.name.partition(".weight")[0]
    return f"differ from layer {layer} on"


def preprocessed(**change: object) -> Callable[[Path], str]:
    """Another preprocessing in the manifest; what must be said of it."""

    def change_it(folder: Path) -> str:
        manifest = json.loads((folder / "manifest.json").read_text())
        manifest["preprocess"] |= change
        (folder / "manifest.json").write_text(json.dumps(manifest))
        name = next(iter(change))
        return {"order": "channel order BGR", "layout": "layout NHWC", "mean": "mean 0.5"}[name]

    return change_it


SABOTAGES: dict[str, Callable[[Path], str]] = {
    "one operator broken": lambda _: "kernel Relu differs",
    "one weight flipped": flipped,
    "channel order": preprocessed(order="BGR"),
    "mean": preprocessed(mean=[0.5, 0.5, 0.5]),
    "layout": preprocessed(layout="NHWC"),
}


def sabotages(python: Path, folder: Path, place: Path) -> Iterator[str]:
    """A row for each: whether it was caught, and named."""
    (place / "broken.py").write_text(BROKEN)
    for name, spoil in SABOTAGES.items():
        copy = Path(shutil.copytree(folder, place / f"{folder.name}, {name}"))
        wanted = spoil(copy)
        before = [str(place / "broken.py")] if name == "one operator broken" else []
        code, report, _, _ = run(python, copy, *before, seconds=0)
        said = report["differs"][-1] if report["differs"] else ""
        right = "yes" if code == 1 and wanted in said else "NO"
        yield f"| {folder.name} | {name} | {right} | {said} |"


def _busy() -> None:
    while True:
        sum(range(10**5))


@contextmanager
def load() -> Iterator[None]:
    """Every processor kept busy by somebody else."""
    others = [multiprocessing.Process(target=_busy, daemon=True) for _ in range(os.cpu_count() or 1)]
    for one in others:
        one.start()
    try:
        yield
    finally:
        for one in others:
            one.kill()


def honest(python: Path, folder: Path, times: int) -> str:
    """A row: runs that said something, and those whose ratio's interval overlaps the measured one."""
    silent = 0
    ratios = []
    for _ in range(times):
        code, report, _, _ = run(python, folder)
        silent += code == 0 and not report["differs"] and not report["notes"]
        ratios.append(report["ratio"])
    spread = f"{min(one[0] for one in ratios):.2f} to {max(one[0] for one in ratios):.2f}"
    return f"| {folder.name} | {silent} of {times} | {spread} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--honest", type=int, default=20, help="runs under load of each export")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        folders, python = exports(place), environment(place / "fresh")
        packages = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True, check=True).stdout
        print(f"Installed: {', '.join(line.split()[0] for line in packages.splitlines()[2:])}\n")
        print("| export | exit code | seconds | of the processor | kB beside the network |")
        print("| --- | --: | --: | --: | --: |")
        for name, folder in folders.items():
            code, _, clock, processor = run(python, folder)
            beside = sum((folder / one).stat().st_size for one in ("canary.npz", "check.py", "baseline.onnx"))
            print(f"| {name} | {code} | {clock:.1f} | {processor:.1f} | {beside / 1000:.0f} |", flush=True)
        print("\n| export | sabotage | caught and named | said |\n| --- | --- | --- | --- |")
        for name in ("colours, float", "colours, int8"):
            for row in sabotages(python, folders[name], place):
                print(row, flush=True)
        print("\n| export | silent under load | speed-ups, from run to run |\n| --- | --: | --: |")
        with load():
            for name in ("colours, int8", "fashion-resnet, float"):
                print(honest(python, folders[name], asked.honest), flush=True)


if __name__ == "__main__":
    sys.exit(main())
