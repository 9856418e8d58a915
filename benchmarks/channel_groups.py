"""How much of a network channel pruning can reach, over the families of timm and torchvision.

    python benchmarks/channel_groups.py [--families 'convnext' 'vision_*'] [--seconds 90] [--gigabytes 3]

A family is a module of models in either package; its smallest classifier stands for it, with random weights, at the
size that it is registered with. One process each, one after another. Columns: the share of the MACs in layers that
can lose output or input channels; the largest difference between outputs when a random third of every group is cut and
when the layers that read these channels have zeros in their place, relative to the largest output; whether the plan's
MACs and parameters are those of the network cut; processor seconds to follow all channels. torchvision and timm are
test extras (`pip install -c constraints.txt -e ".[zoo]"`).
"""

from __future__ import annotations

import argparse
import copy
import fnmatch
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import workbench as wb
from workbench.cost.trace import trace
from workbench.modules.calling import flatten
from workbench.pruning.channels import Channels, Mask, follow
from workbench.pruning.surgery import cut
from workbench.pruning.widths import shrink

SHARE = 1 / 3
LIBRARY = torch.library.Library("torchvision", "FRAGMENT")


def packages() -> tuple[Any, Any]:
    """Both packages; beside a CPU build of torch its binary wheel expects two operators to be declared."""
    for one in ("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor", "qnms(Tensor dets) -> Tensor"):
        if not hasattr(torch.ops.torchvision, one.partition("(")[0]):
            LIBRARY.define(one)
    import timm
    import torchvision

    return timm, torchvision


def families() -> dict[str, list[str]]:
    """The names of the classifiers of each family, by the package and module that they come from."""
    timm, torchvision = packages()
    found: dict[str, list[str]] = {}
    for module in timm.list_modules():
        names = timm.list_models(module=module)
        if names:
            found[f"timm.{module}"] = names
    for name in torchvision.models.list_models(module=torchvision.models):
        family = torchvision.models.get_model_builder(name).__module__.rpartition(".")[2]
        found.setdefault(f"torchvision.{family}", []).append(f"torchvision:{name}")
    return found


def build(name: str) -> nn.Module:
    """A network with random weights."""
    timm, torchvision = packages()
    if name.startswith("torchvision:"):
        module: nn.Module = torchvision.models.get_model(name.partition(":")[2], weights=None)
    else:
        module = timm.create_model(name, pretrained=False)
    return module.eval()


def smallest(names: list[str]) -> str:
    """The name of the network with the fewest parameters, without making any weight."""
    sizes = {}
    for name in names:
        try:
            with torch.device("meta"):
                sizes[name] = sum(one.numel() for one in build(name).parameters())
        except Exception:  # noqa: BLE001  # some networks look at the values of their weights while they are made
            continue
    return min(sizes, key=sizes.__getitem__, default=names[0])


def input_shape(module: nn.Module) -> tuple[int, ...]:
    """One input, as the network is registered."""
    config = getattr(module, "default_cfg", None) or {}
    return (1, *(config.get("input_size") or (3, 224, 224)))


@torch.no_grad()
def roughen(module: nn.Module) -> None:
    """Weights that start as zeros or ones, such as scales of layers, become different numbers."""
    generator = torch.Generator().manual_seed(0)
    for parameter in module.parameters():
        if parameter.dim() < 2 or float(parameter.abs().max()) < 1e-3:
            parameter.add_(torch.rand(parameter.shape, generator=generator) * 0.2)


def reached(channels: Channels) -> float:
    """The share of the MACs in layers that can lose output or input channels."""
    frozen = np.array(sorted(channels.reasons), dtype=np.int64)
    macs = sum(
        place.layer.macs for place in channels.places
        if len(place.made) and not (np.isin(place.made, frozen).all() and np.isin(place.taken, frozen).all())
    )  # fmt: skip
    return macs / max(channels.network.totals.macs, 1)


