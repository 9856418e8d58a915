"""The tiny network with answers that differ from image to image, and data that it answers rightly."""

from __future__ import annotations

import torch
from tiny import SHAPE, tiny_model

import workbench as wb
from workbench.data import Data
from workbench.models import Model


def varied_model() -> Model:
    """Its head is centred and scaled so that every class is the answer for many images."""
    model = tiny_model()
    module = model.module
    with torch.no_grad():
        for layer in (module.conv1, module.conv2, module.head):
            layer.weight.mul_(3)
        logits = module(images(500, seed=5))
        module.head.bias.sub_(logits.mean(0))
        module.head.weight.div_(logits.std(0)[:, None])
        module.head.bias.div_(logits.std(0))
    return wb.load(module, example=torch.zeros(1, *SHAPE))


def varied_data(n: int) -> Data:
    """The labels are the network's own answers; a fifth of the training images is for validation."""
    model, splits = varied_model(), {}
    for seed, split in enumerate(("train", "test")):
        inputs = images(n, seed)
        with torch.no_grad():
            splits[split] = (inputs, model.module(inputs).argmax(1))
    return wb.data(splits, name="varied", classes=tuple("abcd"))


def images(n: int, seed: int) -> torch.Tensor:
    """Noise of a different strength and mean in every image."""
    random = torch.Generator().manual_seed(seed)
    means, spreads = torch.randn(n, SHAPE[0], 1, 1, generator=random), torch.rand(n, 1, 1, 1, generator=random)
    return means + 2 * spreads * torch.randn(n, *SHAPE, generator=random)
