"""Wilson's interval against scipy, and what an estimate says of another."""

import pytest
from scipy.stats import binomtest

from workbench.estimate import Estimate, exact, wilson


@pytest.mark.parametrize(("right", "n"), [(0, 10), (10, 10), (7, 10), (9261, 10000), (1, 3)])
def test_wilson_agrees_with_scipy(right: int, n: int) -> None:
    found, oracle = wilson(right, n), binomtest(right, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((oracle.low, oracle.high), abs=1e-12)
    assert (found.value, found.n) == (right / n, n)


def test_overlapping_intervals_are_not_distinguishable() -> None:
    a, b, c = Estimate(1, 0.9, 1.1), Estimate(1.15, 1.05, 1.25), Estimate(2, 1.9, 2.1)
    assert a.overlaps(b) and b.overlaps(a)
    assert not a.overlaps(c)


def test_an_exact_figure_prints_without_an_interval() -> None:
    assert str(exact(12, "bytes")) == "12 bytes"
    assert str(exact(51_607_296)) == "51,607,296"
    assert str(exact(0.25)) == "0.25"
    assert str(Estimate(1.5, 1.4, 1.6, 9, "ms")) == "1.5 ms [1.4, 1.6]"
