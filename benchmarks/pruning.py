"""Pruning, recovery and storage on the three bundled networks, and Torch-Pruning beside them.

    python benchmarks/pruning.py [--parts channels peers deep rewrites resolution rounding zeros ...]
                                 [--models ...] [--epochs 3] [--threads 2]

Accuracy is of the exported ONNX file in ONNX Runtime on the 10,000 test images; latency at batch 1 on one
thread, in turns with the original's, as a ratio with its 95 % interval. Training uses the bundled slice
alone: 8,000 training images, 2,000 for validation. Torch-Pruning is used as its README does (group
magnitude, one step, then fine-tuning on the labels), with its ratio set so that the MACs agree, on the
same images for as many epochs; a second row gives it our fine-tuning with distillation. Seconds are of
rewriting and training, on the clock and, in brackets, of all processors together: with two threads on an
idle machine the first lies between half of the second and all of it. Accuracy before training is torch's.

channels    half the MACs: time, accuracy before and after fine-tuning, latency
peers       the same with Torch-Pruning
deep        Deep Compression: prune, fine-tune, share, Huffman; bytes against float32
rewrites    DropBlocks, GlobalPool and Shift, each fine-tuned with distillation
resolution  accuracy against the size of the images inside the network
rounding    latency at half the MACs by what the widths are multiples of
zeros       single weights at zero: storage falls, latency does not
throughput  our loop against a bare PyTorch loop on the same batches, in turns, by processor time
"""

from __future__ import annotations

import argparse
import copy
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional

import workbench as wb
from workbench.building.build import context, rewrite
from workbench.jobs import Reporter
from workbench.measure.figures import judged, timed
from workbench.measure.latency import measure_latency
from workbench.onnx_file import write_onnx
from workbench.tasks.classification import CLASSIFICATION
from workbench.training.augment import augment
from workbench.training.loop import Settings, Trainer, _generator, move, score
from workbench.training.schedule import rate

NAMES = ("fashion-vgg", "fashion-resnet", "fashion-mobilenet")
DATA = wb.data("fashion-mnist")
HEAD = (
    "network", "recipe", "seconds (of processor)", "before training, %", "after, %", "points lost", "MACs",
    "times as fast",
)  # fmt: skip


def right(module: nn.Module) -> str:
    """The share of test images that a network gets right, in per cent."""
    return f"{100 * score(module, DATA['test'], CLASSIFICATION).figure:.2f}"


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> None:
    """Markdown, row by row as they come."""
    print("\n| " + " | ".join(head) + " |\n|" + " --- |" * len(head), flush=True)
    for row in rows:
        print("| " + " | ".join(row) + " |", flush=True)


class Bench:
    """One network: its original's artefact, and what others measure against it."""

    def __init__(self, name: str, folder: Path) -> None:
        self.model, self.folder = wb.load(name), folder
        self.original = write_onnx(self.model.module, self.model.example, folder / f"{name}.onnx")
        self.before = judged(self.original, self.original, DATA, Reporter(), CLASSIFICATION).estimates["accuracy"].value

    def figures(self, module: nn.Module) -> dict[str, Any]:
        """What is measured on the exported file of a module."""
        path = write_onnx(module, self.model.example, self.folder / "variant.onnx")
        figures = judged(path, self.original, DATA, Reporter(), CLASSIFICATION).estimates
        return figures | timed(path, self.original, Reporter())

    def row(self, what: str, rewritten: Callable[[], nn.Module], trained: Callable[[nn.Module], nn.Module]) -> Any:
        """A line of a table: time, accuracy before and after training, MACs, latency."""
        start, busy = time.perf_counter(), time.process_time()
        raw = rewritten()
        module = trained(raw)
        spent, busy = time.perf_counter() - start, time.process_time() - busy
        found = self.figures(module)
        speed, macs = found["speedup"], wb.cost(module, self.model.example).macs
        return (
            self.model.name, what, f"{spent:.0f} ({busy:.0f})", right(raw),
            f"{100 * found['accuracy'].value:.2f}",
            f"{100 * (self.before - found['accuracy'].value):.2f}", f"{macs / self.model.network.totals.macs:.1%}",
            f"{speed.value:.2f} ({speed.low:.2f} to {speed.high:.2f})",
        )  # fmt: skip

    def apply(self, step: wb.steps.Step) -> Callable[[nn.Module], nn.Module]:
        """A function that applies one step to a module."""
        assert isinstance(step, wb.steps.Rewrite)
        return lambda module: step.apply(module, context(self.model, DATA, Reporter())).eval()


