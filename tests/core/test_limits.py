"""Limits: what is written is what is read, and a bound moves without touching its neighbours."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.charts import COLUMNS
from workbench.errors import BadValue
from workbench.frames.limits import COMPARISONS, Limit, bound_on, named, read_limits, with_bound, write_limits

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
LIMITS = st.lists(
    st.builds(Limit, st.sampled_from(["off", "macs", "latency_ms"]), st.sampled_from(list(COMPARISONS)), NUMBERS)
    | st.builds(Limit, st.just("accuracy"), st.sampled_from(list(COMPARISONS)), st.floats(0, 1))
)


@given(LIMITS)
def test_what_is_written_is_read(limits: list[Limit]) -> None:
    assert read_limits(write_limits(limits)) == tuple(limits)


@pytest.mark.parametrize(("value", "text"), [(0.92, "macs >= 0.92"), (2.0, "macs >= 2"), (3.1e7, "macs >= 31000000")])
def test_numbers_as_a_reader_writes_them(value: float, text: str) -> None:
    assert str(Limit("macs", ">=", value)) == text


@given(LIMITS, st.sampled_from(["accuracy", "macs"]), NUMBERS)
def test_a_moved_bound_is_found_again_and_the_others_stay(limits: list[Limit], column: str, value: float) -> None:
    before = bound_on(limits, column)
    bound = before or Limit(column, "<=", 0.0)
    moved = with_bound(limits, bound, value)
    assert Limit(column, bound.comparison, value) in moved
    assert len(moved) == len(limits) + (bound not in limits)
    assert [one for one in moved if one.column != column] == [one for one in limits if one.column != column]
    assert len(with_bound(limits, bound, None)) == len(limits) - (bound in limits)


def test_an_equation_is_no_bound() -> None:
    limits = read_limits("macs == 3 & macs != 4")
    assert len(limits) == 2
    assert bound_on(limits, "macs") is None


@pytest.mark.parametrize("text", ["accuracy >= 1e999", "accuracy >= 1.2.3", "accuracy >= ", "and"])
def test_what_is_no_number_is_refused(text: str) -> None:
    with pytest.raises(BadValue, match="cannot be read"):
        read_limits(text)


@pytest.mark.parametrize(
    ("text", "column", "comparison", "value"),
    [
        ("accuracy > 93 %", "accuracy", ">", 0.93),
        ("Accuracy>=92%", "accuracy", ">=", 0.92),
        ("file < 2 MB", "file_bytes", "<", 2e6),
        ("File size ≤ 900 kB", "file_bytes", "<=", 9e5),
        ("latency < 1.5", "latency_ms", "<", 1.5),
        ("latency < 300 µs", "latency_ms", "<", 0.3),
        ("latency <= 0.002 s", "latency_ms", "<=", 2.0),
        ("macs < 20 M", "macs", "<", 2e7),
        ("parameters < 1,200", "params", "<", 1200.0),
        ("speed-up >= 2×", "speedup", ">=", 2.0),
        ("measured speed-up > 1.5 x", "speedup", ">", 1.5),
        ("energy < 3 mJ", "energy_uj", "<", 3000.0),
        ("validation_accuracy = 90 %", "validation_accuracy", "==", 0.9),
        ("change of validation accuracy >= −0.5 points", "validation_accuracy_change", ">=", -0.005),
        ("Change of psnr > -3", "psnr_change", ">", -3.0),
        ("my_metric > 3.5", "my_metric", ">", 3.5),
        ("logit_error < 50", "logit_error", "<", 50.0),
    ],
)
def test_what_the_screen_shows_can_be_typed(text: str, column: str, comparison: str, value: float) -> None:
    assert read_limits(text) == (Limit(column, comparison, value),)


@pytest.mark.parametrize("name", list(COLUMNS))
def test_every_figure_is_known_by_its_name_and_by_its_label(name: str) -> None:
    assert named(name) == name
    assert named(COLUMNS[name].label) == name
    unit = COLUMNS[name].unit.split(",")[0]
    if unit and " " not in unit:  # in the unit of its axis, a limit means what stands there
        assert read_limits(f"{name} < 3 {unit}")[0].value == pytest.approx(3 * COLUMNS[name].scale)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("accuracy > 93", "write 93 %"),
        ("latency < 2 MB", "'MB'.*It takes ms"),
        ("file < 5 %", "It takes b, kb, mb, gb"),
        ("accuracy better than 3", "cannot be read"),
        ("accuracy >", "cannot be read"),
    ],
)
def test_what_cannot_be_meant_is_refused_with_the_way_out(text: str, why: str) -> None:
    with pytest.raises(BadValue, match=why):
        read_limits(text)
