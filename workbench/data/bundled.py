"""The data sets that come with the package: one is stored, two are made from it or from nothing when first used."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy.typing as npt
import torch

from workbench.data import scenes, tones
from workbench.data.dataset import SPLITS, Data, Split
from workbench.data.npz import read_npz
from workbench.data.pixels import as_tensor
from workbench.data.preprocess import PLAIN, Preprocess
from workbench.data.source import Held, Later

Pair = tuple[torch.Tensor, torch.Tensor]
Array = npt.NDArray[Any]

CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
FORM = Preprocess((0.2860,), (0.3530,))
#: Which stored pictures a split has.
ROWS = {"train": slice(0, 8000), "calibration": slice(0, 1000), "validation": slice(8000, None), "test": slice(None)}
#: How many of each split are made; calibration is the first of train.
SCENES = {"train": 3000, "validation": 500, "test": 1000}
TONES = {"train": 4000, "validation": 1000, "test": 2000}
CALIBRATION = 500


@cache
def stored() -> dict[str, Array]:
    """The arrays of the Fashion-MNIST that is bundled."""
    return read_npz(Path(__file__).with_name("fashion-mnist.npz"))


def _clothing(split: str) -> tuple[Array, Array]:
    """The stored pictures (N, 28, 28) of a split, and their class numbers."""
    part = "test" if split == "test" else "train"
    return stored()[f"{part}_images"][ROWS[split]], stored()[f"{part}_labels"][ROWS[split]]


@cache
def fashion_mnist() -> Data:
    """Grey pictures of clothing, 28 x 28, ten classes (Xiao, Rasul & Vollgraf 2017)."""

    def pair(split: str) -> Pair:
        images, labels = _clothing(split)
        return as_tensor(images, split, batch=True), torch.from_numpy(labels).long()

    return _data("fashion-mnist", pair, CLASSES, FORM)


@cache
def fashion_scenes() -> Data:
    """Clothing on a noisy ground, 64 x 64, and the class of every pixel: ground and ten kinds."""

    def pair(split: str) -> Pair:
        images, masks = scenes.compose(*_clothing(split), SCENES[split], list(SCENES).index(split))
        return as_tensor(images, split, batch=True), torch.from_numpy(masks)

    return _data("fashion-scenes", _with_calibration(pair), ("ground", *CLASSES), FORM)


@cache
def sounds() -> Data:
    """Eight figures of tones in noise, as spectrograms of 48 steps by 10 bands, one channel."""

    def pair(split: str) -> Pair:
        found, labels = tones.synthesise(TONES[split], list(TONES).index(split))
        return torch.from_numpy(found), torch.from_numpy(labels)

    return _data("tones", _with_calibration(pair), tones.WORDS, PLAIN)


def _with_calibration(pair: Callable[[str], Pair]) -> Callable[[str], Pair]:
    """Of what is made once: calibration is the beginning of train."""
    made = cache(pair)

    def found(split: str) -> Pair:
        if split != "calibration":
            return made(split)
        inputs, labels = made("train")
        return inputs[:CALIBRATION], labels[:CALIBRATION]

    return found


def _data(name: str, pair: Callable[[str], Pair], classes: tuple[str, ...], form: Preprocess) -> Data:
    def opened(split: str) -> Held:
        return Held(split, *pair(split), form)

    splits = {split: Split(split, Later(partial(opened, split))) for split in SPLITS}
    return Data(name, splits, classes, form, licence="MIT", opened=(name, None))


BUNDLED = {"fashion-mnist": fashion_mnist, "fashion-scenes": fashion_scenes, "tones": sounds}
