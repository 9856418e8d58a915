"""Search on the bundled networks: the best within a point, its certificate, the front, and what it is worth.

    python benchmarks/search.py --networks fashion-vgg --minutes 8
    python benchmarks/search.py --networks fashion-vgg --minutes 25 --train
    python benchmarks/search.py --solve

For each network the best that `study.search` finds within a point of accuracy, judged on the validation split, and what
the test split says of it; the speed that it
expected of each, before building, against that measured; the hypervolume of its front
against the best sweep of one family at uniform ratios with as many evaluations (`--sweep`). `--solve`: how long one
choice takes for ResNet-50's menu, and its gap.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from with_torchvision import torchvision

import workbench as wb
from workbench.search.choice import choose
from workbench.search.found import Found
from workbench.search.harm import Harm
from workbench.search.menu import menus

NETWORKS = ("fashion-vgg", "fashion-resnet", "fashion-mobilenet")
#: Uniform sweeps of one family; as many points of each as the search has evaluated.
SWEEPS = {
    "PruneChannels": lambda share: wb.PruneChannels(1 - share),
    "Tucker": lambda share: wb.Tucker(rank=share),
    "SVD": lambda share: wb.SVD(rank=share),
    "SpatialSVD": lambda share: wb.SpatialSVD(rank=share),
}


def hypervolume(points: list[tuple[float, float]], worst: tuple[float, float]) -> float:
    """The area that points of (accuracy, speed-up on a logarithmic scale) dominate above the worst corner."""
    area, best = 0.0, worst[0]
    for accuracy, speed in sorted(points, key=lambda one: -one[1]):
        if accuracy > best and speed > worst[1]:
            area += (accuracy - best) * (speed - worst[1])
            best = accuracy
    return area


def point(variant: wb.Variant) -> tuple[float, float]:
    return variant["accuracy"].value, float(np.log(variant["speedup"].value))


def search(network: str, folder: Path, given: argparse.Namespace) -> tuple[wb.Study, Found]:
    study = wb.Study(wb.load(network), wb.data("fashion-mnist"), folder / network)
    begun = time.monotonic()
    found = study.search(
        where=f"accuracy >= baseline - {given.loss}", budget=given.minutes, train=given.train, progress=False
    )
    minutes = (time.monotonic() - begun) / 60
    best = found.best or found[0]
    change = best["accuracy_change"]
    errors = [abs(found.expected[one.id] / one["speedup"].value - 1) for one in found if one.id in found.expected]
    winner = abs(found.expected.get(best.id, np.nan) / best["speedup"].value - 1)
    proof, confirmed = ("-" if one is None else one.answer.value for one in (found.certificate, found.confirmation))
    print(
        f"| {network} | {minutes:.1f} | {len(found)} | {best['speedup'].value:.2f} ({best['speedup'].low:.2f} to "
        f"{best['speedup'].high:.2f}) | {100 * best['accuracy'].value:.2f} | {100 * change.value:+.2f} "
        f"({100 * change.low:+.2f} to {100 * change.high:+.2f}) | {proof} | {confirmed} | "
        f"{100 * statistics.median(errors):.0f} | {100 * winner:.0f} |",
        flush=True,
    )
    return study, found


def sweep(study: wb.Study, found: Found) -> str:
    """The search's hypervolume over that of the best sweep of one family with as many evaluations."""
    lowering = wb.Quantize("int8")
    areas = {}
    worst = (study.baseline["accuracy"].value - 0.05, 0.0)
    for name, step in SWEEPS.items():
        points = [point(study.baseline)]
        for share in np.linspace(0.85, 0.15, len(found)):
            try:
                points.append(point(study.run(step(float(round(share, 3))) | lowering, progress=False)))
            except wb.WorkbenchError:
                continue
        areas[name] = hypervolume(points, worst)
    own = hypervolume([point(study.baseline), *map(point, found)], worst)
    best = max(areas, key=areas.__getitem__)
    told = ", ".join(f"{name} {area:.4f}" for name, area in areas.items())
    return f"{study.model.name}: search {own:.4f}; {told}; {own / areas[best]:.2f} times the best ({best})"


def solve() -> None:
    """One choice from ResNet-50's menu, random harm of the right sizes."""
    model = wb.load(torchvision().models.get_model("resnet50").eval(), example=torch.zeros(1, 3, 224, 224))
    begun = time.process_time()
    both = menus(model, (wb.Quantize("int8"),))
    print(f"menu: {both[0].count:,} options in {time.process_time() - begun:.1f} s of processor time")
    rng = np.random.default_rng(0)
    widths = tuple(
        tuple(float(rng.lognormal(-4, 1)) * width.removed(i) ** 2 for i in range(len(width.kept)))
        for width in both[0].widths
    )
    pairs = sorted({(x.chain.family, slot.layer) for slot in both[0].slots for x in slot.options if x.chain.family})
    harm = Harm(widths, {pair: float(rng.lognormal(-3, 1)) for pair in pairs})
    before = wb.Quantize("int8").plan(model).latency_ms
    for times in (1.3, 1.6, 2.0, 2.5, 3.0):
        begun = time.monotonic()
        chosen = choose(both, harm, {"latency_ms": before / times})
        seconds = time.monotonic() - begun
        plan = chosen.selection.recipe(both[0]).plan(model)
        print(f"{times:g} times as fast: {seconds:.2f} s, gap {100 * chosen.gap:.2f} %, "
              f"price {chosen.price.latency_ms:.3f} ms, plan {plan.latency_ms:.3f} ms", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--minutes", type=float, default=8)
    parser.add_argument("--loss", type=float, default=0.01)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--sweep", action="store_true")
    parser.add_argument("--solve", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the studies are kept; else they go at the end")
    given = parser.parse_args()
    if given.solve:
        solve()
        return
    columns = ("network", "minutes", "built", "times as fast", "accuracy, %", "change on the same images, points",
               "certified on validation", "on test", "error of predicted speed, median, %",
               "of the best's, %")  # fmt: skip
    print(f"| {' | '.join(columns)} |\n{'| --- ' * len(columns)}|")
    with tempfile.TemporaryDirectory() as temporary:
        done = [search(network, given.folder or Path(temporary), given) for network in given.networks]
        for study, found in done:
            print(f"\n{study.model.name}: " + (found.best or found[0]).recipe.code().replace("\n", " "))
            for one in found:
                print(f"  {one['speedup'].value:.2f} {100 * one['accuracy'].value:.2f} {one.name}")
            if given.sweep:
                print(sweep(study, found))


if __name__ == "__main__":
    main()
