"""The report on a study of 60 measured variants: seconds, megabytes, and the same for the model card.

python benchmarks/report.py [FOLDER]

The variants are measured first, which takes minutes and is not what is timed: WORKBENCH_LATENCY_SECONDS=0.1 suffices.
They are kept in FOLDER, so that a second run goes on from what the first one measured.
The first report of a process pays for imports and for the plan of the chosen variant.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

import workbench as wb

VARIANTS = 60
TEST, TRAIN, CLASSES, SHAPE = 10_000, 1000, 10, (1, 12, 12)


def main() -> None:
    folder = Path(sys.argv[1] if sys.argv[1:] else tempfile.mkdtemp())
    study = wb.Study(wb.load(network(), example=torch.zeros(1, *SHAPE)), data(), path=folder / "study")
    ranks = [0.2 + 0.025 * n for n in range(30)]
    recipes = [step(rank) | wb.Quantize("int8") for rank in ranks for step in (wb.SVD, wb.Tucker)]
    for recipe in [wb.Recipe(), *recipes[: VARIANTS - 1]]:
        study.run(recipe, progress=False)
    for name in ("report.html", "report.html", "README.md"):
        began, busy = time.perf_counter(), time.process_time()
        written = wb.report(study, folder / name, where="accuracy >= baseline - 0.05")
        seconds, own = time.perf_counter() - began, time.process_time() - busy
        size = written.stat().st_size / 1e6
        print(
            f"{len(study.variants)} variants, {written.name}: {seconds:.2f} s ({own:.2f} s of processor), {size:.2f} MB"
        )


def network() -> nn.Module:
    torch.manual_seed(0)
    block = [layer for _ in range(4) for layer in (nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())]
    stem = [nn.Conv2d(1, 16, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*stem, *block, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, CLASSES)).eval()


def data() -> wb.Data:
    """Noise; labels are what the network answers on most of them."""
    found, noise, net = {}, torch.Generator().manual_seed(1), network()
    for split, count in (("train", TRAIN), ("test", TEST)):
        inputs = torch.randn(count, *SHAPE, generator=noise)
        with torch.no_grad():
            answers = net(inputs)
        answers = answers - answers.mean(0)  # else noise is all of one class
        found[split] = inputs, answers.argmax(1)
    return wb.data(found, name="noise")


if __name__ == "__main__":
    main()
