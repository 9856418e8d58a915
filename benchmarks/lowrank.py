"""Factorization against TensorLy, side by side in one run on one thread: ratios with their spread.

    python benchmarks/lowrank.py [--rounds 3] [--quick] [--rows interactive cp ResNet-18]

Prints: Tucker-2 of all 3 x 3 layers of ResNet-18 and ResNet-50 at half rank against `partial_tucker`, on white
noise (fresh weights) and on kernels with falling spectra (as trained ones have); a change of rank on a cached
layer and the layers that it makes; CP at rank 64; peak memory; tensorly-torch where it is installed. With
`--quick` the layers of 512 channels are left out.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tensorly
import torch
from safetensors.torch import load_file
from tensorly.decomposition import parafac, partial_tucker
from torch import nn

import workbench as wb
from workbench import lowrank
from workbench.cost.layer import Layer
from workbench.cost.trace import trace
from workbench.factorization.chain import build

#: (out, in) of the 3 x 3 layers, in order.
RESNET18 = [(64, 64)] * 4
RESNET18 += [wide for n in (128, 256, 512) for wide in ((n, n // 2), (n, n), (n, n), (n, n))]
RESNET50 = [(64, 64)] * 3 + [(128, 128)] * 4 + [(256, 256)] * 6 + [(512, 512)] * 3
ROWS = ("interactive", "memory", "cp", "ResNet-18", "ResNet-50")
MODELS = Path(wb.__file__).parent / "models"


def noise(out: int, inp: int) -> torch.Tensor:
    """A fresh kernel, as torchvision's ResNet initialises it."""
    return torch.randn(out, inp, 3, 3) * (2 / (9 * out)) ** 0.5


def falling(out: int, inp: int) -> torch.Tensor:
    """Noise whose channel spectra fall as r^-0.4, about as those of the bundled trained networks do."""
    weight = noise(out, inp)
    for mode, n in ((0, out), (1, inp)):
        turn = torch.linalg.qr(torch.randn(n, n))[0] * torch.arange(1, n + 1) ** -0.4
        weight = torch.tensordot(weight, turn, dims=([mode], [1])).movedim(-1, mode)
    return weight.contiguous()


