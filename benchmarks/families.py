"""Accuracy of every factorization family at 0.25, 0.35 and 0.5 of the MACs, before and after batch-norm re-estimation.

    python benchmarks/families.py [--models fashion-resnet] [--families 'Tucker*'] [--split test]

One row a variant, as a Markdown table. The first family is the rival: TensorLy's `partial_tucker` on the raw
weights at one fraction of the rank for all layers. What the layers read, and what matters of what they write,
is collected once a network.
"""

from __future__ import annotations

import argparse
import copy
import fnmatch
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import tensorly
import torch
from tensorly.decomposition import partial_tucker
from torch import nn

import workbench as wb
from workbench.building.build import context, rewrite
from workbench.errors import BadValue
from workbench.estimate import Estimate, wilson
from workbench.factorization import fitter
from workbench.factorization.step import Factorize
from workbench.jobs import Reporter
from workbench.models import Model
from workbench.statistics import gradients, moments
from workbench.steps.tucker import Tucker

BATCH = 100


@dataclass(frozen=True)
class TensorlyTucker(Tucker):
    """The same chains with TensorLy's factors of the raw weights."""

    def factors(self, layer: Any, weight: torch.Tensor, ranks: Any, moment: Any) -> list[torch.Tensor]:
        """As `Tucker.factors`, computed by `partial_tucker`."""
        (core, (u, v)), _ = partial_tucker(weight, rank=list(ranks), modes=[0, 1], init="svd")
        project, expand = self._sides(layer, ranks)
        core = core if project else torch.einsum("pq...,iq->pi...", core, v)
        core = core if expand else torch.einsum("op,pq...->oq...", u, core)
        return [*([v.T] if project else []), core, *([u] if expand else [])]


@torch.no_grad()
def accuracy(module: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> Estimate:
    batches = zip(inputs.contiguous(memory_format=torch.channels_last).split(BATCH), labels.split(BATCH), strict=True)
    module = copy.deepcopy(module).to(memory_format=torch.channels_last)  # faster
    return wilson(sum(int((module(x).argmax(1) == y).sum()) for x, y in batches), len(labels))


def uniform(kind: type[Tucker], model: Model, share: float) -> Factorize:
    """The largest fraction of the rank, alike for all layers, that fits the budget (no stem, no head)."""
    low, high = 0.02, 1.0
    for _ in range(14):
        middle = (low + high) / 2
        fits = kind(middle, data_aware=False).plan(model).macs <= share * model.network.totals.macs
        low, high = (middle, high) if fits else (low, middle)
    return kind(low, data_aware=False)


def remember_statistics(model: Model, data: wb.Data) -> None:
    """Collect what every layer reads, and what its outputs matter, once; and let the steps recall it."""
    layers = {name: ops[0] for name, ops in model.network.by_module.items() if ops[0].kind in {"conv", "linear"}}
    inputs = data.get("calibration").inputs
    seen = moments.collect(model.module, layers, inputs, Reporter())
    matters = gradients.sensitivities(model.module, model.network, layers, inputs, Reporter())

    def recall_moments(_: nn.Module, wanted: Mapping[str, Any], *_args: Any) -> dict[str, Any]:
        return {name: seen[name] for name in wanted}

    def recall_gradients(_: nn.Module, _network: Any, wanted: Mapping[str, Any], *_args: Any) -> dict[str, Any]:
        return {name: matters[name] for name in wanted}

    fitter.collect, fitter.sensitivities = recall_moments, recall_gradients


def families(model: Model, share: float) -> list[tuple[str, Factorize]]:
    budget = f"macs:{share}"
    return [
        ("TensorLy Tucker, uniform", uniform(TensorlyTucker, model, share)),
        ("Tucker, uniform, data-aware", Tucker(uniform(Tucker, model, share).rank)),
        ("Tucker, plain", Tucker(budget, data_aware=False)),
        ("Tucker", Tucker(budget)),
        ("Tucker, asymmetric", Tucker(budget, asymmetric=True)),
        ("SVD, asymmetric", wb.SVD(budget, asymmetric=True)),
        ("SpatialSVD, asymmetric", wb.SpatialSVD(budget, asymmetric=True)),
        ("CP", wb.CP(budget)),
        ("SVD", wb.SVD(budget)),
        ("SpatialSVD", wb.SpatialSVD(budget)),
        ("TensorTrain", wb.TensorTrain(budget)),
        ("TensorTrain, asymmetric", wb.TensorTrain(budget, asymmetric=True)),
        ("Separable", wb.Separable(budget)),
        ("Grouped", wb.Grouped(budget)),
    ]


def row(name: str, step: Factorize, model: Model, data: wb.Data, split: str) -> str:
    start = time.perf_counter()
    recipe = step.recipe()
    try:
        share = recipe.plan(model).macs / model.network.totals.macs
        raw = rewrite(model, recipe, data, recalibrate=False)
    except BadValue as error:
        return f"| {model.name} | {name} | – | {str(error).split(': ', 1)[1].split(' with the')[0]} | | |"
    seconds = time.perf_counter() - start
    again = wb.Recalibrate().apply(raw, context(model, data, Reporter()))
    images = data.get(split)
    before, after = (accuracy(m, images.inputs, images.labels) for m in (raw, again))
    figures = " | ".join(f"{100 * x.value:.2f} ({100 * x.low:.1f} to {100 * x.high:.1f})" for x in (before, after))
    return f"| {model.name} | {name} | {share:.3f} | {figures} | {seconds:.1f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ("fashion-resnet", "fashion-vgg", "fashion-mobilenet")
    parser.add_argument("--models", nargs="+", choices=names, default=names)
    parser.add_argument("--split", choices=("validation", "test"), default="validation")
    parser.add_argument("--families", default="*", help="a glob, such as 'Tucker*'")
    parser.add_argument("--budgets", nargs="+", type=float, default=(0.25, 0.35, 0.5))
    args = parser.parse_args()
    torch.set_num_threads(1)
    tensorly.set_backend("pytorch")
    data = wb.data("fashion-mnist")
    print(f"| network | family | MACs | accuracy on {args.split} (95 %) | after Recalibrate | s |\n|" + " --- |" * 6)
    for name in args.models:
        model = wb.load(name)
        images = data.get(args.split)
        original = accuracy(model.module, images.inputs, images.labels)
        print(f"| {name} | original | 1 | {100 * original.value:.2f} | | |", flush=True)
        remember_statistics(model, data)
        for share in args.budgets:
            for label, step in families(model, share):
                if fnmatch.fnmatchcase(label, args.families):
                    print(row(label, step, model, data, args.split), flush=True)


if __name__ == "__main__":
    main()
