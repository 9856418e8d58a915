"""What networks of ImageNet's size cost: processor seconds and peak memory of a whole process, for each case.

    python benchmarks/imagenet_size.py [load int8 tucker prune pack] [--model resnet50] [--size 224] [--images 64]
                                       [--profile]

Random weights (torchvision's), images of noise that varies slowly, as photographs do. Each case is a process of its
own, so that its peak memory is its own; it begins with Python and the imports, and loads the network first.

load     wb.load
int8     Quantize("int8"): the ONNX file written, calibrated and quantized
tucker   Tucker("macs:0.6"), fitted to the images
prune    PruneChannels(0.3), with its refit
pack     the ONNX file of the original written, and weighed as every variant's is: file, zstd, Huffman
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

CASES = ("load", "int8", "tucker", "prune", "pack")
HEAD = ("case", "network", "images", "processor seconds", "peak memory, GB")


def work(case: str, name: str, size: int, images: int) -> None:
    """One case, in this process."""
    import torch
    from with_torchvision import torchvision

    import workbench as wb
    from workbench.building.build import lower, rewrite
    from workbench.jobs import Reporter

    model = wb.load(torchvision().models.get_model(name).eval(), example=torch.zeros(1, 3, size, size))
    if case == "load":
        return
    seen = torch.nn.functional.interpolate(torch.randn(images, 3, 9, 9), (size, size), mode="bilinear")
    data = wb.data({"calibration": (seen, torch.arange(images) % 10), "test": (seen[:2], torch.arange(2))})
    recipe = {
        "int8": wb.Quantize("int8"), "tucker": wb.Tucker("macs:0.6"), "prune": wb.PruneChannels(0.3),
    }.get(case)  # fmt: skip
    recipe = wb.Recipe([] if recipe is None else [recipe])
    module = rewrite(model, recipe, data, Reporter())
    if case not in ("int8", "pack"):
        return
    with tempfile.TemporaryDirectory() as folder:
        file = lower(module, model, recipe, data, Path(folder) / "variant.onnx", Reporter())
        if case == "pack":
            from workbench.measure.figures import sizes

            print({key: round(one.value) for key, one in sizes(file).items()}, file=sys.stderr)


def one(case: str, options: argparse.Namespace) -> None:
    """Run a case here, and print its row."""
    warnings.simplefilter("ignore")
    profiler = cProfile.Profile(time.process_time) if options.profile else None
    if profiler is not None:
        profiler.enable()
    work(case, options.model, options.size, options.images)
    if profiler is not None:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("cumulative").print_stats(70)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    peak = max(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, children.ru_maxrss) / 1e6
    seconds = time.process_time() + children.ru_utime + children.ru_stime
    row = (case, f"{options.model} at {options.size}", str(options.images), f"{seconds:.1f}", f"{peak:.2f}")
    print("| " + " | ".join(row) + " |", flush=True)


def main() -> None:
    """Each case in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--model", default="resnet50", help="a name of torchvision's")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--images", type=int, default=64, help="calibration images")
    parser.add_argument("--profile", action="store_true", help="where the time goes, on standard error")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.here:
        one(options.cases[0], options)
        return
    print("| " + " | ".join(HEAD) + " |\n|" + " --- |" * len(HEAD), flush=True)
    given = [f"--{key}={getattr(options, key)}" for key in ("model", "size", "images")]
    for case in options.cases:
        command = [sys.executable, __file__, case, "--here", *given, *(["--profile"] if options.profile else [])]
        subprocess.run(command, check=True)


if __name__ == "__main__":
    main()