def seconds(work: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def relative(weight: torch.Tensor, approximation: torch.Tensor) -> float:
    return float((weight - approximation).norm() / weight.norm())


def spread(values: list[float]) -> str:
    return f"{statistics.median(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def tucker(name: str, shapes: list[tuple[int, int]], make: Callable[[int, int], torch.Tensor], rounds: int) -> None:
    ratios, errors, ours_total, theirs_total = [], [], 0.0, 0.0
    for _ in range(rounds):
        ours_sum = theirs_sum = 0.0
        for out, inp in shapes:
            weight, rank = make(out, inp), (out // 2, inp // 2)
            ours, found = seconds(lambda w=weight, r=rank: lowrank.tucker2(w, r))
            theirs, ((core, factors), _) = seconds(
                lambda w=weight, r=rank: partial_tucker(w, rank=list(r), modes=[0, 1], init="svd")
            )
            rebuilt = tensorly.tenalg.multi_mode_dot(core, factors, modes=[0, 1])
            errors.append(relative(weight, found.to_tensor()) / relative(weight, rebuilt))
            ours_sum, theirs_sum = ours_sum + ours, theirs_sum + theirs
        ratios.append(theirs_sum / ours_sum)
        ours_total, theirs_total = ours_total + ours_sum, theirs_total + theirs_sum
    print(
        f"| Tucker-2, {name}, {make.__name__} | {ours_total / rounds:.2f} s | {theirs_total / rounds:.2f} s "
        f"| {spread(ratios)} | {statistics.mean(errors):.5f} (max {max(errors):.5f}) |",
        flush=True,
    )


def another_rank(width: int) -> None:
    weight = falling(width, width)
    found = lowrank.basis(weight)
    anew = [seconds(lambda: lowrank.tucker2(weight, (width // 2, width // 2)))[0] for _ in range(3)]
    count, times = 1000, []
    for start in range(5):
        ranks = [(start + 1 + k % (width // 2), start + 1 + k % (width // 3)) for k in range(count)]
        times.append(seconds(lambda r=ranks: [found.slice(one) for one in r])[0] / count)
    ratios = [statistics.median(anew) / t for t in times]
    print(f"| another rank, {width}x{width}x3x3 | {1e6 * statistics.median(times):.1f} µs | – | {spread(ratios)} | |")


def polyadic(name: str, weight: torch.Tensor, rank: int, **settings: float) -> None:
    ours, found = seconds(lambda: lowrank.cp(weight, rank, **settings))
    times, errors, noises = [], [], []
    for seed in range(3):
        theirs, fit = seconds(lambda s=seed: parafac(weight, rank, init="random", random_state=s))
        times.append(theirs)
        errors.append(relative(weight, tensorly.cp_to_tensor(fit)))
        noises.append(lowrank.sensitivity(fit.factors, fit.weights))
    best = errors.index(min(errors))
    print(
        f"| CP {rank}, {name} | {ours:.1f} s, error {found.error:.4f}, sensitivity {found.sensitivity:.0f} "
        f"| {sum(times):.1f} s for 3, best error {errors[best]:.4f}, sensitivity {noises[best]:.0f} "
        f"| {noises[best] / found.sensitivity:.1f} less sensitive | {found.error / errors[best]:.4f} |",
        flush=True,
    )


def peak_memory(width: int, *, aware: bool) -> None:
    """The growth of the peak resident size by one decomposition, in a process of its own."""
    code = f"""
import torch
from workbench.lowrank import tucker2

def high_water():
    lines = open("/proc/self/status").read().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])

torch.set_num_threads(1)
tucker2(torch.randn(64, 64, 3, 3), (8, 8), moment=torch.eye(64 * 9, dtype=torch.float64))
weight = torch.randn({width}, {width}, 3, 3)
moment = torch.eye({width} * 9, dtype=torch.float64) if {aware} else None
open("/proc/self/clear_refs", "w").write("5")  # the high-water mark starts anew
before = high_water()
tucker2(weight, ({width // 2}, {width // 2}), moment=moment)
print((high_water() - before) / weight.nbytes, 0 if moment is None else moment.nbytes / weight.nbytes)
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    grown, given = map(float, out.split())
    what = f", data-aware (the second moment itself is {given:.1f} x)" if aware else ""
    print(f"| peak memory, Tucker-2 of {width}x{width}x3x3{what} | {grown:.2f} x its weights | | | |", flush=True)


def tensorly_torch(name: str, shapes: list[tuple[int, int]]) -> None:
    """The same layers by tensorly-torch's factorized convolutions, where it is installed."""
    try:
        from tltorch.factorized_layers import FactorizedConv
    except ImportError:
        print("| tensorly-torch | is not installed | | | |")
        return
    ratios, errors, ours_sum, theirs_sum = [], [], 0.0, 0.0
    for out, inp in shapes:
        conv = nn.Conv2d(inp, out, 3, bias=False).requires_grad_(False)
        conv.weight.copy_(falling(out, inp))
        ours, found = seconds(lambda w=conv.weight, r=(out // 2, inp // 2): lowrank.tucker2(w, r))
        ranks = (out // 2, inp // 2, 3, 3)
        theirs, layer = seconds(lambda c=conv, r=ranks: FactorizedConv.from_conv(c, rank=r, factorization="tucker"))
        whole = layer.weight.to_tensor().detach()
        errors.append(relative(conv.weight, found.to_tensor()) / relative(conv.weight, whole))
        ratios.append(theirs / ours)
        ours_sum, theirs_sum = ours_sum + ours, theirs_sum + theirs
    print(
        f"| Tucker-2, {name}, falling, against tensorly-torch | {ours_sum:.2f} s | {theirs_sum:.2f} s "
        f"| {theirs_sum / ours_sum:.1f} (single layers {min(ratios):.1f} to {max(ratios):.1f}) "
        f"| {statistics.mean(errors):.5f} (max {max(errors):.5f}) |",
        flush=True,
    )


class Bottleneck(nn.Module):
    """The block of ResNet-50, for its shapes alone."""

    def __init__(self, c_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(c_in, width, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, 4 * width, 1, bias=False), nn.BatchNorm2d(4 * width),
        )  # fmt: skip
        same = stride == 1 and c_in == 4 * width
        self.down = nn.Identity() if same else nn.Sequential(
            nn.Conv2d(c_in, 4 * width, 1, stride, bias=False), nn.BatchNorm2d(4 * width)
        )  # fmt: skip

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, c_in, H, W) -> (N, 4 * width, H / stride, W / stride)."""
        return torch.relu(self.body(x) + self.down(x))


def resnet50() -> nn.Module:
    blocks, c_in = [], 64
    for width, count, stride in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for index in range(count):
            blocks.append(Bottleneck(c_in, width, stride if index == 0 else 1))
            c_in = 4 * width
    stem = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(c_in, 1000))


def slider() -> None:
    """A new rank for one layer, from its cached basis to the torch layers that stand in for it."""
    for width, size in ((64, 56), (256, 14), (512, 7)):
        weight = falling(width, width)
        found, step = lowrank.basis(weight), wb.Tucker(0.5)
        layer = trace(nn.Conv2d(width, width, 3, padding=1), torch.zeros(1, width, size, size)).layers[0]

        def applied(rank: int, found: Any = found, layer: Layer = layer, step: wb.Tucker = step) -> nn.Module:
            part = found.slice((rank, rank))
            links = [part.factors[1].T, part.core, part.factors[0]]
            return build(step.chain(layer, (rank, rank)), links, None)

        times = [1e3 * seconds(lambda r=r: applied(r))[0] for r in range(4, width // 2, max(1, width // 64))]
        print(
            f"| slice applied, {width}x{width}x3x3 | {statistics.median(times):.2f} ms (most {max(times):.2f}) | | | |",
            flush=True,
        )


def network(name: str, shapes: list[tuple[int, int]], rounds: int) -> None:
    """The rows of one network's layers."""
    for make in (falling, noise):
        tucker(f"3x3 layers of {name}", shapes, make, rounds)
    tensorly_torch(f"3x3 layers of {name}", shapes)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=ROWS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tensorly.set_backend("pytorch")
    print(f"torch {torch.__version__}, TensorLy {tensorly.__version__}, one thread")
    print("| what | ours | TensorLy | ratio | error against TensorLy's |\n|" + " --- |" * 5)
    if "interactive" in args.rows:
        slider()
        another_rank(256 if args.quick else 512)
    if "memory" in args.rows:
        peak_memory(512, aware=False)
        peak_memory(512, aware=True)
    if "cp" in args.rows:
        state = load_file(MODELS / "fashion-resnet.safetensors")
        white = noise(64, 64)
        polyadic("trained 64x64x3x3", state["blocks.1.conv1.weight"].float(), 64)
        polyadic("noise 64x64x3x3", white, 64)
        polyadic("noise 64x64x3x3, slack=0.009", white, 64, slack=0.009)
    for name, shapes in (("ResNet-18", RESNET18), ("ResNet-50", RESNET50)):
        if name in args.rows:
            network(name, [shape for shape in shapes if not args.quick or max(shape) < 512], args.rounds)
    print(f"peak resident size of this run: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6:.2f} GB")


if __name__ == "__main__":
    main()
