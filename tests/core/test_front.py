"""Fronts, limits and conversions of frames made by hand, against the definitions spelled out."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.errors import BadValue, UnknownName
from workbench.frames.frame import CONVERTED, on_one_machine, where_rows
from workbench.frames.limits import Limit, bound_on, read_limits, with_bound
from workbench.frames.pareto import front, more_is_better
from workbench.measure.paired import Sample

few = st.integers(0, 4).map(float)
points = st.lists(st.tuples(few, few, st.integers(0, 3)), min_size=1, max_size=8)


def framed(rows: list[tuple[float, float, int]], x: str = "accuracy", y: str = "macs", **more: Any) -> pd.DataFrame:
    """Rows (x, y, number of steps), named by their place."""
    recipes = [json.dumps([{"step": "Prune"}] * steps) for *_, steps in rows]
    columns = {x: [one[0] for one in rows], y: [one[1] for one in rows]}
    return pd.DataFrame({"id": [str(n) for n in range(len(rows))], "recipe": recipes, **columns, **more})


@settings(max_examples=200, deadline=None)
@given(rows=points)
def test_a_front_is_what_nothing_beats_and_of_equals_the_simplest(rows: list[tuple[float, float, int]]) -> None:
    def beats(one: tuple[float, float, int], other: tuple[float, float, int]) -> bool:
        return one[0] >= other[0] and one[1] <= other[1] and one[:2] != other[:2]

    best = [n for n, row in enumerate(rows) if not any(beats(other, row) for other in rows)]
    simplest = {}
    for n in sorted(best, key=lambda n: (rows[n][2], n)):
        simplest.setdefault(rows[n][:2], n)
    found = front(framed(rows), "accuracy", "macs")
    assert set(found.id) == {str(n) for n in simplest.values()}
    assert list(found.accuracy) == sorted(found.accuracy)


def test_what_is_missing_is_left_out_and_unknown_columns_are_named() -> None:
    frame = framed([(1.0, 3.0, 0), (2.0, math.nan, 0), (math.nan, 1.0, 0)])
    assert list(front(frame, "accuracy", "macs").id) == ["0"]
    assert front(frame.iloc[1:], "accuracy", "macs").empty
    for columns in (("accurracy", "macs"), ("accuracy", "mac")):
        with pytest.raises(UnknownName, match="column"):
            front(frame, *columns)


def test_milliseconds_are_ranked_by_the_ratio_in_turns_where_every_row_has_one() -> None:
    """The machine was slower while the second was timed: the ratio knows."""
    rows = [(0.9, 2.0, 0), (0.9, 3.0, 1), (0.8, 2.5, 1)]
    ratios = {"speedup": [1.0, 4.0, 2.0], "speedup_low": [1.0, 3.5, 1.8], "speedup_high": [1.0, 4.5, 2.2]}
    assert list(front(framed(rows, y="latency_ms"), "accuracy", "latency_ms").id) == ["0"]
    assert list(front(framed(rows, y="latency_ms", **ratios), "accuracy", "latency_ms").id) == ["1"]
    gap = ratios | {"speedup": [1.0, math.nan, 2.0]}
    assert list(front(framed(rows, y="latency_ms", **gap), "accuracy", "latency_ms").id) == ["0"]


def test_ratios_that_cannot_be_told_apart_leave_the_place_to_the_simpler() -> None:
    rows = [(0.9, 1.0, 3), (0.9, 0.9, 1)]
    close = {"speedup": [2.1, 2.0], "speedup_low": [1.9, 1.8], "speedup_high": [2.3, 2.2]}
    apart = {"speedup": [3.1, 2.0], "speedup_low": [2.9, 1.8], "speedup_high": [3.3, 2.2]}
    assert list(front(framed(rows, y="latency_ms", **close), "accuracy", "latency_ms").id) == ["1"]
    assert list(front(framed(rows, y="latency_ms", **apart), "accuracy", "latency_ms").id) == ["0"]


@pytest.mark.parametrize(("flips", "kept"), [(3, "1"), (60, "0")])
def test_accuracies_that_cannot_be_told_apart_on_the_same_inputs_do_too(flips: int, kept: str) -> None:
    marks = np.ones(200)
    worse = marks.copy()
    worse[:flips] = 0
    frame = framed([(1.0, 5.0, 2), (1 - flips / 200, 5.0, 1)])
    frame.attrs["samples"] = {"accuracy": {"0": Sample.of_marks(marks).write(), "1": Sample.of_marks(worse).write()}}
    assert list(front(frame, "accuracy", "macs").id) == [kept]


def test_which_way_is_better() -> None:
    frame = framed([(1.0, 1.0, 0)])
    better = ["accuracy", "validation_accuracy", "accuracy_change", "top5", "speedup", "predicted_speedup"]
    assert all(more_is_better(frame, one) for one in better)
    assert not any(more_is_better(frame, one) for one in ("latency_ms", "macs", "file_bytes", "margin"))
    frame.attrs["more_is_better"] = ("margin",)
    assert more_is_better(frame, "margin") and more_is_better(frame, "validation_margin_change")


def machines(*names: str, baseline: int = 0) -> pd.DataFrame:
    rows = len(names)
    speedups = [1.0, 2.0, 4.0][:rows]
    return pd.DataFrame(
        {
            "is_baseline": [n == baseline for n in range(rows)],
            "machine": list(names),
            "latency_note": [""] * rows,
            **{f"latency_ms{end}": [8.0, 3.0, 1.0][:rows] for end in ("", "_low", "_high")},
            "speedup": speedups,
            "speedup_low": [one - 0.4 for one in speedups],
            "speedup_high": [one + 0.5 for one in speedups],
        }
    )


def test_milliseconds_of_elsewhere_are_those_of_the_original_s_machine() -> None:
    frame = machines("here", "there", "here")
    found = on_one_machine(frame)
    assert list(found.latency_ms) == [8.0, 4.0, 1.0]  # 8 ms twice as fast
    assert found.latency_ms_low[1] == pytest.approx(8 / 2.5) and found.latency_ms_high[1] == pytest.approx(8 / 1.6)
    assert list(found.latency_note) == ["", CONVERTED, ""]
    assert list(frame.latency_ms) == [8.0, 3.0, 1.0]  # what was given stays
    assert on_one_machine(found).equals(found)  # and nothing is converted twice
    same = machines("here", "here", "here")
    assert on_one_machine(same) is same
    without = on_one_machine(machines("here", "there", baseline=9))
    assert without.latency_ms[0] == 8.0 and math.isnan(without.latency_ms[1])
    assert on_one_machine(frame.iloc[:0]).empty


COMPARED = {
    "<": lambda a, b: a < b, "<=": lambda a, b: a <= b, ">": lambda a, b: a > b, ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
}  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    rows=points,
    first=st.sampled_from(sorted(COMPARED)),
    second=st.sampled_from(sorted(COMPARED)),
    limits=st.tuples(few, few),
)
def test_rows_meet_every_limit(
    rows: list[tuple[float, float, int]], first: str, second: str, limits: tuple[float, float]
) -> None:
    found = where_rows(framed(rows, y="macs"), f"accuracy {first} {limits[0] / 4} and macs {second} {limits[1]}")
    kept = [
        str(n)
        for n, (a, b, _) in enumerate(rows)
        if COMPARED[first](a, limits[0] / 4) and COMPARED[second](b, limits[1])
    ]
    assert list(found.id) == kept


def test_conditions_on_what_is_no_number_or_not_there_are_refused() -> None:
    frame = framed([(1.0, 2.0, 0)])
    assert len(where_rows(frame, None)) == len(where_rows(frame, " ")) == 1
    with pytest.raises(BadValue, match="recipe, which is not a number"):
        where_rows(frame, "recipe > 1")
    with pytest.raises(UnknownName, match="acuracy"):
        where_rows(frame, "acuracy > 0.5")


def test_bounds_are_found_and_moved() -> None:
    limits = read_limits("accuracy >= 0.9 and accuracy == 0.5 and macs < 3 and accuracy > 0.95")
    assert bound_on(limits, "accuracy") == limits[3] and bound_on(limits, "macs") == limits[2]
    assert bound_on(limits[1:2], "accuracy") is None
    moved = with_bound(limits, limits[2], 5.0)
    assert moved == (*limits[:2], Limit("macs", "<", 5.0), limits[3])
    assert with_bound(limits, limits[2], None) == (*limits[:2], limits[3])
    new = Limit("params", "<=", 1.0)
    assert with_bound(limits, new, 2.0) == (*limits, Limit("params", "<=", 2.0))
