"""MACs and parameters against what torchvision publishes, and how long the cost of a deep network takes.

    python benchmarks/cost.py [--largest 100]

A row for each classification network of torchvision with fewer than --largest million parameters. "agrees" is
within 1 % or half of the last published digit, for MACs and for parameters.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

import torch
from torch import nn
from with_torchvision import torchvision

import workbench as wb

HEAD = ("network", "MACs, G", "published", "parameters", "published", "operations", "no rule", "agrees")


def row(models: Any, name: str) -> tuple[object, ...]:
    """One line of the table."""
    weights = models.get_model_weights(name).DEFAULT
    extra = {"init_weights": False} if name in {"googlenet", "inception_v3"} else {}
    crop = weights.transforms().crop_size[0]
    cost = wb.cost(models.get_model(name, **extra), torch.zeros(1, 3, crop, crop))
    macs, params = weights.meta["_ops"], weights.meta["num_params"]
    off = abs(cost.macs / 1e9 - macs)
    agrees = (off <= 0.0005 or off < 0.01 * macs) and abs(cost.params / params - 1) < 0.01
    operations = len(cost.network.layers)
    return (name, f"{cost.macs / 1e9:.3f}", macs, cost.params, params, operations, len(cost.unsupported), agrees)


def deep(layers: int = 500) -> nn.Module:
    """A network of `layers` layers: convolutions, batch norms and activations in turn."""
    parts: list[nn.Module] = [nn.Conv2d(3, 16, 3, padding=1)]
    while len(parts) < layers:
        parts += [nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)]
    return nn.Sequential(*parts[:layers])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--largest", type=float, default=100.0, help="parameters, in millions")
    args = parser.parse_args()
    models = torchvision().models
    names = models.list_models(module=models)
    chosen = [n for n in names if models.get_model_weights(n).DEFAULT.meta["num_params"] < 1e6 * args.largest]
    print("| " + " | ".join(HEAD) + " |\n|" + " --- |" * len(HEAD))
    rows = [row(models, name) for name in chosen]
    for one in rows:
        print("| " + " | ".join(map(str, one)) + " |", flush=True)
    right = sum(bool(one[-1]) for one in rows)
    print(f"\n{right} of {len(rows)} agree ({right / len(rows):.1%})")
    module, example, seconds = deep(), torch.zeros(1, 3, 32, 32), []
    for _ in range(5):
        started = time.perf_counter()
        wb.cost(module, example).layers()
        seconds.append(time.perf_counter() - started)
    print(f"cost of 500 layers, with the table: {statistics.median(seconds):.2f} s (worst {max(seconds):.2f})")


if __name__ == "__main__":
    main()