def tune(epochs: int) -> wb.steps.Step:
    """The fine-tuning of every row."""
    step: wb.steps.Step = wb.Finetune(epochs=epochs, lr=0.005)
    return step


def channels(bench: Bench, epochs: int) -> Iterator[tuple[str, ...]]:
    """Half of the MACs."""
    ours = bench.apply(wb.PruneChannels("macs:0.5"))
    yield bench.row("PruneChannels + Finetune", lambda: ours(bench.model.module), bench.apply(tune(epochs)))


def peers(bench: Bench, epochs: int) -> Iterator[tuple[str, ...]]:
    """The same with Torch-Pruning."""
    plain = wb.Finetune(epochs=epochs, lr=0.02, distill="none")
    yield bench.row("Torch-Pruning, then labels", lambda: peer(bench), bench.apply(plain))
    yield bench.row("Torch-Pruning, then our Finetune", lambda: peer(bench), bench.apply(wb.Finetune(epochs=epochs)))


def peer(bench: Bench) -> nn.Module:
    """Torch-Pruning as its README uses it, at the ratio of channels that leaves half the MACs."""
    import torch_pruning

    low, high, best = 0.1, 0.6, None
    for _ in range(12):
        ratio = (low + high) / 2
        net = copy.deepcopy(bench.model.module)
        pruner = torch_pruning.pruner.BasePruner(
            net, bench.model.example, importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
            pruning_ratio=ratio, ignored_layers=[[m for m in net.modules() if isinstance(m, nn.Linear)][-1]],
            round_to=8 if "mobilenet" not in bench.model.name else None,
        )  # fmt: skip
        pruner.step()
        share = wb.cost(net, bench.model.example).macs / bench.model.network.totals.macs
        if share > 0.5:
            low = ratio
        else:
            high, best = ratio, net
    assert best is not None
    return best


def deep(bench: Bench, epochs: int) -> Iterator[tuple[str, ...]]:
    """The recipe of the catalogue, as a study runs it."""
    study = wb.Study(bench.model, DATA, keep=False)
    size = 4 * bench.model.network.totals.params
    for recipe in (wb.Prune(0.8) | wb.Recalibrate() | wb.Quantize("int8"), wb.Recipe.load("deep-compression")):
        start = time.perf_counter()
        variant = study.run(recipe, progress=False)
        spent = time.perf_counter() - start
        lost = 100 * (study.baseline["accuracy"].value - variant["accuracy"].value)
        yield (
            bench.model.name, variant.name, f"{spent:.0f}", f"{100 * variant['accuracy'].value:.2f}", f"{lost:.2f}",
            *(f"{variant[k].value / 1e3:.0f} ({size / variant[k].value:.1f}x)" for k in BYTES),
        )  # fmt: skip


def rewrites(bench: Bench, epochs: int) -> Iterator[tuple[str, ...]]:
    """Rewrites that need training."""
    for step in (wb.DropBlocks(1), wb.GlobalPool(), wb.Shift()):
        if any(row.applies for row in step.plan_on(bench.model.network, bench.model.weights).rows):
            how = tune(epochs) if not isinstance(step, wb.Shift) else wb.Finetune(epochs=epochs, lr=0.05)
            yield bench.row(
                f"{step.brief} + Finetune", lambda s=step: bench.apply(s)(bench.model.module), bench.apply(how)
            )


def resolution(bench: Bench, epochs: int) -> Iterator[tuple[str, ...]]:
    """Smaller images inside the network; a fully connected head goes first."""
    head = bench.apply(wb.GlobalPool())
    for size in (24, 20, 16):
        small = bench.apply(wb.Resolution(size))
        tuned = bench.apply(wb.Finetune(epochs=epochs, lr=0.02))
        yield bench.row(f"Resolution {size} + Finetune", lambda s=small: s(head(bench.model.module)), tuned)


def zeros(bench: Bench, epochs: int) -> Iterator[tuple[str, ...]]:
    """Storage and latency with most single weights at zero; no training."""
    for step in (wb.Prune(0.5), wb.Prune(0.8), wb.Prune(0.8, importance="activation"), wb.PruneNM(2, 4)):
        found = bench.figures(rewrite(bench.model, step.recipe(), DATA))
        speed, sizes = found["speedup"], [found[k].value / 1e3 for k in BYTES]
        yield (
            bench.model.name, step.expression(), f"{100 * found['accuracy'].value:.2f}",
            *(f"{size:.0f}" for size in sizes), f"{speed.value:.2f} ({speed.low:.2f} to {speed.high:.2f})",
        )  # fmt: skip


