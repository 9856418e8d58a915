"""How differences read: one way to write a ratio, and what is neither better nor worse stays without a colour."""

from __future__ import annotations

import pytest

from workbench.estimate import exact
from workbench_widgets.words import change, times


@pytest.mark.parametrize(
    ("before", "after", "said", "trend"),
    [
        (200.0, 100.0, "2.00× less", "wb-better"),
        (100.0, 200.0, "2.00× more", "wb-worse"),
        (100.0, 100.0, "same", ""),
        (1000.0, 1004.0, "about the same", ""),
        (1004.0, 1000.0, "about the same", ""),
        (1000.0, 1006.0, "1.01× more", "wb-worse"),
        (100.0, 0.0, "none left", "wb-better"),
        (0.0, 5.0, "none before", ""),
        (0.0, 0.0, "same", ""),
    ],
)
def test_a_cost_before_and_after(before: float, after: float, said: str, trend: str) -> None:
    assert times(before, after) == (said, trend)
    assert change("run_memory_bytes", exact(before), exact(after)) == (said, trend)


def test_what_reads_as_one_is_never_coloured() -> None:
    for per_mille in range(900, 1100):
        said, trend = times(1000.0, float(per_mille))
        assert "1.00×" not in said
        assert (trend == "") == ("×" not in said)


def test_figures_of_merit_are_differences_without_a_judgement() -> None:
    assert change("accuracy", exact(0.90), exact(0.87)) == ("−3.00 points", "")
    assert change("psnr", exact(30.0), exact(31.5)) == ("+1.5", "")
    assert change("kl_divergence", exact(0.0), exact(0.002)) == ("+0.0020", "")
    assert change("speedup", exact(1.0), exact(1.5)) == ("1.50×", "")
