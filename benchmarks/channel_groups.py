"""How much of a network channel pruning can reach, over the families of timm and torchvision.

    python benchmarks/channel_groups.py [--families 'convnext' 'vision_*'] [--seconds 90] [--gigabytes 3]
                                        [--log families.jsonl]

A family is a module of models in either package; its smallest classifier stands for it, with random weights, at the
size that it is registered with. One process each, one after another, the smallest first. What is in the log already
is not done again. Told of each: the share of the MACs in operations that fall when channels go; the largest
difference between outputs when a random third of every group is cut and when the layers that read these channels have
zeros in their place, relative to the largest output; whether the plan's MACs and parameters are those of the network
cut; processor seconds to follow all channels; and for those below 70 % which reasons keep most of the MACs.
torchvision and timm are test extras (`pip install -c constraints.txt -e ".[zoo]"`).
"""

from __future__ import annotations

import argparse
import copy
import fnmatch
import json
import re
import resource
import statistics
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from with_torchvision import declare_operators

import workbench as wb
from workbench.cost.trace import trace
from workbench.modules.calling import flatten
from workbench.pruning.axes import Units
from workbench.pruning.channels import Channels, Mask, follow
from workbench.pruning.makers import Place
from workbench.pruning.surgery import cut
from workbench.pruning.widths import shrink

SHARE = 1 / 3


def packages() -> tuple[Any, Any]:
    """Both packages."""
    declare_operators()
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


def smallest(names: list[str]) -> tuple[int, str]:
    """The parameters and the name of the network with the fewest, without making any weight."""
    sizes = []
    for name in names:
        try:
            with torch.device("meta"):
                sizes.append((sum(one.numel() for one in build(name).parameters()), name))
        except Exception:  # noqa: BLE001  # some networks look at the values of their weights while they are made
            continue
    return min(sizes, default=(0, names[0]))


def chosen_names(chosen: dict[str, list[str]], kept: Path | None) -> dict[str, tuple[int, str]]:
    """`smallest` of each family; kept in a file, since it takes minutes."""
    if kept is not None and kept.exists():
        known: dict[str, tuple[int, str]] = json.loads(kept.read_text())
        return known
    found = {family: smallest(names) for family, names in chosen.items()}
    if kept is not None:
        kept.write_text(json.dumps(found))
    return found


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
    """The share of the MACs in operations that fall when channels go: layers, and products of heads."""
    frozen = np.array(sorted(channels.reasons), dtype=np.int64)
    macs = sum(
        place.layer.macs for place in channels.places
        if not all(np.isin(units, frozen).all() for units in sides(place))
    )  # fmt: skip
    return macs / max(channels.network.totals.macs, 1)


def sides(place: Place) -> tuple[Units, ...]:
    """The axes of channels that an operation's arithmetic goes with."""
    return (place.made, place.taken) if len(place.made) else place.work


def kept_by(channels: Channels) -> dict[str, float]:
    """The share of the MACs that each reason keeps: of operations out of reach, the first reason."""
    found: Counter[str] = Counter()
    for place in channels.places:
        why = [channels.reasons.get(unit, "") for units in sides(place) for unit in units.tolist()]
        if place.layer.macs and all(why):
            said = re.sub(r"'[^']*'", "...", why[0]) if why else f"{place.layer.kind} without channels"
            found[said] += place.layer.macs
    whole = max(channels.network.totals.macs, 1)
    return {reason: round(macs / whole, 3) for reason, macs in found.most_common(3)}


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
        "reasons": kept_by(channels),
    }


def apart(name: str, seconds: float, gigabytes: float) -> dict[str, Any]:
    """`examine` in a process of its own, with limits of processor seconds and memory."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (int(seconds), int(seconds) + 5))
        resource.setrlimit(resource.RLIMIT_DATA, (int(gigabytes * 2**30),) * 2)

    command = [sys.executable, "-W", "ignore", __file__, "--one", name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=limit)
    try:
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found
    except (IndexError, ValueError):
        lines = done.stderr.strip().splitlines()
        return {"failed": lines[-1][:160] if lines else f"ended with {done.returncode} (time or memory)"}


def table(rows: list[dict[str, Any]]) -> str:
    """How many families reach 70 %, and those that do not, with what keeps them."""
    reach = [row for row in rows if row.get("share", 0.0) >= 0.7]
    lines = [
        f"{len(reach)} of {len(rows)} families have 70 % of their MACs in reach. Of the {len(reach)}: largest error "
        f"{max((row['error'] for row in reach), default=0.0):.1e}, plan and work the same in "
        f"{sum(row['same'] for row in reach)}; seconds to follow them, median "
        f"{statistics.median([row['seconds'] for row in reach] or [0.0]):.1f}, most "
        f"{max((row['seconds'] for row in reach), default=0.0):.1f}.",
        "",
        "| family | network | share of MACs | why not more |",
        "| --- | --- | --- | --- |",
    ]
    for row in sorted(rows, key=lambda row: -row.get("share", -1.0)):
        if row not in reach:
            why = row.get("failed") or "; ".join(f"{reason} ({part:.0%})" for reason, part in row["reasons"].items())
            share = f"{row['share']:.2f}" if "share" in row else "-"
            lines.append(f"| {row['family']} | {row['name']} | {share} | {why} |")
    return "\n".join(lines)


def told(row: dict[str, Any]) -> str:
    """One line while it goes."""
    if "failed" in row:
        return f"{row['name']}: {row['failed']}"
    same = "plan = work" if row["same"] else "PLAN IS NOT WORK"
    return f"{row['name']}: {row['share']:.2f} of the MACs, error {row['error']:.1e}, {same}, {row['seconds']:.1f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="*", default=["*"])
    parser.add_argument("--seconds", type=float, default=90)
    parser.add_argument("--gigabytes", type=float, default=3)
    parser.add_argument("--log", type=Path, help="JSON lines, one a family; what is in it is not done again")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(examine(given.one)))
        return
    lines = given.log.read_text().splitlines() if given.log and given.log.exists() else []
    rows = {row["family"]: row for row in map(json.loads, lines)}
    chosen = {family: names for family, names in families().items()
              if any(fnmatch.fnmatch(family.partition(".")[2], one) for one in given.families)}  # fmt: skip
    sizes = chosen_names(chosen, given.log.with_suffix(".names.json") if given.log else None)
    sizes = {family: one for family, one in sizes.items() if family in chosen.keys() - rows.keys()}
    for family, (_, name) in sorted(sizes.items(), key=lambda one: one[1]):
        rows[family] = {"family": family, "name": name, **apart(name, given.seconds, given.gigabytes)}
        print(told(rows[family]), file=sys.stderr, flush=True)
        if given.log:
            with given.log.open("a") as file:
                file.write(json.dumps(rows[family]) + "\n")
    print(table([rows[family] for family in chosen]))


if __name__ == "__main__":
    main()
