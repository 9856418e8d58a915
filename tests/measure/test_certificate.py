"""The sequential test against enumeration, simulation and hand computation; what a certificate says."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import workbench as wb
from workbench.certificate import Answer, Certificate
from workbench.measure.certify import LOOK, Claim, Race
from workbench.measure.sequential import Bounded, Unbounded
from workbench.tasks.classification import ACCURACY

VARIANTS, INPUTS = 2000, 2000


@pytest.mark.parametrize("margin", [0.3, 0.5, 0.7])
def test_of_all_sequences_no_more_than_alpha_pass_at_the_margin(margin: float) -> None:
    """Every sequence of nine inputs by its probability, at the loss that must not pass: Ville's inequality, exactly."""
    alpha, lost, gained = 0.3, margin + 0.05, 0.05
    chance = {-1: lost, 0: 1 - lost - gained, 1: gained}
    passed = 0.0
    for gains in itertools.product(chance, repeat=9):
        if (Bounded(alpha).evidence(np.array(gains, float), -margin) >= 0).any():
            passed += math.prod(chance[one] for one in gains)
    assert 0 < passed <= alpha


def simulated(loss: float, changed: float) -> tuple[int, int]:
    """How many of 2,000 variants pass and fail, looked at after every 100 inputs."""
    rng = np.random.default_rng(1)
    looks = np.arange(LOOK - 1, INPUTS, LOOK)
    passed = failed = 0
    for _ in range(VARIANTS):
        thrown = rng.random(INPUTS)
        gains = (thrown > 1 - (changed - loss) / 2).astype(float) - (thrown < (changed + loss) / 2)
        yes, no = (Bounded(0.05).evidence(sign * gains, -sign * 0.01)[looks] >= 0 for sign in (1, -1))
        first = [int(np.argmax(one)) if one.any() else INPUTS for one in (yes, no)]
        passed, failed = passed + (first[0] < first[1]), failed + (first[1] < first[0])
    return passed, failed


@pytest.mark.parametrize("changed", [0.0101, 0.04, 0.15])
def test_false_answers_at_the_margin_are_rare(changed: float) -> None:
    passed, failed = simulated(0.01, changed)
    assert passed <= 0.05 * VARIANTS
    assert failed <= 0.05 * VARIANTS


def test_what_is_plain_is_found() -> None:
    assert simulated(0.0, 0.003)[0] > 0.95 * VARIANTS
    assert simulated(0.06, 0.1)[1] > 0.95 * VARIANTS


def test_evidence_by_hand() -> None:
    """Two stakes of a mixture are enough to see the sum: the growth of each input, the split, the level."""
    stakes = 0.99 * 1.6 ** -np.arange(12.0)
    split = stakes**0.5 / (stakes**0.5).sum()
    grown = (1 + stakes / 0.9 * (-1 + 0.1)) * (1 + stakes / 0.9 * (1 + 0.1))
    wealth = float((split * grown).sum())
    assert Bounded(0.05).evidence(np.array([-1.0, 1.0]), -0.1)[-1] == pytest.approx(math.log(wealth * 0.05))


@given(st.lists(st.sampled_from([-1.0, 0.0, 1.0]), min_size=1, max_size=60), st.randoms())
def test_the_order_of_what_was_seen_does_not_matter(gains: list[float], random: object) -> None:
    mixed = list(gains)
    random.shuffle(mixed)  # type: ignore[attr-defined]
    one, other = (Bounded(0.05).evidence(np.array(each), -0.02)[-1] for each in (gains, mixed))
    assert one == pytest.approx(other)


@given(st.lists(st.sampled_from([-1.0, 0.0, 0.0, 0.0, 1.0]), min_size=1, max_size=300))
def test_the_bound_is_where_the_test_begins_to_pass(gains: list[float]) -> None:
    values, test = np.array(gains), Bounded(0.05)
    low = test.low(values)
    assert low <= values.mean()
    if low > -0.999:
        assert test.evidence(values, low - 1e-6)[-1] >= 0
        assert test.evidence(values, low + 1e-6)[-1] < 0


def test_how_many_more_are_needed() -> None:
    """The evidence of inputs that come as they came is just enough there, and one input earlier it is not."""
    gains = np.tile([0.0] * 48 + [1.0, -1.0], 10)
    wanted = int(Bounded(0.05).until(gains, -0.01))
    growth = Bounded(0.05).evidence(np.tile(gains, 1 + wanted // len(gains)), -0.01)
    assert growth[wanted - len(gains) - 1] < 0 <= growth[min(wanted + len(gains), len(growth)) - 1]
    assert math.isinf(Bounded(0.05).until(np.array([-1.0, 0.0]), -0.01))


def test_values_without_bounds() -> None:
    """Of decibels: at the margin it seldom passes, and what is plainly within is found."""
    rng = np.random.default_rng(0)
    test = Unbounded(0.05, 30 * 0.1)
    false = sum(bool((test.evidence(rng.normal(-0.1, 1, 3000), -0.1)[99::100] >= 0).any()) for _ in range(500))
    found = sum(bool((test.evidence(rng.normal(0.1, 1, 3000), -0.1)[99::100] >= 0).any()) for _ in range(100))
    assert false <= 25
    assert found > 95
    assert test.low(rng.normal(0, 1, 99)) == -math.inf


def test_a_race_keeps_its_answer() -> None:
    race = Race(Claim(ACCURACY, 0.01, 0.05), 0.05)
    race.add(np.zeros(700))
    assert race.verdict().answer is Answer.PASSES
    race.add(-np.ones(300))
    assert race.verdict().answer is Answer.PASSES
    assert Race(Claim(ACCURACY, 0.01, 0.05), 0.05).verdict().answer is Answer.UNDECIDED


@pytest.mark.parametrize(("margin", "alpha"), [(0.0, 0.05), (1.0, 0.05), (-0.1, 0.05), (0.01, 0.0), (0.01, 0.5)])
def test_claims_that_cannot_be(margin: float, alpha: float) -> None:
    with pytest.raises(wb.errors.BadValue, match=re.escape(repr(margin if alpha == 0.05 else alpha))):
        Claim(ACCURACY, margin, alpha)


def said(**given: object) -> str:
    usual = {
        "variant": "V", "metric": "accuracy", "share": True, "unit": "", "split": "validation", "margin": 0.01,
        "alpha": 0.05, "answer": Answer.PASSES, "loss": 0.002, "at_least": -0.001, "at_most": 0.0094, "inputs": 2140,
    }  # fmt: skip
    return str(Certificate(**(usual | given)))  # type: ignore[arg-type]


def test_what_it_says() -> None:
    assert said() == (
        "V loses at most 1 point of accuracy (95 %), after 2,140 inputs of validation: 0.2 points lost there (at least "
        "−0.1 points, at most 0.94 points)."
    )
    assert said(answer=Answer.FAILS).startswith("V loses more than 1 point of accuracy (95 %)")
    undecided = said(answer=Answer.UNDECIDED, more=1783.2, class_name="Shirt")
    assert undecided.startswith("Not known yet whether V loses at most 1 point of accuracy in any class, the worst")
    assert undecided.endswith("About 1,800 more inputs are needed.")
    assert said(answer=Answer.UNDECIDED, more=math.inf).endswith("that no number of inputs would tell.")
    assert "0.5 dB of psnr" in said(share=False, unit="dB", margin=0.5, metric="psnr")
