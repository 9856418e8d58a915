"""Regions and boxes of labels, drawn over images."""

from __future__ import annotations

import numpy as np
import torch

from workbench.tasks.classification import CLASSIFICATION
from workbench.tasks.detection import DETECTION
from workbench.tasks.segmentation import SEGMENTATION
from workbench_widgets.overlays import COLOURS, overlaid

IMAGE = np.zeros((1, 6, 6), np.float32)
IMAGE[0, 0, 0] = 1.0


def test_regions_have_colours_and_the_background_has_none() -> None:
    mask = np.zeros((6, 6), np.int64)
    mask[2:4, 2:4], mask[5, 5] = 1, 255
    drawn = overlaid(IMAGE, mask, SEGMENTATION)
    assert drawn.shape == (3, 6, 6)
    assert np.allclose(drawn[:, 2, 3], 0.5 * COLOURS[0] / 255)
    assert (drawn[:, 0, 0] == 1).all() and (drawn[:, 5, 5] == 0).all()
    assert IMAGE.sum() == 1  # the image itself stays as it is


def test_boxes_have_frames_and_may_reach_beyond_the_image() -> None:
    label = {"boxes": torch.tensor([[1.0, 1.0, 3.0, 4.0], [4.0, -3.0, 9.0, 9.0]]), "labels": torch.tensor([0, 1])}
    drawn = overlaid(IMAGE, label, DETECTION)
    coloured = (drawn[:, :, :] != IMAGE).any(0)
    assert coloured[1, 1:4].all() and coloured[4, 1:4].all() and coloured[1:5, 1].all() and not coloured[2, 2]
    assert np.allclose(drawn[:, 1, 1], COLOURS[0] / 255) and np.allclose(drawn[:, 3, 4], COLOURS[1] / 255)
    padded = np.array([[1, 1, 3, 4, 0], [4, -3, 9, 9, 1], [0, 0, 0, 0, -1]], np.float32)
    assert (overlaid(IMAGE, padded, DETECTION) == drawn).all()


def test_other_labels_leave_images_alone() -> None:
    assert overlaid(IMAGE, 3, CLASSIFICATION) is IMAGE and overlaid(IMAGE, None, None) is IMAGE
