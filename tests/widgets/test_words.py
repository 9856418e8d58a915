"""Headlines: differences with their own intervals, and what shrinks most is named."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny import tiny_data, tiny_model

from workbench.estimate import Estimate, exact, paired_change
from workbench.measure.wording import accuracy, lost, points, speed
from workbench.recipe import Recipe
from workbench.variant import Variant
from workbench_widgets.words import times, verdict


def variant(**changed: Estimate) -> Variant:
    figures = {
        "accuracy": Estimate(0.93, 0.925, 0.935, 10000), "speedup": Estimate(2.0, 1.9, 2.1),
        "file_bytes": exact(4e6), "compressed_bytes": exact(3.8e6), "huffman_bytes": exact(3.7e6),
    }  # fmt: skip
    return Variant("id", tiny_model(), tiny_data(), Recipe(), figures | changed, Path("none"), Path("none"))


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


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [(100, 100, "same"), (10000, 10001, "almost the same"), (100, 50, "2.00× less"), (100, 110, "1.10× more")],
)
def test_a_cost_that_rounds_to_no_change_is_not_called_more(before: float, after: float, said: str) -> None:
    assert times(before, after)[0] == said
    assert bool(times(before, after)[1]) == ("×" in said)


def test_losses_and_gains() -> None:
    assert points(Estimate(-0.0, -0.00001, 0.00001)) == "0.00 points (0.00 to 0.00)"
    assert accuracy(Estimate(0.01, 0.005, 0.015)) == "1.00 points more accurate (0.50 to 1.50)"
    assert lost(Estimate(0.01, 0.005, 0.015), "accuracy") == "loses 1.00 points of accuracy (0.50 to 1.50)"
    assert lost(Estimate(-0.01, -0.015, -0.005), "accuracy") == "gains 1.00 points of accuracy (0.50 to 1.50)"
    assert speed(Estimate(0.5, 0.4, 0.8)) == "2.00× slower than the original (1.25 to 2.50)"
    assert speed(Estimate(1.02, 0.97, 1.07), "fp16").startswith("speed not distinguishable from that of fp16")
