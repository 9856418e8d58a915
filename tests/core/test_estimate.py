"""Intervals against scipy and against a likelihood maximised by brute force; how estimates print."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize
from scipy.stats import binomtest, multinomial, norm

from workbench.estimate import Estimate, exact, mcnemar, paired_change, quotient, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (7, 10), (9261, 10000), (1, 3)])
def test_wilson_agrees_with_scipy(right: int, n: int) -> None:
    found, oracle = wilson(right, n), binomtest(right, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)
    assert (found.value, found.n) == (right / n, n)


@pytest.mark.parametrize(("lost", "gained"), [(122, 72), (0, 0), (5, 0), (1, 7), (3, 3), (4000, 3900)])
def test_mcnemars_exact_test_is_a_sign_test(lost: int, gained: int) -> None:
    expected = binomtest(lost, lost + gained).pvalue if lost + gained else 1.0
    assert mcnemar(lost, gained) == pytest.approx(expected, rel=1e-9)


def likeliest_share(lost: int, gained: int, n: int, change: float) -> float:
    """The share of lost inputs that makes the observation most likely if the true change is `change`."""

    def against(share: float) -> float:
        shares = [share, share + change, 1 - 2 * share - change]
        return -float(multinomial.logpmf([lost, gained, n - lost - gained], n, shares))

    low, high = max(0.0, -change), (1 - change) / 2
    return float(optimize.minimize_scalar(against, bounds=(low, high), method="bounded", options={"xatol": 1e-12}).x)


@pytest.mark.parametrize(("lost", "gained", "n"), [(122, 72, 10000), (1, 7, 21), (3, 1, 50), (9, 21, 86), (6, 2, 100)])
def test_the_ends_of_a_paired_change_are_where_a_score_test_begins_to_reject(lost: int, gained: int, n: int) -> None:
    found = paired_change(lost, gained, n)
    assert found.value == (gained - lost) / n
    for end in (found.low, found.high):
        share = likeliest_share(lost, gained, n, end)
        spread = math.sqrt(n * (2 * share + end - end * end))  # of gained - lost, if that is the true change
        assert abs(gained - lost - n * end) / spread == pytest.approx(norm.ppf(0.975), rel=1e-4)


def test_published_intervals_of_paired_changes() -> None:
    # Airway reactivity of 21 children before and after (1, 1, 7, 12): Fagerland, Lydersen and Laake 2014
    found = paired_change(1, 7, 21)
    assert (found.low, found.high) == pytest.approx((0.026, 0.517), abs=5e-4)


def test_a_real_loss_is_told_where_intervals_overlap() -> None:
    before, after = wilson(9372, 10000), wilson(9322, 10000)
    assert after.high > before.low  # the two intervals overlap
    assert not paired_change(122, 72, 10000).holds(0)
    assert paired_change(100, 90, 10000).holds(0)


@given(st.integers(1, 400), st.data())
def test_a_paired_change_is_sound(n: int, data: st.DataObject) -> None:
    lost = data.draw(st.integers(0, n))
    gained = data.draw(st.integers(0, n - lost))
    found, mirrored = paired_change(lost, gained, n), paired_change(gained, lost, n)
    assert -1 <= found.low <= found.value <= found.high <= 1
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low), abs=1e-9)
    assert found.low < found.high  # no change of any input proves that there is none


def test_counts_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="lost=3 and gained=2"):
        paired_change(3, 2, 4)


def test_coverage_of_a_paired_change() -> None:
    """All outcomes of 300 inputs of which 3 % are lost and 2 % gained, each with its probability."""
    n, lost, gained = 300, 0.03, 0.02
    covered = 0.0
    for b in range(30):
        for c in range(26):
            if paired_change(b, c, n).holds(gained - lost):
                covered += multinomial.pmf([b, c, n - b - c], n, [lost, gained, 1 - lost - gained])
    assert 0.94 < covered < 0.96


def test_a_quotient_of_ratios_by_simulation() -> None:
    random = np.random.default_rng(0)
    above, below = np.exp(random.normal(math.log(3), 0.04, 10**6)), np.exp(random.normal(math.log(2), 0.03, 10**6))
    ratios = [Estimate(v, v * math.exp(-1.96 * s), v * math.exp(1.96 * s)) for v, s in ((3, 0.04), (2, 0.03))]
    found = quotient(*ratios)
    low, high = np.quantile(above / below, [0.025, 0.975])
    assert (found.value, found.low, found.high) == pytest.approx((1.5, low, high), rel=2e-3)
    alone = quotient(ratios[0], exact(1.0))
    assert (alone.low, alone.high) == pytest.approx((ratios[0].low, ratios[0].high))


def test_an_exact_figure_prints_without_an_interval() -> None:
    assert str(exact(12, "bytes")) == "12 bytes"
    assert str(exact(51_607_296)) == "51,607,296"
    assert str(exact(0.25)) == "0.25"
    assert str(Estimate(1.5, 1.4, 1.6, 9, "ms")) == "1.5 ms [1.4, 1.6]"
