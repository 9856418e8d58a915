"""Bisection with one deliberately broken layer, every layer of a network in turn.

    python benchmarks/diagnosis.py [--model fashion-resnet] [--how negate] [--layers NAME ...]

Each variant flips the sign of one layer's weights (or shuffles them: some layers hardly matter, and that
breaks them too little to be told on 2,000 images), and prunes a fifth of all weights and quantizes every
layer besides, so that all layers differ from the original's. A search knows nothing of which one was broken. It is
done twice: by halving the layers in the network's order, and as `study.bisect` does it, where the layer that
adds the most error of its own is tried first. Evaluations are restored variants that were made and scored on
the 2,000 validation images; at most log2(layers) + 3 are allowed.
"""

from __future__ import annotations

import argparse
import copy
import math
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch

import workbench as wb
from workbench.building.build import lower
from workbench.cost.network import Network
from workbench.cost.weights import Weights
from workbench.diagnosis import Bisection, Evaluator, bisect, layer_errors
from workbench.diagnosis.bisection import suspicions
from workbench.jobs import Reporter
from workbench.models import Model
from workbench.recipe import Recipe
from workbench.step import WITH_WEIGHTS, Context, Decision, Layers, Plan, Rewrite, layers_setting, row, select, setting

if TYPE_CHECKING:
    from torch import nn

HEAD = ("broken layer", "loss, points", "halving alone", "suspect first", "left, points", "found")


@dataclass(frozen=True)
class Break(Rewrite):
    """Break layers: every weight with the other sign, or the same weights at random places."""

    how: str = setting("negate", "choice", "What happens to the weights.", choices=("negate", "shuffle"))
    layers: Layers = layers_setting()

    def plan_on(self, network: Network, weights: Weights) -> Plan:
        """No shape changes."""
        names = [name for name, ops in network.by_module.items() if ops[0].kind in WITH_WEIGHTS]
        chosen = set(select(self.layers, names))
        decisions = {name: Decision.CHANGED if name in chosen else Decision.NOT_CHOSEN for name in names}
        rows = [row("Break", network.by_module[name][0], one, {"what": self.how}) for name, one in decisions.items()]
        return Plan(network, network, tuple(rows))

    def apply(self, module: nn.Module, context: Context) -> nn.Module:
        """A copy with broken weights."""
        broken = copy.deepcopy(module)
        random = torch.Generator().manual_seed(context.seed)
        named = {n: m for n, m in broken.named_modules() if isinstance(getattr(m, "weight", None), torch.Tensor)}
        for name in select(self.layers, [n for n, m in named.items() if m.weight.dim() > 1]):
            weight = named[name].weight.data
            order = torch.randperm(weight.numel(), generator=random)
            weight.copy_(-weight if self.how == "negate" else weight.flatten()[order].view_as(weight))
        return broken


class Shelf:
    """Artefacts of recipes, made once."""

    def __init__(self, model: Model, data: wb.Data, folder: Path) -> None:
        self.folder, self.made = folder, dict[str, Path]()
        self.evaluator = Evaluator(model, data, True, self.find)
        self.made[Recipe().key] = lower(model.module, model, Recipe(), data, folder / "original.onnx", Reporter())

    def find(self, recipe: Recipe) -> Path:
        """The artefact of a recipe."""
        if recipe.key not in self.made:
            self.made[recipe.key] = self.evaluator.make(recipe, self.folder / f"{recipe.key}.onnx", Reporter())
        return self.made[recipe.key]


def searches(shelf: Shelf, recipe: Recipe) -> tuple[Bisection, Bisection]:
    """By halving alone, and with the layer first that adds the most error."""
    evaluator = shelf.evaluator
    errors = layer_errors(shelf.find(Recipe()), shelf.find(recipe), evaluator.split.first(256))
    order = suspicions({one.layer: one.own_sqnr_db for one in errors})
    return bisect(evaluator, recipe), bisect(evaluator, recipe, order)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="fashion-resnet")
    parser.add_argument("--how", default="negate", choices=("negate", "shuffle"))
    parser.add_argument("--layers", nargs="+", help="break these alone")
    args = parser.parse_args()
    model, data = wb.load(args.model), wb.data("fashion-mnist")
    rest = wb.Prune(ratio=0.2) | wb.Quantize("int8", types="u8s8")
    names = rest.changed(model)
    allowed, worst, right, started = math.log2(len(names)) + 3, [0, 0], 0, time.perf_counter()
    print("| " + " | ".join(HEAD) + " |\n|" + " --- |" * len(HEAD))
    for name in args.layers or names:
        with tempfile.TemporaryDirectory() as folder:
            found = searches(Shelf(model, data, Path(folder)), Break(args.how, layers=name) | rest)
        worst = [max(most, one.evaluations) for most, one in zip(worst, found, strict=True)]
        hit = all(one.layers == (name,) for one in found)
        right += hit
        said = "yes" if hit else " / ".join(", ".join(one.layers) or "nothing" for one in found)
        counts = " | ".join(str(one.evaluations) for one in found)
        row = f"| {name} | {100 * found[1].drop.value:.1f} | {counts} | {100 * found[1].left.value:.1f} | {said} |"
        print(row, flush=True)
    print(
        f"\n{args.model}: {right} of {len(args.layers or names)} broken layers found; at most {worst[0]} evaluations "
        f"by halving alone, {worst[1]} with the suspect first; allowed log2({len(names)}) + 3 = {allowed:.2f}; "
        f"{time.perf_counter() - started:.0f} s."
    )


if __name__ == "__main__":
    main()
