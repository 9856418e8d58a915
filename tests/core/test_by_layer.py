"""Two networks side by side: nothing gets lost, and every part finds the layer that it was made from."""

from __future__ import annotations

from tiny import tiny_model

import workbench as wb
from workbench.cost.by_layer import COSTS, by_layer, origin


def test_a_part_belongs_to_the_longest_name_that_it_begins_with() -> None:
    known = ["blocks.0", "blocks.0.conv1", "head"]
    assert origin("blocks.0.conv1", known) == "blocks.0.conv1"
    assert origin("blocks.0.conv1.2", known) == "blocks.0.conv1"
    assert origin("blocks.0.conv10", known) == "blocks.0"
    assert origin("blocks.10", known) == ""


def test_the_columns_add_up_to_the_totals_of_both_networks() -> None:
    model = tiny_model()
    for recipe in (wb.Recipe(), wb.SVD(rank=0.25) | wb.Quantize("int8"), wb.SVD(rank=0.5) | wb.SVD(rank=0.25)):
        after = recipe.plan(model).network
        frame = by_layer(model.network, after)
        for name in COSTS:
            assert frame[name].sum() == getattr(model.network.totals, name)
            assert frame[f"{name}_after"].sum() == getattr(after.totals, name)


def test_a_factorized_layer_stays_one_row() -> None:
    model = tiny_model()
    after = wb.Recipe((wb.SVD(rank=0.25, layers="conv2"),)).plan(model).network
    frame = by_layer(model.network, after).set_index("layer")
    assert list(frame.index) == [layer.name for layer in model.network.layers]
    assert frame.loc["conv2", "macs_after"] < frame.loc["conv2", "macs"]
    assert (frame["macs_after"] == frame["macs"]).drop("conv2").all()
