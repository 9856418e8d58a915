"""Train a network that teaches, seeded, on the CPU, on the bundled data alone.

    python benchmarks/train_lessons.py fashion-squeezenet

SGD with Nesterov momentum and a one-cycle schedule on the bundled `train` split, in a few minutes; `validation` and
`test` are not trained on. Clothing and scenes are flipped, clothing is shifted by up to two pixels. Stores the weights
beside the others and prints the figure of the test split, which chose nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable

import torch
from torch import nn
from train_bundled import ROOT, one_cycle, store

import workbench as wb
from workbench.models.architectures import LESSONS

#: Epochs, and the highest learning rate.
PLAN = {
    "fashion-squeezenet": (24, 0.2),
    "fashion-shufflenet": (24, 0.2),
    "fashion-seresnet": (24, 0.1),
    "scenes-enet": (45, 0.2),
    "tones-dscnn": (16, 0.2),
}
BATCH, WEIGHT_DECAY, SHIFT = 64, 5e-4, 2

Pair = tuple[torch.Tensor, torch.Tensor]


def augment(name: str, x: torch.Tensor, y: torch.Tensor, generator: torch.Generator) -> Pair:
    """Flips, with their masks; shifts of clothing by whole pixels; tones stay as they are."""
    if name.startswith("tones"):
        return x, y
    flip = torch.rand(len(x), generator=generator) < 0.5
    x = torch.where(flip.view(-1, 1, 1, 1), x.flip(3), x)
    if y.dim() > 1:
        return x, torch.where(flip.view(-1, 1, 1), y.flip(2), y)
    n, _, height, width = x.shape
    padded = nn.functional.pad(x, (SHIFT,) * 4, value=float(x.min()))
    down, right = torch.randint(0, 2 * SHIFT + 1, (2, n, 1, 1), generator=generator)
    rows, columns = torch.arange(height).view(1, -1, 1) + down, torch.arange(width).view(1, 1, -1) + right
    return padded[torch.arange(n).view(n, 1, 1), 0, rows, columns][:, None], y


def train(name: str, inputs: torch.Tensor, labels: torch.Tensor) -> nn.Module:
    """The network, trained on cross-entropy, of every pixel where labels are masks."""
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    (epochs, peak), net = PLAN[name], LESSONS[name]()
    optimizer = torch.optim.SGD(net.parameters(), peak, momentum=0.9, weight_decay=WEIGHT_DECAY, nesterov=True)
    steps, step = epochs * (len(labels) // BATCH), 0
    for epoch in range(epochs):
        net.train()
        start, total = time.time(), 0.0
        for index in torch.randperm(len(labels), generator=generator).split(BATCH)[: len(labels) // BATCH]:
            optimizer.param_groups[0]["lr"] = peak * one_cycle(step, steps)
            x, y = augment(name, inputs[index], labels[index], generator)
            loss = nn.functional.cross_entropy(net(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
            step += 1
        print(
            f"{name} epoch {epoch + 1}/{epochs} loss {total * BATCH / len(labels):.4f} {time.time() - start:.0f} s",
            flush=True,
        )
    return net.eval()


@torch.no_grad()
def outputs(net: Callable[[torch.Tensor], torch.Tensor], inputs: torch.Tensor) -> torch.Tensor:
    return torch.cat([net(one) for one in inputs.split(200)])


def score(net: nn.Module, inputs: torch.Tensor, labels: torch.Tensor) -> float:
    """Top-1 accuracy, or the mean intersection over union of the classes."""
    found = outputs(net, inputs).argmax(1)
    if labels.dim() == 1:
        return float((found == labels).float().mean())
    classes = range(int(labels.max()) + 1)
    shares = [((found == c) & (labels == c)).sum() / ((found == c) | (labels == c)).sum() for c in classes]
    return float(torch.stack(shares).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", choices=sorted(LESSONS))
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    kind = args.name.partition("-")[0]
    data = wb.data({"fashion": "fashion-mnist", "scenes": "fashion-scenes", "tones": "tones"}[kind])
    net = train(args.name, data["train"].inputs, data["train"].labels)
    path = ROOT / "models" / f"{args.name}.safetensors"
    net.load_state_dict({name: value.float() for name, value in store(net, path, data=data.name).items()}, strict=False)
    found = score(net, data["test"].inputs, data["test"].labels)
    figure = "miou" if kind == "scenes" else "accuracy"
    store(net, path, **{f"test_{figure}": f"{found:.4f}"}, data=data.name)
    print(json.dumps({"name": args.name, f"test_{figure}": found, "file_bytes": path.stat().st_size}))


if __name__ == "__main__":
    main()