def rounding(bench: Bench, epochs: int) -> Iterator[tuple[str, ...]]:
    """Half the MACs at widths that are multiples of 1, 8 and 16: latency follows from the widths alone."""
    for round_to in (1, 8, 16):
        step = wb.PruneChannels("macs:0.5", importance="magnitude", rounds=1, refit=False, round_to=round_to)
        module = step.apply(bench.model.module, context(bench.model, None, Reporter()))
        path = write_onnx(module, bench.model.example, bench.folder / "variant.onnx")
        speed = measure_latency(path, bench.original).speedup
        share = wb.cost(module, bench.model.example).macs / bench.model.network.totals.macs
        yield (
            bench.model.name, str(round_to), f"{share:.1%}", f"{speed.value:.2f} ({speed.low:.2f} to {speed.high:.2f})"
        )  # fmt: skip


def throughput(bench: Bench, epochs: int) -> Iterator[tuple[str, ...]]:
    """Processor time of our loop and of a bare one, in turns: the median of the ratios, and their range."""
    split = wb.data({"train": (DATA["train"].inputs[:2000], DATA["train"].labels[:2000]), "test": _few()})["train"]
    ratios = []
    for _ in range(5):
        ours, bare = (timed(bench, split) for timed in (_ours, _bare))  # processor time: neighbours do not count
        ratios.append(bare / ours)
    yield bench.model.name, f"{statistics.median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"


def _few() -> tuple[torch.Tensor, torch.Tensor]:
    return DATA["test"].inputs[:10], DATA["test"].labels[:10]


HOW = Settings(epochs=1, lr=1e-4, batch=64, augmentation="shift+flip")


def _ours(bench: Bench, split: Any) -> float:
    student = copy.deepcopy(bench.model.module)
    start = time.process_time()
    trainer = Trainer(
        student, lambda x, y: functional.cross_entropy(student(x).float(), y), split, None, HOW, CLASSIFICATION
    )
    trainer.fit(Reporter())
    return time.process_time() - start


def _bare(bench: Bench, split: Any) -> float:
    """The same batches, arithmetic and layout, and nothing else: no progress, no checks, no best weights."""
    student = copy.deepcopy(bench.model.module)
    trainer = Trainer(student, lambda x, y: x, split, None, HOW, CLASSIFICATION)
    start = time.process_time()
    trainer._device = torch.device("cpu")
    move(student, torch.device("cpu"), torch.channels_last).train()
    optimizer = torch.optim.SGD(student.parameters(), HOW.lr, momentum=0.9, nesterov=True)
    order = torch.randperm(len(split), generator=_generator(HOW.seed, 0))
    steps = -(-len(split) // HOW.batch)
    for step, chosen in enumerate(order.split(HOW.batch)):
        x = augment(split.inputs[chosen], HOW.augmentation, _generator(HOW.seed, step, 1))
        with trainer._autocast:
            loss = functional.cross_entropy(student(x).float(), split.labels[chosen])
        optimizer.param_groups[0]["lr"] = HOW.lr * rate(HOW.schedule, step, steps)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return time.process_time() - start


BYTES = ("compressed_bytes", "huffman_bytes")
STORAGE = ("network", "recipe", "seconds", "accuracy, %", "points lost", "zstd, kB", "bundle, kB")
PARTS: dict[str, tuple[Callable[[Bench, int], Iterator[tuple[str, ...]]], tuple[str, ...]]] = {
    "channels": (channels, HEAD),
    "peers": (peers, HEAD),
    "deep": (deep, STORAGE),
    "rewrites": (rewrites, HEAD),
    "resolution": (resolution, HEAD),
    "zeros": (zeros, ("network", "step", "accuracy, %", "zstd, kB", "bundle, kB", "times as fast")),
    "rounding": (rounding, ("network", "multiples of", "MACs", "times as fast")),
    "throughput": (throughput, ("network", "images a second of processor, ours / bare", "range of 5")),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--models", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore")  # what the steps say stands in the tables
    with tempfile.TemporaryDirectory() as folder:
        benches = [Bench(name, Path(folder)) for name in args.models]
        for part in args.parts:
            work, head = PARTS[part]
            print(f"\n{part}, {args.epochs} epochs, {args.threads} threads")
            table(head, (row for bench in benches for row in work(bench, args.epochs)))


if __name__ == "__main__":
    main()
