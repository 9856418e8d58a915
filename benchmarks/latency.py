"""How repeatable measured speed-ups are, and how well the latency model predicts networks that it never saw.

    python benchmarks/latency.py [--parts repeat predict] [--runs 10] [--seconds 4] [--large]

repeat: the same pair measured again and again. The long-run ratio is the median of all runs' rounds together.
predict: the machine is calibrated on its own small graphs; then the variants of seven architectures (nine with
--large), none of which the fit has seen, are predicted and measured. Errors are of milliseconds, and of the time
relative to the calibration's own reference graph, timed in the same rounds: that takes out the machine's drift.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from cost import torchvision

import workbench as wb
from workbench import build
from workbench.cost.network import Network
from workbench.data import Data
from workbench.jobs import Reporter
from workbench.measure.calibration import calibrate
from workbench.measure.latency import interleave, measure_latency
from workbench.measure.machine import machine
from workbench.measure.probes import Probe
from workbench.recipe import Recipe, as_recipe

BUNDLED = ("fashion-vgg", "fashion-resnet", "fashion-mobilenet")
ZOO = {"resnet18": 32, "mobilenet_v2": 64, "squeezenet1_1": 64, "mnasnet0_5": 64}
LARGE = {"densenet121": 64, "shufflenet_v2_x1_0": 96}


def recipes() -> list[Any]:
    """What is done to every architecture; what changes nothing is left out."""
    int8 = wb.Quantize("int8", types="u8s8")
    return [
        Recipe(), wb.Tucker(rank=0.5, data_aware=False), wb.Tucker(rank=0.25, data_aware=False),
        wb.SpatialSVD(rank=0.4, data_aware=False), wb.SVD(rank=0.3, data_aware=False), wb.PruneChannels(ratio=0.5),
        int8, wb.PruneChannels(ratio=0.3) | int8,
    ]  # fmt: skip


def architectures(large: bool) -> Iterator[tuple[str, Any, Data]]:
    """Name, model and data of each; those of torchvision with random weights and noise."""
    for name in BUNDLED:
        yield name, wb.load(name), wb.data("fashion-mnist")
    models = torchvision().models
    for name, side in (ZOO | LARGE if large else ZOO).items():
        torch.manual_seed(0)
        images, labels = torch.randn(60, 3, side, side), torch.arange(60) % 10
        splits = {"train": (images, labels), "calibration": (images, labels), "test": (images, labels)}
        data = wb.data(splits, name="noise", classes=tuple(map(str, range(10))))
        yield name, wb.load(models.get_model(name, num_classes=10), example=images[:1]), data


def variants(model: Any, data: Data, folder: Path) -> list[tuple[str, Network, Path]]:
    """Recipe, network and artefact of every variant."""
    made: list[tuple[str, Network, Path]] = []
    for index, one in enumerate(recipes()):
        recipe = as_recipe(one)
        module = build.rewrite(model, recipe, None, Reporter(), recalibrate=False)
        network = build.network_of(module, model, recipe)
        if made and network.layers in [known.layers for _, known, _ in made]:
            continue
        path = build.lower(module, model, recipe, data, folder / f"{index}.onnx", Reporter())
        made.append((recipe.name, network, path))
    return made


def repeat(runs: int, seconds: float) -> None:
    """Print the ratio of one pair, run after run."""
    with tempfile.TemporaryDirectory() as folder:
        model = wb.load("fashion-resnet")
        paths = []
        for index, recipe in enumerate((Recipe(), as_recipe(wb.Tucker(rank=0.5, data_aware=False)))):
            module = build.rewrite(model, recipe, None, Reporter(), recalibrate=False)
            paths.append(build.lower(module, model, recipe, None, Path(folder) / f"{index}.onnx", Reporter()))
        found = [measure_latency(paths[1], paths[0], seconds=seconds).speedup for _ in range(runs)]
    ratios = np.array([one.value for one in found])
    long_run = float(np.exp(np.median(np.log(ratios))))
    covered = sum(one.low <= long_run <= one.high for one in found)
    for one in found:
        print(f"  {one.value:.3f} [{one.low:.3f}, {one.high:.3f}]")
    print(
        f"relative standard deviation {ratios.std(ddof=1) / ratios.mean():.2%}; long-run ratio {long_run:.3f} ", end=""
    )
    print(f"within {covered} of {runs} intervals", flush=True)


def predict(seconds: float, large: bool) -> None:
    """Print predicted and measured times, and how well they agree."""
    reference = Probe((32, 14, 14)).conv(64, 3).conv(64, 3).conv(64, 1).conv(64, 3, groups=64)
    rows: list[tuple[str, str, float, float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        mark = Path(folder) / "reference.onnx"
        mark.write_bytes(reference.serialized())
        made = {}
        for name, model, data in architectures(large):
            (Path(folder) / name).mkdir()
            made[name] = variants(model, data, Path(folder) / name)
        device = calibrate(again=True)
        assert device.calibration is not None
        print(f"calibrated: median error {device.calibration.error:.1%} on its own graphs")
        base = device.latency_ms(reference.network)
        for name, found in made.items():
            timings = interleave([mark, *(path for *_, path in found)], seconds=seconds, sessions=2)
            for index, (recipe, network, _) in enumerate(found, start=1):
                ratio = timings.speedup(0, over=index).value
                rows.append((name, recipe, device.latency_ms(network), timings.latency(index).value, ratio * base))
    for name, recipe, predicted, measured, steady in rows:
        print(
            f"| {name} | {recipe} | {predicted:.3f} | {measured:.3f} | {steady:.3f} | {predicted / steady - 1:+.0%} |"
        )
    predicted, measured, steady = (np.array([row[i] for row in rows]) for i in (2, 3, 4))
    count = len({row[0] for row in rows})
    for what, times in (("milliseconds", measured), ("relative to the reference graph", steady)):
        error = np.abs(predicted / times - 1)
        print(
            f"{len(rows)} variants of {count} architectures, {what}: Spearman {spearman(predicted, times):.3f}, ",
            end="",
        )
        print(f"median error {np.median(error):.1%}, nine tenths within {np.quantile(error, 0.9):.0%}")


def spearman(a: Any, b: Any) -> float:
    """The rank correlation; ties do not occur in measured times."""
    ranks = [np.argsort(np.argsort(one)) for one in (a, b)]
    return float(np.corrcoef(*ranks)[0, 1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=("repeat", "predict"), default=("repeat", "predict"))
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--large", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine())
    if "repeat" in args.parts:
        repeat(args.runs, args.seconds)
    if "predict" in args.parts:
        predict(args.seconds, args.large)


if __name__ == "__main__":
    main()
