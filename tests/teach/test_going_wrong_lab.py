"""What lab 7 calls right, against closed forms, torch, the workbench's own diagnosis, and brute force."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from workbench.data import Data
from workbench.data.bundled import stored
from workbench.diagnosis.answers import Answers
from workbench.diagnosis.layer_errors import Sums
from workbench.diagnosis.places import Place
from workbench.estimate import paired_change
from workbench.teach.labs import going_wrong as lab

RIGHT: dict[str, Any] = {one.name: one.right for one in lab.QUESTIONS}  # type: ignore[attr-defined]


def test_signal_over_error_is_what_the_diagnosis_says() -> None:
    rng = np.random.default_rng(7)
    one, noise = rng.normal(size=(4, 3, 5)), rng.normal(size=(4, 3, 5)) / 30
    sums = Sums(Place("Conv", "in", "out"))
    sums.add(one, one + noise, None)
    assert RIGHT["sqnr"](one, one + noise) == pytest.approx(sums.error("layer").sqnr_db)
    assert RIGHT["sqnr"](one, 1.1 * one) == pytest.approx(20)  # a tenth of the amplitude, a hundredth of the power


def test_a_bit_by_rounding_uniform_numbers() -> None:
    values = torch.rand(200_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64).numpy()
    by_bits = [RIGHT["sqnr"](values, np.round(values * 2**bits) / 2**bits) for bits in (6, 7)]
    assert RIGHT["one-bit"] == pytest.approx(by_bits[1] - by_bits[0], rel=0.01)


def test_halving_by_doing_it() -> None:
    """Whatever layer is to blame, it is found in so many tries, and never in fewer for all."""
    for culprit in range(lab.LAYERS):
        suspects, tries = list(range(lab.LAYERS)), 0
        while len(suspects) > 1:
            restored, rest = suspects[: len(suspects) // 2], suspects[len(suspects) // 2 :]
            suspects, tries = (restored if culprit in restored else rest), tries + 1
        assert suspects == [culprit] and tries == RIGHT["halving"]


def marks() -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What is right in the original and in the variant, image by image, as in the question."""
    before = np.zeros(lab.IMAGES, dtype=bool)
    after = np.zeros(lab.IMAGES, dtype=bool)
    both = round(lab.IMAGES * lab.ACCURACY)
    before[:both] = after[:both] = True
    before[both : both + lab.LOST] = True
    after[both + lab.LOST : both + lab.LOST + lab.GAINED] = True
    return before, after


def test_the_paired_loss_and_its_interval_image_by_image() -> None:
    before, after = marks()
    differences = before.astype(float) - after
    assert RIGHT["paired-loss"] == pytest.approx(differences.mean())
    assert RIGHT["paired-width"] == pytest.approx(1.96 * differences.std() / math.sqrt(lab.IMAGES))
    change = paired_change(lab.LOST, lab.GAINED, lab.IMAGES)  # another formula of the same interval
    assert (change.high - change.low) / 2 == pytest.approx(RIGHT["paired-width"], rel=0.05) and change.holds(0)


def test_a_rare_class_image_by_image() -> None:
    rare = np.arange(10_000) < 100
    before = np.where(rare, np.arange(10_000) < 90, True)
    assert RIGHT["rare-class"] == pytest.approx(before.mean() - (before & ~rare).mean())


def test_the_worst_class_is_what_the_diagnosis_lists_first() -> None:
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(size=(300, 4)) * 2, rng.integers(0, 4, 300)
    logits[np.arange(300), labels] += 3
    worse = logits + rng.normal(size=logits.shape) * np.where(labels == 2, 3, 0.5)[:, None]
    marks_ = [one.argmax(1) == labels for one in (logits, worse)]
    assert RIGHT["worst-class"](*marks_, labels) == pytest.approx(Answers(logits, worse, labels).by_class()["drop"][0])


def test_a_pixel_by_what_the_bundled_networks_read(fashion: Data) -> None:
    places = np.argwhere(stored()["test_images"] == lab.PIXEL)[0]
    image, row, column = (int(one) for one in places)
    assert RIGHT["pixel"] == pytest.approx(float(fashion["test"].inputs[image, 0, row, column]), rel=1e-5)


def test_pictures_by_torch() -> None:
    pixels = np.random.default_rng(4).integers(0, 256, size=(2, 5, 4, 3), dtype=np.uint8)
    torchs = torch.from_numpy(pixels).permute(0, 3, 1, 2).double() / 255
    mean, std = (torch.tensor(one, dtype=torch.float64)[:, None, None] for one in (lab.MEANS, lab.STDS))
    assert np.allclose(RIGHT["prepare"](pixels), ((torchs - mean) / std).numpy())


def test_the_sum_in_float32_by_torch() -> None:
    big, one = torch.tensor(1e8, dtype=torch.float32), torch.tensor(1.0, dtype=torch.float32)
    assert RIGHT["order-of-sums"] == float(big + one - big)


def test_the_layer_at_fault_is_where_the_outputs_fall_by_its_own_error() -> None:
    text = next(one for one in lab.QUESTIONS if one.name == "at-fault").text
    standing, own = [40, 38, 12, 11, 10], [41, 42, 13, 35, 12]
    assert all(str(one) in text for one in (*standing, *own))
    falls = [before - after for before, after in itertools.pairwise(standing)]
    assert "abcde"[falls.index(max(falls)) + 1] == RIGHT["at-fault"] and own[2] < 15