@torch.no_grad()
def unread(module: nn.Module, channels: Channels, kept: Mask) -> nn.Module:
    """A copy in which no layer with weights looks at the channels that are to go: the oracle of a cut."""
    module = copy.deepcopy(module)
    for place in channels.places:
        gone = torch.from_numpy(~kept[place.taken])
        if not place.layer.module or not len(place.made) or not gone.any():
            continue
        part: Any = module.get_submodule(place.layer.module)
        each = len(gone) // getattr(part, "groups", 1)
        if isinstance(part, nn.modules.conv._ConvTransposeNd):
            part.weight[gone] = 0
        elif each > 1 or part.weight.shape[1] == len(gone):
            part.weight[:, gone[:each]] = 0
    return module


def examine(name: str) -> dict[str, Any]:
    """The figures of one network."""
    module = build(name)
    roughen(module)
    shape = input_shape(module)
    model = wb.load(module, example=shape)
    network = model.network
    before = time.process_time()
    channels = follow(network, model.module, model.example)
    seconds = time.process_time() - before
    draw = np.random.default_rng(0)
    kept = np.ones(channels.count, dtype=bool)
    for group in channels.groups:
        if len(group.units) > 1:
            kept[draw.permutation(group.units)[: max(1, int(len(group.units) * SHARE))]] = False
    small = cut(model.module, channels, kept)
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        pairs = zip(flatten(unread(model.module, channels, kept)(x)), flatten(small(x)), strict=True)
        error = max(float((a - b).abs().max() / a.abs().max().clamp_min(1e-9)) for a, b in pairs)
    planned, found = shrink(channels, kept).totals, trace(small, model.example).totals
    same = (planned.macs, planned.params) == (found.macs, found.params)
    return {
        "share": reached(channels),
        "error": error,
        "same": same,
        "seconds": seconds,
        "groups": len(channels.groups),
    }


def apart(name: str, seconds: float, gigabytes: float) -> dict[str, Any]:
    """`examine` in a process of its own, with limits of processor seconds and memory."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
        resource.setrlimit(resource.RLIMIT_DATA, (int(gigabytes * 2**30),) * 2)

    command = ["nice", "-n", "10", sys.executable, "-W", "ignore", __file__, "--one", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit)
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found
    except (IndexError, ValueError):
        lines = done.stderr.strip().splitlines()
        return {"failed": lines[-1][:160] if lines else f"ended with {done.returncode} (time or memory)"}


def table(found: Iterator[tuple[str, str, dict[str, Any]]], write: Callable[[str], Any]) -> None:
    """Rows as they come, then how many families reach 70 %."""
    write("| family | network | share of MACs | error | plan = work | seconds |")
    write("| --- | --- | --- | --- | --- | --- |")
    shares = []
    for family, name, row in found:
        shares.append(row.get("share", 0.0))
        cells = [row["failed"], "", "", ""] if "failed" in row else [
            f"{row['share']:.2f}", f"{row['error']:.1e}", "yes" if row["same"] else "NO", f"{row['seconds']:.1f}"
        ]  # fmt: skip
        write(f"| {' | '.join([family, name, *cells])} |")
    write(f"\n{sum(share >= 0.7 for share in shares)} of {len(shares)} families have 70 % of their MACs in reach.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", nargs="*", default=["*"])
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--gigabytes", type=float, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(examine(given.one)))
        return

    def write(line: str) -> None:
        print(line, flush=True)
        if given.out:
            with given.out.open("a") as file:
                file.write(line + "\n")

    chosen = {family: names for family, names in families().items()
              if any(fnmatch.fnmatch(family.partition(".")[2], one) for one in given.families)}  # fmt: skip

    def rows() -> Iterator[tuple[str, str, dict[str, Any]]]:
        for family, names in chosen.items():
            name = smallest(names)
            yield family, name, apart(name, given.seconds, given.gigabytes)

    table(rows(), write)


if __name__ == "__main__":
    main()
