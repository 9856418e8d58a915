"""C99 of the bundled networks in int8 against their artefacts: answers, speed, flash and memory.

    python benchmarks/c99.py [--images 1000] [--rounds 20] [NETWORK ...]

Answers are compared on the first test images, in steps: 1/255 of the largest answer. Speed is processor time for one
image on one thread, ONNX Runtime and C in turns, the median of the rounds' ratios with their quartiles; C once for any
x86-64 or ARM64 ("-O3") and once for the instructions of this machine, as ONNX Runtime chooses its kernels. Flash and
memory are read from objects that are compiled for size; beside them stands what was predicted.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import workbench as wb
from workbench.building.build import lower
from workbench.c99.compiling import compiled, footprint, library, loaded
from workbench.c99.reading import read
from workbench.c99.writing import written
from workbench.cost.roofline import weight_bytes
from workbench.data.batches import arrays
from workbench.jobs import Reporter
from workbench.runtimes import runtime

NETWORKS = ("fashion-mobilenet", "fashion-resnet", "fashion-vgg")
IMAGES = 20  # of a round


def seconds(run: Callable[[np.ndarray], object], images: np.ndarray) -> float:
    start = time.process_time()
    for one in images:
        run(one[None])
    return (time.process_time() - start) / len(images)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=20)
    args = parser.parse_args()
    data = wb.data("fashion-mnist")
    images = np.concatenate([np.asarray(arrays(x)) for x, _ in data["test"].first(args.images).batches(100)])
    for name in args.networks:
        with tempfile.TemporaryDirectory() as folder:
            report(name, data, images, args.rounds, Path(folder))


def report(name: str, data: wb.data.Data, images: np.ndarray, rounds: int, folder: Path) -> None:
    model, recipe = wb.load(name), wb.Recipe((wb.Quantize("int8", types="u8s8", stem="int8"),))
    file = lower(model.module, model, recipe, data, folder / "model.onnx", Reporter())
    files, _ = written(read(file), name)
    for one, text in files.items():
        (folder / one).write_text(text, encoding="ascii")
    reference, native = runtime().load(file), loaded(library(folder, folder / "network.so"))
    portable = loaded(compiled(folder, folder / "portable.so", ("-O3", "-shared", "-fPIC")))
    expected, found = reference.outputs(images)[0], native.outputs(images)[0]
    steps = np.abs(found - expected) / np.abs(expected).max() * 255
    equal = np.mean((found == expected).all(1))
    print(f"{name}: {len(images)} images, largest difference {steps.max():.3f} steps, {equal:.1%} equal bit by bit")
    times = [[seconds(one.run, images[:IMAGES]) for one in (reference, native, portable)] for _ in range(rounds + 1)]
    every = np.array(times[1:])  # the first round warms up
    for place, label in ((1, "-O3 -march=native"), (2, "-O3")):
        low, middle, high = np.quantile(every[:, place] / every[:, 0], [0.25, 0.5, 0.75])
        least = 1e3 * np.median(every, axis=0)
        both = f"{least[place]:.3f} ms, ONNX Runtime {least[0]:.3f} ms"
        print(f"  {label}: {both}: {middle:.2f}x ({low:.2f} to {high:.2f})")
    totals, size = recipe.plan(model), footprint(folder, folder)
    if size is not None:
        print(f"  memory {size.ram:,} bytes, predicted {totals.peak_activation_bytes:,}")
        print(f"  flash {size.flash:,} bytes, predicted {weight_bytes(totals.network):,.0f} of weights and biases")


if __name__ == "__main__":
    main()
