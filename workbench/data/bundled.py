"""The data sets that come with the package: one is stored, two are made from it or from nothing when first used."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

from workbench.data import scenes, tones
from workbench.data.dataset import Data, Split
from workbench.data.npz import read_npz
from workbench.data.pixels import Form, as_inputs, as_tensor

Pair = tuple[torch.Tensor, torch.Tensor | None]
Array = npt.NDArray[Any]

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
FORM = Form((0.2860,), (0.3530,))
VALIDATION_START, CALIBRATION_END = 8000, 1000
#: How many of each split are made; calibration is the first of train.
SCENES = {"train": 3000, "validation": 500, "test": 1000}
TONES = {"train": 4000, "validation": 1000, "test": 2000}
CALIBRATION = 500


def stored() -> dict[str, Array]:
    """The arrays of the Fashion-MNIST that is bundled."""
    return read_npz(Path(__file__).with_name("fashion-mnist.npz"))


@cache
def fashion_mnist() -> Data:
    """Grey pictures of clothing, 28 x 28, ten classes (Xiao, Rasul & Vollgraf 2017)."""
    arrays = cache(stored)
    rows = {
        "train": ("train", slice(0, VALIDATION_START)),
        "calibration": ("train", slice(0, CALIBRATION_END)),
        "validation": ("train", slice(VALIDATION_START, None)),
        "test": ("test", slice(None)),
    }

    def loader(part: str, rows: slice) -> Callable[[], Pair]:
        def read() -> Pair:
            pixels = as_tensor(arrays()[f"{part}_images"][rows], part, batch=True)
            return as_inputs(part, pixels, FORM), torch.from_numpy(arrays()[f"{part}_labels"][rows]).long()

        return read

    splits = {name: Split(name, loader(*where)) for name, where in rows.items()}
    return Data("fashion-mnist", splits, CLASSES, FORM.mean, FORM.std, licence="MIT")


@cache
def fashion_scenes() -> Data:
    """Clothing on a noisy ground, 64 x 64, and the class of every pixel: ground and ten kinds."""
    sources = {"train": ("train", slice(0, VALIDATION_START)), "validation": ("train", slice(VALIDATION_START, None)),
               "test": ("test", slice(None))}  # fmt: skip

    @cache
    def made(split: str) -> Pair:
        part, rows = sources[split]
        arrays = stored()
        seed = list(SCENES).index(split)
        images, masks = scenes.compose(
            arrays[f"{part}_images"][rows], arrays[f"{part}_labels"][rows], SCENES[split], seed
        )
        return as_inputs(split, as_tensor(images, split, batch=True), FORM), torch.from_numpy(masks)

    return _made("fashion-scenes", made, ("ground", *CLASSES), FORM)


@cache
def tones_() -> Data:
    """Eight figures of tones in noise, as spectrograms of 48 steps by 10 bands."""

    @cache
    def made(split: str) -> Pair:
        found, labels = tones.synthesise(TONES[split], list(TONES).index(split))
        return torch.from_numpy(found), torch.from_numpy(labels)

    return _made("tones", made, tones.WORDS, Form())


def _made(name: str, made: Callable[[str], Pair], classes: tuple[str, ...], form: Form) -> Data:
    def calibration() -> Pair:
        inputs, labels = made("train")
        return inputs[:CALIBRATION], None if labels is None else labels[:CALIBRATION]

    def loader(split: str) -> Callable[[], Pair]:
        return calibration if split == "calibration" else lambda: made(split)

    splits = {split: Split(split, loader(split)) for split in ("train", "calibration", "validation", "test")}
    return Data(name, splits, classes, form.mean, form.std, licence="MIT")


BUNDLED = {"fashion-mnist": fashion_mnist, "fashion-scenes": fashion_scenes, "tones": tones_}
