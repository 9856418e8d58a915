"""How differences read: with their own intervals, one way to write a ratio, and what shrinks most is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import tiny_data, tiny_model

from workbench.estimate import Estimate, exact, paired_change
from workbench.measure.wording import accuracy, lost, points, speed
from workbench.recipe import Recipe
from workbench.report.words import verdict
from workbench.variant import Variant
from workbench_widgets.formatting import change, times


def variant(**changed: Estimate) -> Variant:
    figures = {
        "accuracy": Estimate(0.93, 0.925, 0.935, 10000), "speedup": Estimate(2.0, 1.9, 2.1),
        "file_bytes": exact(4e6), "compressed_bytes": exact(3.8e6), "huffman_bytes": exact(3.7e6),
    }  # fmt: skip
    return Variant(
        "id", Recipe(), figures | changed, Path("none"), Path("none"), model=tiny_model(), data=tiny_data()
    )


def test_a_loss_within_overlapping_intervals_is_said() -> None:
    said = verdict(variant(accuracy_change=paired_change(122, 72, 10000)), variant())
    assert "0.50 points less accurate (0.23 to 0.78)" in said
    assert said.startswith("2.00× faster than the original (1.90 to 2.10), ")
    said = verdict(variant(accuracy_change=paired_change(100, 90, 10000)), variant())
    assert "accuracy not distinguishable (−0.10 points (−0.37 to +0.17))" in said


def test_without_a_paired_difference_nothing_is_called_equal() -> None:
    said = verdict(variant(accuracy=Estimate(0.925, 0.92, 0.93, 10000)), variant())
    assert "accuracy −0.50 points (not compared on the same images)" in said


def test_a_headline_names_what_shrinks_most() -> None:
    assert "smaller" not in verdict(variant(), variant())
    said = verdict(variant(compressed_bytes=exact(3.8e6 / 16.48), huffman_bytes=exact(3.7e6 / 16.5)), variant())
    assert said.endswith(", 16.48× smaller compressed.")
    said = verdict(variant(compressed_bytes=exact(1e6), huffman_bytes=exact(1e5)), variant())
    assert said.endswith("3.80× smaller compressed, 37.00× smaller as a bundle.")
    quarter = variant(file_bytes=exact(1e6), compressed_bytes=exact(0.95e6), huffman_bytes=exact(0.93e6))
    assert verdict(quarter, variant()).endswith("a file 4.00× smaller.")


def test_agreement_is_in_the_headline_of_data_without_labels() -> None:
    said = verdict(variant(agreement=Estimate(0.973, 0.965, 0.98)), variant())
    assert "97.30 % of its answers are the original's (96.50 to 98.00)" in said


def test_losses_and_gains() -> None:
    assert points(Estimate(-0.0, -0.00001, 0.00001)) == "0.00 points (0.00 to 0.00)"
    assert accuracy(Estimate(0.01, 0.005, 0.015)) == "1.00 points more accurate (0.50 to 1.50)"
    assert lost(Estimate(0.01, 0.005, 0.015), "accuracy") == "loses 1.00 points of accuracy (0.50 to 1.50)"
    assert lost(Estimate(-0.01, -0.015, -0.005), "accuracy") == "gains 1.00 points of accuracy (0.50 to 1.50)"
    assert speed(Estimate(0.5, 0.4, 0.8)) == "2.00× slower than the original (1.25 to 2.50)"
    assert speed(Estimate(1.02, 0.97, 1.07), "fp16").startswith("speed not distinguishable from that of fp16")


@pytest.mark.parametrize(
    ("before", "after", "said", "trend"),
    [
        (200.0, 100.0, "2.00× less", "wb-better"),
        (100.0, 200.0, "2.00× more", "wb-worse"),
        (100.0, 100.0, "same", ""),
        (1000.0, 1004.0, "about the same", ""),
        (1004.0, 1000.0, "about the same", ""),
        (10000.0, 10001.0, "about the same", ""),
        (100.0, 110.0, "1.10× more", "wb-worse"),
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
