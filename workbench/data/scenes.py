"""Scenes to segment: pieces of clothing laid on a noisy ground, with the exact class of every pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

SIZE = 64
PIECES = (2, 4)  # in one scene, at least and at most
GROUND = 40  # grey levels of the ground, at most
INKED = 32  # a pixel of a picture from this level on is clothing


def compose(images: Array, labels: Array, count: int, seed: int) -> tuple[Array, Array]:
    """`count` scenes from pictures (N, 28, 28) uint8 and their class numbers (N,).

    Gives scenes (count, 64, 64) uint8 and masks (count, 64, 64) int64: 0 is ground, 1 and up the picture's class + 1.
    Later pieces lie on top of earlier ones.
    """
    rng = np.random.default_rng(seed)
    scenes = np.stack([_ground(rng) for _ in range(count)])
    masks = np.zeros((count, SIZE, SIZE), np.int64)
    for scene, mask in zip(scenes, masks, strict=True):
        for index in rng.integers(len(images), size=rng.integers(PIECES[0], PIECES[1] + 1)):
            _lay(scene, mask, images[index], int(labels[index]) + 1, rng)
    return scenes, masks


def _ground(rng: np.random.Generator) -> Array:
    """Coarse blotches of grey."""
    coarse = rng.integers(0, GROUND, (8, 8))
    return np.kron(coarse, np.ones((SIZE // 8, SIZE // 8))).astype(np.uint8)


def _lay(scene: Array, mask: Array, picture: Array, label: int, rng: np.random.Generator) -> None:
    height, width = picture.shape
    top, left = rng.integers(0, SIZE - height + 1), rng.integers(0, SIZE - width + 1)
    where = slice(top, top + height), slice(left, left + width)
    inked = picture >= INKED
    scene[where][inked] = picture[inked]
    mask[where][inked] = label
