"""Random recipes exported by one process and made again by another: how many come out the same, bit for bit?

    .venv/bin/python benchmarks/replay.py --recipes 20 --seed 0

Prints a Markdown table. A bundled network with few images; latencies are not taken, since nothing depends on them.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import kills

import workbench as wb
from workbench.data import Data
from workbench.errors import WorkbenchError
from workbench.recipe import Step

FREE = "recipes without data"


def step(chosen: random.Random) -> Step:
    """A technique with settings drawn at random."""
    share = round(chosen.uniform(0.3, 0.8), 2)
    drawn: Step = chosen.choice([
        wb.Tucker(rank=share), wb.SVD(rank=share), wb.SpatialSVD(rank=share), wb.CP(rank=share), wb.Separable(terms=2),
        wb.TensorTrain(rank=share), wb.Prune(ratio=share), wb.PruneNM(n=2, m=4), wb.PruneChannels(ratio=share / 2),
        wb.ShareWeights(bits=4), wb.Recalibrate(), wb.Finetune(epochs=1), wb.Grouped(groups=2), wb.Ternary(),
    ])  # fmt: skip
    return drawn


def recipe(chosen: random.Random) -> wb.Recipe:
    """One to three techniques, and a precision for every other one."""
    steps = [step(chosen) for _ in range(chosen.randint(1, 3))]
    lowest = chosen.choice([None, wb.Quantize("int8"), wb.Quantize("fp16"), wb.Quantize("int8-dynamic")])
    return wb.Recipe(tuple(steps if lowest is None else [*steps, lowest]))


def data(images: int) -> Data:
    """The first images of Fashion-MNIST."""
    whole = wb.data("fashion-mnist")
    parts = {name: whole[name].first(images) for name in ("train", "test")}
    return wb.data({name: (one.inputs.numpy(), one.labels.numpy()) for name, one in parts.items()}, name="few")


def export(model: str, place: Path, asked: argparse.Namespace) -> None:
    """So many exports of recipes that can be carried out, in formats drawn at random."""
    chosen, done = random.Random(asked.seed), 0
    with kills.untimed():
        study = wb.Study(wb.load(model), data(asked.images), keep=False, recalibrate=bool(chosen.randint(0, 1)))
        while done < asked.recipes:
            drawn = recipe(chosen)
            format_ = chosen.choice(["onnx", "bundle", "safetensors"])
            try:
                wb.export(study.run(drawn, progress=False), place / f"{done:02d}", format=format_)
            except WorkbenchError:  # steps that do not follow one another, a format that cannot hold the recipe
                continue
            done += 1


def replay(model: str, place: Path, images: int) -> int:
    """A row for each export; how many came out the same."""
    loaded, held = wb.load(model), data(images)
    same = 0
    for folder in sorted(place.iterdir()):
        try:
            found = wb.replay(folder, loaded, held)
        except WorkbenchError as error:
            print(f"| {folder.name} | | NO | {error} |", flush=True)
            continue
        same += 1
        exactly = "bit for bit" if found.exact else f"within {found.weights:.2g}"
        print(f"| {folder.name} | {found.recipe.name} | {exactly} | {' '.join(found.notes)} |", flush=True)
    return same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recipes", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="fashion-mobilenet")
    parser.add_argument("--images", type=int, default=600)
    parser.add_argument("--replay", type=Path, help="make the exports in this folder again, and nothing else")
    asked = parser.parse_args()
    warnings.simplefilter("ignore")
    if asked.replay:
        print("| export | recipe | made again | notes |\n| --- | --- | --- | --- |", flush=True)
        print(f"\n{replay(asked.model, asked.replay, asked.images)} came out the same.")
        return
    with tempfile.TemporaryDirectory() as name:
        export(asked.model, Path(name), asked)
        again = [sys.executable, __file__, "--replay", name, "--model", asked.model, "--images", str(asked.images)]
        subprocess.run(again, check=True)


if __name__ == "__main__":
    main()
