"""Train the three bundled networks, seeded, on the CPU.

    python benchmarks/train_bundled.py fashion-resnet --folder /usr/share/datasets/fashion-mnist

Trains on the 58,000 Fashion-MNIST training images that are not in the bundled `validation` split,
and reports on the test split once, at the end. The weights are stored as float16 (batch norm in
float32) and evaluated as stored. About 30 to 60 minutes a network on one core.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from bundle_data import read_idx
from safetensors.torch import load_file, save_file
from torch import nn

from workbench.models.architectures import ARCHITECTURES

ROOT = Path(__file__).parent.parent / "workbench"
MEAN, STD = 0.2860, 0.3530
VALIDATION_START = 8000
# bfloat16 halves the time of dense convolutions and doubles that of depthwise ones on a CPU.
EPOCHS = {"fashion-vgg": (10, True), "fashion-resnet": (14, True), "fashion-mobilenet": (16, False)}
BATCH, PEAK_LR, WEIGHT_DECAY, PAD = 128, 0.1, 5e-4, 2


def training_images(folder: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """All training images but the bundled validation split: uint8 (58000, 28, 28), labels (58000,)."""
    images = read_idx(folder / "train-images-idx3-ubyte.gz")
    labels = read_idx(folder / "train-labels-idx1-ubyte.gz")
    with np.load(ROOT / "data" / "fashion-mnist.npz") as bundle:
        held_out = bundle["train_index"][VALIDATION_START:]
    keep = np.setdiff1d(np.arange(len(labels)), held_out)
    return torch.from_numpy(images[keep]), torch.from_numpy(labels[keep]).long()


def normalise(images: torch.Tensor) -> torch.Tensor:
    """uint8 (N, 28, 28) -> float32 (N, 1, 28, 28), channels last."""
    x = (images.float() / 255 - MEAN) / STD
    return x.unsqueeze(1).contiguous(memory_format=torch.channels_last)


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Random horizontal flips and shifts by up to PAD pixels, image by image; uint8 (N, 28, 28)."""
    n, height, width = images.shape
    padded = nn.functional.pad(images, (PAD, PAD, PAD, PAD))
    dy, dx = torch.randint(0, 2 * PAD + 1, (2, n, 1, 1), generator=generator)
    rows = torch.arange(height).view(1, height, 1) + dy
    columns = torch.arange(width).view(1, 1, width) + dx
    flip = torch.rand(n, 1, 1, generator=generator) < 0.5
    columns = torch.where(flip, columns.flip(2), columns)
    return padded[torch.arange(n).view(n, 1, 1), rows, columns]


def one_cycle(step: int, steps: int) -> float:
    """Linear warm-up over the first fifth, then a cosine to zero (Smith 2018)."""
    warm = 0.2 * steps
    return step / warm if step < warm else 0.5 * (1 + math.cos(math.pi * (step - warm) / (steps - warm)))


@torch.no_grad()
def accuracy(net: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Top-1 accuracy in float32."""
    net.eval()
    right = sum(
        int((net(normalise(x)).argmax(1) == y).sum()) for x, y in zip(images.split(200), labels.split(200), strict=True)
    )
    return right / len(labels)


def store(net: nn.Module, path: Path, **metadata: str) -> dict[str, torch.Tensor]:
    """Write the weights as float16, batch norm in float32 (its variances can leave float16's range)."""
    norms = {n for n, m in net.named_modules() if isinstance(m, nn.BatchNorm2d)}
    stored = {
        name: value.detach().contiguous()
        if name.rpartition(".")[0] in norms or not value.is_floating_point()
        else value.detach().half().contiguous()
        for name, value in net.state_dict().items()
    }
    save_file(stored, path, {"format": "pt", "licence": "MIT", "data": "fashion-mnist", **metadata})
    return stored


def train(name: str, folder: Path, path: Path) -> nn.Module:
    """One network, trained by SGD with Nesterov momentum on cross-entropy; `path` keeps the last finished epoch."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    epochs, bf16 = EPOCHS[name]
    net = ARCHITECTURES[name]().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images, labels = training_images(folder)
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=WEIGHT_DECAY, nesterov=True)
    steps, step = epochs * (len(labels) // BATCH), 0
    for epoch in range(epochs):
        net.train()
        start, total = time.time(), 0.0
        for index in torch.randperm(len(labels), generator=generator).split(BATCH)[: len(labels) // BATCH]:
            optimizer.param_groups[0]["lr"] = PEAK_LR * one_cycle(step, steps)
            x = normalise(augment(images[index], generator))
            with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
                loss = nn.functional.cross_entropy(net(x), labels[index])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
            step += 1
        store(net, path)
        mean_loss = total * BATCH / len(labels)
        print(f"{name} epoch {epoch + 1}/{epochs} loss {mean_loss:.4f} {time.time() - start:.0f} s", flush=True)
    return net


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(ARCHITECTURES))
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--only-evaluate", action="store_true", help="evaluate the stored weights, train nothing")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    path = ROOT / "models" / f"{args.name}.safetensors"
    net = ARCHITECTURES[args.name]()
    if not args.only_evaluate:
        store(train(args.name, args.folder, path).float().to(memory_format=torch.contiguous_format), path)
    net.load_state_dict(load_file(path))
    images, labels = (
        read_idx(args.folder / f"t10k-{part}-idx{n}-ubyte.gz") for part, n in (("images", 3), ("labels", 1))
    )
    score = accuracy(net, torch.from_numpy(images), torch.from_numpy(labels).long())
    store(net, path, test_accuracy=f"{score:.4f}")
    print(json.dumps({"name": args.name, "test_accuracy": score, "file_bytes": path.stat().st_size}))


if __name__ == "__main__":
    main()
