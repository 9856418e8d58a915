"""Six images, worked out by hand; calibration against a case whose error is known."""

from __future__ import annotations

import numpy as np
import pytest

from workbench.diagnosis import Answers
from workbench.errors import BadValue


def logits(answers: list[int], sure: list[float], classes: int = 3) -> np.ndarray:
    """Outputs whose answer has exactly the probability asked for."""
    found = np.zeros((len(answers), classes), np.float32)
    for row, (answer, share) in enumerate(zip(answers, sure, strict=True)):
        found[row, answer] = np.log(share * (classes - 1) / (1 - share))
    return found


@pytest.fixture
def six() -> Answers:
    return Answers(
        original=logits([0, 0, 1, 1, 2, 0], [0.9, 0.8, 0.9, 0.7, 0.6, 0.5]),
        variant=logits([0, 1, 1, 2, 1, 2], [0.8, 0.6, 0.9, 0.5, 0.5, 0.6]),
        labels=np.array([0, 0, 1, 1, 0, 2]),
        classes=("cat", "dog", "owl"),
    )


def test_by_class(six: Answers) -> None:
    frame = six.by_class().set_index("name")
    assert frame.loc["cat", ["n", "before", "after"]].tolist() == [3, 2 / 3, 1 / 3]
    assert frame.loc["dog", ["n", "before", "after"]].tolist() == [2, 1.0, 0.5]
    assert frame.loc["owl", ["n", "before", "after"]].tolist() == [1, 0.0, 1.0]
    assert frame["drop"].tolist() == pytest.approx([0.5, 1 / 3, -1.0])  # who suffers most comes first
    assert frame["taken_for"].tolist() == ["owl", "dog", ""]
    assert (frame.drop_low <= frame["drop"]).all() and (frame["drop"] < frame.drop_high).all()


def test_flips(six: Answers) -> None:
    frame = six.flips()
    assert frame["index"].tolist() == [1, 3, 5, 4]
    assert frame["change"].tolist() == ["lost", "lost", "gained", "other"]
    assert frame.loc[0, ["label", "before", "after"]].tolist() == ["cat", "cat", "dog"]
    assert frame["confidence_before"].tolist() == pytest.approx([0.8, 0.7, 0.5, 0.6])
    assert frame["confidence_after"].tolist() == pytest.approx([0.6, 0.5, 0.6, 0.5])


def test_the_drop_is_paired(six: Answers) -> None:
    assert six.drop.value == pytest.approx(1 / 6)  # two lost, one gained
    before, after = six.accuracies()
    assert (before.value, after.value) == (pytest.approx(4 / 6), pytest.approx(3 / 6))


def test_confidence_and_its_shift(six: Answers) -> None:
    frame = six.confidence()
    assert frame.confidence.tolist() == pytest.approx([4.4 / 6, 3.9 / 6, -0.5 / 6])
    assert frame.loc["shift", "confidence_low"] <= -0.5 / 6 <= frame.loc["shift", "confidence_high"]
    # The original in bins of 1/15: 0.9, 0.9 are right; 0.8 is right; 0.7 is right; 0.6 is wrong; 0.5 is wrong.
    assert frame.loc["original", "calibration_error"] == pytest.approx((0.2 + 0.2 + 0.3 + 0.6 + 0.5) / 6, abs=1e-6)


def test_a_calibrated_network_has_no_calibration_error() -> None:
    sure = np.full(1000, 0.7)
    labels = np.r_[np.zeros(700, int), np.ones(300, int)]
    found = Answers(logits([0] * 1000, [0.7] * 1000), logits([0] * 1000, [0.9] * 1000), labels).confidence()
    assert found.loc["original", "calibration_error"] == pytest.approx(0, abs=1e-6)
    assert found.loc["variant", "calibration_error"] == pytest.approx(0.9 - sure.mean(), abs=1e-6)


def test_no_flip_at_all(six: Answers) -> None:
    same = Answers(six.original, six.original, six.labels)
    assert same.flips().empty and same.drop.value == 0
    assert same.by_class()["name"].tolist() == ["0", "1", "2"]


def test_other_shapes() -> None:
    with pytest.raises(BadValue, match="not two classifications"):
        Answers(np.zeros((4, 3, 8, 8)), np.zeros((4, 3, 8, 8)), np.zeros(4))
