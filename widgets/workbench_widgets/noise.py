"""Noise in the place of data, for a network of which there are none."""

from __future__ import annotations

import dataclasses
from typing import cast

from workbench.data import Data, Split
from workbench.data.batches import as_split
from workbench.models import Model
from workbench.modules.calling import Inputs, noise_like, tensors_map

NOISE = "noise"
#: Images of noise in each split: enough to run and time a network of which there are no data.
_NOISE = {"train": 64, "calibration": 64, "validation": 32, "test": 64}


def noise(model: Model) -> Data:
    """Noise in the shapes that the model takes, without labels: cost, latency and agreement can be measured on them."""
    import torch

    def some(count: int, seed: int) -> Split:
        several = tensors_map(lambda one: torch.cat([one] * count), model.example)
        return as_split(noise_like(cast("Inputs", several), seed))

    splits = {name: dataclasses.replace(some(n, seed), name=name) for seed, (name, n) in enumerate(_NOISE.items())}
    return Data(NOISE, splits)
