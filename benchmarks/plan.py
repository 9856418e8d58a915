"""What a complete plan takes at a rank that was not asked for before, with everything else warm: rows, totals,
predicted latency, file size, compressed size. ResNet-50 with random weights, each family, alone and before int8.

    python benchmarks/plan.py [--ranks 60]

One row a family, as a Markdown table: median, the tenth and the ninetieth percentile, in milliseconds of processor
time. Beside each plan a yardstick is taken, a plain loop of Python: figures are for a machine that takes 3.7 ms for
100,000 rounds of it, so that those of different machines, and of busy ones, can be compared.
"""

from __future__ import annotations

import argparse
import gc
import statistics
import time
from collections.abc import Callable

import torch
from torch import nn

import workbench as wb
from workbench.cost.on_device import predictor
from workbench.models import Model
from workbench.plan import Plan

USUAL_MS = 3.7  # of the yardstick
FAMILIES: dict[str, Callable[[float], wb.Recipe]] = {
    "Tucker": lambda share: wb.Tucker(share).recipe(),
    "CP": lambda share: wb.CP(share).recipe(),
    "SVD": lambda share: wb.SVD(share).recipe(),
    "SpatialSVD": lambda share: wb.SpatialSVD(share).recipe(),
    "TensorTrain": lambda share: wb.TensorTrain(share).recipe(),
    "Separable": lambda share: wb.Separable(share).recipe(),
    "Grouped": lambda share: wb.Grouped(2 + round(30 * share)).recipe(),
    "Stack3x3": lambda share: wb.Stack3x3(share).recipe(),
    "Tucker, a budget": lambda share: wb.Tucker(f"macs:{0.5 + share / 2:.4f}").recipe(),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ranks", type=int, default=60)
    args = parser.parse_args()
    torch.manual_seed(0)
    model = wb.load(bottlenecks(), example=torch.zeros(1, 3, 224, 224))
    pace = statistics.median(yardstick() for _ in range(9))
    print(f"{len(model.network.layers)} operations, latency by {predictor().name}; yardstick here {pace:.2f} ms\n")
    print("| family | alone, ms | 10 % | 90 % | before int8, ms | 10 % | 90 % |\n|" + " --- |" * 7)
    for name, make in FAMILIES.items():
        cells = []
        asked = shares(2 * args.ranks + 1)  # each once: what was planned alone is remembered before int8
        for after in (wb.Recipe(), wb.Quantize("int8").recipe()):
            own, asked = asked[: args.ranks + 1], asked[args.ranks + 1 :]
            cells += [f"{one:.2f}" for one in spread(model, [make(share) | after for share in own])]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def bottlenecks() -> nn.Module:
    """ResNet-50 (He et al. 2016): its shapes, with random weights."""
    return nn.Sequential(
        nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1),
        *(
            Bottleneck(before if first == 0 else 4 * width, width, stride if first == 0 else 1)
            for before, width, stride, count in ((64, 64, 1, 3), (256, 128, 2, 4), (512, 256, 2, 6), (1024, 512, 2, 3))
            for first in range(count)
        ),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000),
    ).eval()  # fmt: skip


class Bottleneck(nn.Module):
    """1 x 1, 3 x 3, 1 x 1 and what is added."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        shapes = ((before, width, 1, 1), (width, width, 3, stride), (width, 4 * width, 1, 1))
        layers = [
            (nn.Conv2d(a, b, k, s, k // 2, bias=False), nn.BatchNorm2d(b), nn.ReLU(inplace=True))
            for a, b, k, s in shapes
        ]
        self.body = nn.Sequential(*layers[0], *layers[1], *layers[2][:2])
        same = before == 4 * width and stride == 1
        self.down = None if same else nn.Sequential(
            nn.Conv2d(before, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
        )  # fmt: skip
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The residual block."""
        out: torch.Tensor = self.act(self.body(x) + (x if self.down is None else self.down(x)))
        return out


def shares(count: int) -> list[float]:
    """Ranks as fractions, none of which is a round number; the first one warms up."""
    return [0.1 + 0.8 * ((n * 0.6180339887) % 1) for n in range(count + 1)]


def complete(recipe: wb.Recipe, model: Model) -> Plan:
    """A plan, and all that follows from it."""
    plan = recipe.plan(model)
    assert plan.rows and plan.totals.macs and plan.latency_ms and plan.file_bytes and plan.compressed_bytes
    return plan


def spread(model: Model, recipes: list[wb.Recipe]) -> tuple[float, float, float]:
    """Milliseconds of a plan on a machine of the usual pace: the median, the tenth and the ninetieth percentile."""
    complete(recipes[0], model)
    gc.collect()
    times = []
    for recipe in recipes[1:]:
        before, start = yardstick(), time.thread_time()
        complete(recipe, model)
        taken = 1e3 * (time.thread_time() - start)
        times.append(taken * USUAL_MS / ((before + yardstick()) / 2))
    tenths = statistics.quantiles(times, n=10)
    return statistics.median(times), tenths[0], tenths[-1]


def yardstick() -> float:
    """Milliseconds of 100,000 rounds of a plain loop, from a tenth of them."""
    start, total = time.thread_time(), 0
    for n in range(10_000):
        total += n & 7
    return 1e4 * (time.thread_time() - start)


if __name__ == "__main__":
    main()
