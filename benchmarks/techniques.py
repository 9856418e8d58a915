"""Every technique on the three bundled networks, and where it fails, as one Markdown table.

    python benchmarks/techniques.py [--study FOLDER] [--only Tucker CP]

The pages of the techniques show its rows (docs/techniques/figures.md). Every figure is of the exported ONNX file in
ONNX Runtime: accuracy on the 10,000 test images, the change on the same images and the ratio of latencies, taken in
turns, with their 95 % intervals. With --study, what was measured before is kept and reused, and a killed run goes on.
No bundled network has kernels of 5 x 5, so one that does is trained here in half a minute.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

import workbench as wb
from workbench.errors import WorkbenchError

NETWORKS = ("fashion-vgg", "fashion-resnet", "fashion-mobilenet")
HEAD = (
    "technique", "network", "recipe", "accuracy, %", "change, points", "MACs, M", "file, kB", "bundle, kB",
    "times as fast",
)  # fmt: skip

#: What is tried of a technique on all three networks; then on one, where it goes wrong.
TRIED: dict[str, tuple[wb.Recipe, tuple[tuple[str, wb.Recipe], ...]]] = {
    name: (kept.recipe() if isinstance(kept, wb.steps.Step) else kept, ((network, wb.Recipe() | bad),))
    for name, kept, network, bad in (
        ("Quantize", wb.Quantize("int8"), "fashion-mobilenet", wb.Quantize("fp16")),
        ("PruneChannels", wb.PruneChannels("macs:0.5"), "fashion-mobilenet", wb.PruneChannels("macs:0.15")),
        ("DropBlocks", wb.DropBlocks(1), "fashion-resnet", wb.DropBlocks(2)),
        ("Prune", wb.Prune(0.8), "fashion-resnet", wb.Prune(0.97)),
        ("PruneNM", wb.PruneNM(2, 4), "fashion-mobilenet", wb.PruneNM(1, 8)),
        ("Ternary", wb.Ternary(), "fashion-mobilenet", wb.Ternary(keep_ends=False)),
        ("Binary", wb.Binary(), "fashion-resnet", wb.Binary(keep_ends=False)),
        ("Recalibrate", wb.Grouped(2) | wb.Recalibrate(), "fashion-resnet", wb.Grouped(2) | wb.Recalibrate(2)),
        ("Stack3x3", wb.Stack3x3(), "five-by-five", wb.Stack3x3(0.25)),
        ("GlobalPool", wb.GlobalPool() | wb.Finetune(1), "fashion-vgg", wb.GlobalPool()),
        ("Shift", wb.Shift() | wb.Finetune(1), "fashion-resnet", wb.Shift()),
        ("Resolution", wb.Resolution(20) | wb.Finetune(1), "fashion-resnet", wb.Resolution(14)),
        ("ShareWeights", wb.ShareWeights(5), "fashion-mobilenet", wb.ShareWeights(2, epochs=0)),
        ("QAT", wb.QAT(1), "fashion-mobilenet", wb.QAT(1, rate=0.1)),
        ("Finetune", wb.Grouped(2) | wb.Finetune(1), "fashion-resnet", wb.Grouped(8) | wb.Finetune(1)),
        ("Tucker", wb.Tucker(0.5), "fashion-resnet", wb.Tucker(0.15)),
        ("CP", wb.CP(0.25), "fashion-resnet", wb.CP(0.04)),
        ("TensorTrain", wb.TensorTrain(0.5), "fashion-resnet", wb.TensorTrain(0.15)),
        ("SVD", wb.SVD(0.5), "fashion-resnet", wb.SVD(0.15)),
        ("SpatialSVD", wb.SpatialSVD(0.25), "fashion-resnet", wb.SpatialSVD(0.08)),
        ("Separable", wb.Separable(2), "fashion-resnet", wb.Separable(1)),
        ("Grouped", wb.Grouped(2), "fashion-resnet", wb.Grouped(8)),
    )
}


def five_by_five(data: wb.Data) -> wb.Model:
    """A small network with kernels of 5 x 5, trained for two epochs, seeded."""
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 5, padding=2), nn.BatchNorm2d(32), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(32, 10),
    )  # fmt: skip
    train, optimizer = data.get("train"), torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(2):
        for some in torch.randperm(len(train.labels)).split(64):
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(train.inputs[some]), train.labels[some]).backward()
            optimizer.step()
    return replace(wb.load(net.eval(), example=(1, 1, 28, 28)), name="five-by-five")


def cells(study: wb.Study, recipe: wb.Recipe) -> list[str]:
    """The figures of one recipe, or why there are none."""
    code = " | ".join(step.expression() for step in recipe.steps).replace("|", "\\|")
    try:
        if not any(row.applies for row in recipe.steps[0].plan(study.model).rows):
            return [f"`{code}`", "nothing to do", *["–"] * 5]
        found = study.run(recipe, progress=False)
    except WorkbenchError as error:
        return [f"`{code}`", f"refused: {str(error).split('. ')[0]}", *["–"] * 5]
    change, speedup = found["accuracy_change"], found["speedup"]
    return [
        f"`{code}`",
        f"{100 * found['accuracy'].value:.2f}",
        f"{100 * change.value:+.2f} ({100 * change.low:+.2f} to {100 * change.high:+.2f})",
        f"{found['macs'].value / 1e6:.1f}",
        f"{found['file_bytes'].value / 1e3:.0f}",
        f"{found['huffman_bytes'].value / 1e3:.0f}",
        f"{speedup.value:.2f} ({speedup.low:.2f} to {speedup.high:.2f})",
    ]


def rows(name: str, studies: dict[str, wb.Study]) -> Iterator[list[str]]:
    """The rows of a technique: on all networks, then where it fails."""
    recipe, failing = TRIED[name]
    networks = (*NETWORKS, "five-by-five") if name == "Stack3x3" else NETWORKS
    for network in networks:
        yield [name, network, *cells(studies[network], recipe)]
    for network, bad in failing:
        yield [f"{name}, where it fails", network, *cells(studies[network], bad)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--study", type=Path)
    parser.add_argument("--only", nargs="+", choices=TRIED, default=list(TRIED))
    args = parser.parse_args()
    data = wb.data("fashion-mnist")
    models = {name: wb.load(name) for name in NETWORKS}
    if "Stack3x3" in args.only:
        models["five-by-five"] = five_by_five(data)
    studies = {
        name: wb.Study(model, data, path=args.study / name if args.study else None, keep=bool(args.study))
        for name, model in models.items()
    }
    print(f"<!-- torch {torch.__version__.split('+')[0]}, Python {platform.python_version()} -->", flush=True)
    print("| " + " | ".join(HEAD) + " |\n|" + " --- |" * len(HEAD), flush=True)
    for network, study in studies.items():
        original = study.baseline
        figures = [f"{100 * original['accuracy'].value:.2f}", "", f"{original['macs'].value / 1e6:.1f}"]
        sizes = [f"{original[key].value / 1e3:.0f}" for key in ("file_bytes", "huffman_bytes")]
        print("| " + " | ".join(["original", network, "", *figures, *sizes, "1"]) + " |", flush=True)
    for name in args.only:
        for row in rows(name, studies):
            print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
