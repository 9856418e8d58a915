"""A tiny network and data of every task."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

import workbench as wb

N, SIZE = 48, 8
X = torch.randn(N, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def body(width: int, *head: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, width, 3, padding=1), *head)


def flat(outputs: int) -> nn.Module:
    return body(8, nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, outputs))


class Rows(nn.Module):
    """Scores (N, places, classes): a place for each column of the image."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = body(classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        rows: torch.Tensor = self.body(x).mean(2).transpose(1, 2)
        return rows


class Detector(nn.Module):
    """Four boxes an image with scores and classes, as exported detectors give them."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.boxes, self.scores = flat(24), nn.Linear(24, 16), nn.Linear(24, 12)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = torch.relu(self.body(x))
        corner, size = self.boxes(features).view(-1, 4, 4).sigmoid().mul(4).split(2, 2)
        return torch.cat([corner, corner + size], 2), self.scores(features).view(-1, 4, 3).sigmoid()


@dataclass(frozen=True)
class Case:
    """A network, what its labels are by what it answers, and what it must be taken for."""

    task: str
    metric: str
    make: Callable[[], nn.Module]
    label: Callable[[Any], torch.Tensor]
    asked: str | None = None

    def study(self) -> wb.Study:
        """Labels are the network's own answers, so that the original is perfect."""
        torch.manual_seed(1)
        module = self.make().eval()
        with torch.no_grad():
            labels = self.label(module(X))
        data = wb.data({"train": (X, labels), "validation": (X[:24], labels[:24]), "test": (X[24:], labels[24:])})
        return wb.Study(wb.load(module, example=X[:1]), data, task=self.asked)


def padded(outputs: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
    """The surest two boxes of each image, as (left, top, right, bottom, class), filled up by one without a class."""
    boxes, scores = outputs
    sure, classes = scores.max(2)
    best = sure.topk(2, 1).indices
    rows = torch.cat([boxes, classes[..., None].float()], 2)
    found = rows.gather(1, best[..., None].expand(-1, -1, 5))
    return torch.cat([found, torch.tensor([0.0, 0, 0, 0, -1]).expand(len(found), 1, 5)], 1)


def shorter(outputs: torch.Tensor) -> torch.Tensor:
    """What a row of places reads, filled up by -1."""
    from workbench.tasks.sequences import read

    texts = [torch.from_numpy(one)[:5] for one in read(outputs.numpy())]
    return torch.stack([torch.cat([one, torch.full((5 - len(one),), -1)]) for one in texts])


CASES = {
    "classification": Case("classification", "accuracy", lambda: flat(4), lambda y: y.argmax(1)),
    "labels": Case("multi-label", "average_precision", lambda: flat(5), lambda y: (y > y.median()).long()),
    "pixels": Case("segmentation", "miou", lambda: body(3), lambda y: y.argmax(1)),
    "mask": Case("segmentation", "miou", lambda: body(1), lambda y: (y[:, 0] > y.median()).long()),
    "boxes": Case("detection", "coco_map", Detector, padded),
    "value": Case("regression", "mae", lambda: flat(1), lambda y: y[:, 0]),
    "values": Case("regression", "mae", lambda: flat(3), lambda y: y),
    "image": Case("images", "psnr", lambda: body(3), lambda y: y),
    "tokens": Case("sequences", "token_accuracy", lambda: Rows(5), lambda y: y.argmax(2)),
    "text": Case("ctc", "character_error_rate", lambda: Rows(4), shorter),
    "vectors": Case(
        "embeddings", "recall_at_1", lambda: flat(6), lambda y: (y[:, 0] > y[:, 0].median()).long(), "embeddings"
    ),
}
