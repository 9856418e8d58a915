"""How repeatable measured speed-ups are, and how well the latency model predicts networks that it never saw.

    python benchmarks/latency.py [--parts repeat predict] [--runs 10] [--seconds 4] [--large]

repeat: the same pair measured again and again. The long-run ratio is the median of all runs' rounds together.
predict: the variants of seven architectures (nine with --large) are timed in turns with the graphs of the
calibration; the latency model is fitted to those graphs alone and predicts the variants, none of which it has
seen. Timed minutes apart, a shared machine's own drift of 20 % would be counted as an error of the model.
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
from with_torchvision import torchvision

import workbench as wb
from workbench.building import build
from workbench.cost.network import Network
from workbench.data import Data
from workbench.jobs import Reporter
from workbench.measure.calibration import cache_bytes, fit, settled
from workbench.measure.latency import interleave, measure_latency
from workbench.measure.machine import machine
from workbench.measure.probe_plan import plan
from workbench.measure.speed_probe import TOLERANCE
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
    with tempfile.TemporaryDirectory() as folder:
        made: list[tuple[str, str, Network, Path]] = []
        for name, model, data in architectures(large):
            (Path(folder) / name).mkdir()
            made += [(name, *variant) for variant in variants(model, data, Path(folder) / name)]
        probes = plan()
        paths = [probe.write(Path(folder) / f"{index}.onnx") for index, probe in enumerate(probes)]
        timings = interleave([*paths, *(path for *_, path in made)], seconds=7 * seconds, sessions=1)
    quiet = np.mean([(one <= np.log(TOLERANCE)).mean() for one in timings.slowed])
    times = [settled(one, slowed) for one, slowed in zip(timings.times, timings.slowed, strict=True)]
    model = fit([probe.network for probe in probes], np.array(times[: len(probes)]) / 1e3, cache_bytes())
    print(f"calibrated: median error {model.error:.1%} on its own graphs; {quiet:.0%} of all rounds were undisturbed")
    predicted = np.array([1e3 * sum(map(sum, model.times(network))) for _, _, network, _ in made])
    measured = np.array(times[len(probes) :])
    for (name, recipe, *_), ours, true in zip(made, predicted, measured, strict=True):
        print(f"| {name} | {recipe} | {ours:.3f} | {true:.3f} | {ours / true - 1:+.0%} |")
    error = np.abs(predicted / measured - 1)
    print(
        f"{len(made)} variants of {len({name for name, *_ in made})} architectures: Spearman "
        f"{spearman(predicted, measured):.3f}, median error {np.median(error):.1%}, "
        f"nine tenths within {np.quantile(error, 0.9):.0%}"
    )


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
